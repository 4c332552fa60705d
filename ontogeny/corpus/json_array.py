"""The bytes of a JSON array cut into its elements, each with the place where it begins.

Knows brackets, quotes and commas, and nothing of what an element means: whoever parses it finds
its faults, so one broken element costs one row. An element longer than the limit is read past.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ontogeny.corpus import decode
from ontogeny.corpus.decode import Unreadable

BLANKS = b" \t\r\n"
MAX_SIGNS = 4_000_000  # brackets and quotes in one element; each costs half a microsecond
_BETWEEN = re.compile(rb'[\[{]|[\]}]|[",]')
_INSIDE = re.compile(rb'[\[{]++|[\]}]|"')
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # as far as the quote that ends it


class Element(NamedTuple):
    """One element.

    Attributes:
        line: 1-based line of the file on which it begins.
        column: 1-based byte of that line.
        first: whether it is the first that begins on its line.
        raw: its bytes, empty where there is nothing between two commas; None where they are more
            than `decode.MAX_DOCUMENT_BYTES`.
    """

    line: int
    column: int
    first: bool
    raw: bytes | None


class BrokenArray(Unreadable):
    """The array itself cannot be read past `line`; its elements before that can."""

    def __init__(self, line: int, detail: str, reason: str = "broken_json") -> None:
        super().__init__(reason, detail)
        self.line = line


def elements(chunks: Iterable[bytes]) -> Iterator[Element]:
    """The elements of the array in `chunks`, in order, however the bytes arrive.

    Raises:
        BrokenArray: `broken_json` where it has no beginning or no end, or something follows it
            (what stood after the last comma of an array without an end is not given); `too_large`
            where an element has more than `MAX_SIGNS` brackets and quotes.
    """
    cutter = _Cutter()
    for chunk in chunks:
        yield from cutter.feed(chunk)
    cutter.end()


class _Place:
    """The line and column of the next byte."""

    def __init__(self) -> None:
        self.line, self.column = 1, 1
        self._after_return = False

    def advance(self, data: bytes) -> None:
        if not data:
            return
        ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
        if self._after_return and data.startswith(b"\n"):
            ends -= 1
            self.column = 1
        self.line += ends
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self.column = len(data) - last if last >= 0 else self.column + len(data)
        self._after_return = data.endswith(b"\r")


class _Cutter:
    """What is known between two chunks."""

    def __init__(self) -> None:
        self._place = _Place()
        self._opened = self._closed = self._quoted = self._escaped = False
        self._depth = 0
        self._count = 0
        self._last_line = 0
        self._start: tuple[int, int] | None = None
        self._size = self._signs = 0
        self._pieces: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Element]:
        begin = at = 0 if self._opened else self._open(chunk)
        while at < len(chunk) and not self._closed:
            if self._quoted:
                at = self._pass_string(chunk, at)
                continue
            found = (_INSIDE if self._depth else _BETWEEN).search(chunk, at)
            if found is None:
                break
            at = found.end()
            sign = found.group()
            self._signs += 1
            if self._signs > MAX_SIGNS:
                self._take(chunk[begin:at])
                line = self._start[0] if self._start else self._place.line
                told = f"more than {MAX_SIGNS} brackets and quotes in one element; the rest is left"
                raise BrokenArray(line, told, "too_large")
            if sign == b'"':
                self._quoted = True
            elif sign[:1] in b"[{":
                self._depth += len(sign)
            elif self._depth:
                self._depth -= 1
            elif sign == b"}":
                self._take(chunk[begin:at])
                raise BrokenArray(self._place.line, "a } that nothing opened")
            else:
                self._take(chunk[begin : at - 1])
                yield from self._element(ended=sign == b"]")
                begin = at
        rest = chunk[begin:]
        if not self._closed:
            self._take(rest)
        elif rest.strip(BLANKS):
            self._place.advance(rest[: len(rest) - len(rest.lstrip(BLANKS))])
            raise BrokenArray(self._place.line, "something follows the end of the array")
        else:
            self._place.advance(rest)

    def end(self) -> None:
        """Nothing more comes."""
        if not self._closed:
            line = self._start[0] if self._start else self._place.line
            raise BrokenArray(line, "the file ends before the array does")

    def _open(self, chunk: bytes) -> int:
        """Passes the opening bracket; returns how many bytes of `chunk` that took."""
        blanks = len(chunk) - len(chunk.lstrip(BLANKS))
        if blanks == len(chunk):
            self._place.advance(chunk)
            return blanks
        self._place.advance(chunk[: blanks + 1])
        if chunk[blanks : blanks + 1] != b"[":
            raise BrokenArray(self._place.line, "no [ at the beginning")
        self._opened = True
        return blanks + 1

    def _pass_string(self, chunk: bytes, at: int) -> int:
        if self._escaped:
            at, self._escaped = at + 1, False
        found = _STRING.match(chunk, at)
        assert found is not None
        at = found.end()
        if at < len(chunk):
            if chunk[at : at + 1] == b'"':
                self._quoted = False
            else:  # a backslash that is the last byte of the chunk
                self._escaped = True
            at += 1
        return at

    def _take(self, data: bytes) -> None:
        """Adds to the element in hand; what is past the limit is measured and let go."""
        if self._start is None:
            body = data.lstrip(BLANKS)
            self._place.advance(data[: len(data) - len(body)])
            data = body
            if data:
                self._start = (self._place.line, self._place.column)
        self._place.advance(data)
        self._size += len(data)
        if self._size <= decode.MAX_DOCUMENT_BYTES:
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def _element(self, *, ended: bool) -> Iterator[Element]:
        line, column = self._start or (self._place.line, self._place.column)
        fits = self._size <= decode.MAX_DOCUMENT_BYTES
        raw = b"".join(self._pieces) if fits else None
        if self._size or self._count or not ended:  # but for [], which holds nothing
            yield Element(line, column, line != self._last_line, raw)
            self._last_line = line
        self._count += 1
        self._closed = ended
        self._start, self._size, self._signs = None, 0, 0
        self._pieces.clear()
        self._place.advance(b",")
