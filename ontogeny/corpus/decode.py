"""Bytes of one file as text or lines, with limits on everything.

Knows nothing of JSON, domains or tables. What cannot be read raises `Unreadable` with a reason
that is counted; nothing here waits on a pipe or fills the memory.
"""

from __future__ import annotations

import codecs
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 1 << 20
MAX_DOCUMENT_BYTES = 16 << 20
BOMB_RATIO = 100
BOMB_FLOOR_BYTES = 16 << 20


MARKS = (  # the first mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class Unreadable(Exception):
    """One file or row is skipped.

    Attributes:
        reason: one word that is counted.
        detail: what is wrong, for a reader.
        remedy: what else helps where nothing at all could be read; never counted or kept.
    """

    def __init__(self, reason: str, detail: str, remedy: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.remedy = remedy


class Digest(Protocol):
    """What `hashlib.sha256()` returns."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""


def open_regular(path: Path) -> int:
    """A descriptor of the regular file at `path`, open for reading; the caller closes it.

    Raises:
        Unreadable: `unreadable` (permission, vanished) or `not_a_file` (FIFO, socket, device).
    """
    try:
        # O_NONBLOCK: a FIFO put in the file's place since it was listed must not hang us.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable("unreadable", error.strerror or "cannot be opened") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable("not_a_file", "a pipe, socket, folder or device")
    return handle


def raw_chunks(path: Path, digest: Digest) -> Iterator[bytes]:
    """The bytes of a regular file in chunks, each added to `digest`.

    Raises:
        Unreadable: as `open_regular`, or `unreadable` past the beginning.
    """
    handle = open_regular(path)
    try:
        while chunk := os.read(handle, CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
    except OSError as error:
        raise Unreadable("unreadable", error.strerror or "cannot be read") from error
    finally:
        os.close(handle)


def gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip members in chunks of at most `CHUNK_BYTES`.

    Raises:
        Unreadable: `broken_gzip`, or `compression_bomb` past `BOMB_FLOOR_BYTES` when more than
            `BOMB_RATIO` bytes came out of each byte.
    """
    engine = zlib.decompressobj(wbits=31)
    packed = unpacked = 0
    for chunk in chunks:
        packed += len(chunk)
        data = chunk
        while data:
            if engine.eof:
                data = data.lstrip(b"\0")  # tape padding between members
                if not data:
                    break
                engine = zlib.decompressobj(wbits=31)
            try:
                out = engine.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise Unreadable("broken_gzip", str(error)) from error
            data = engine.unused_data if engine.eof else engine.unconsumed_tail
            unpacked += len(out)
            if unpacked > BOMB_FLOOR_BYTES and unpacked > BOMB_RATIO * packed:
                raise Unreadable(
                    "compression_bomb",
                    f"{packed} bytes unpack to more than {unpacked}; unpack it yourself if meant",
                )
            yield out
    if not engine.eof:
        raise Unreadable("broken_gzip", f"ends within the compressed stream after {packed} bytes")


def unmarked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """`chunks` without the byte order mark of UTF-8.

    Raises:
        Unreadable: `not_utf8` where the mark is that of UTF-16 or UTF-32.
    """
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= 4:
            break
    for mark, name in MARKS:
        if head.startswith(mark):
            raise Unreadable(
                "not_utf8",
                f"begins with the byte order mark of {name}; convert it: "
                f"iconv -f {name} -t UTF-8 FILE",
            )
    head = head.removeprefix(codecs.BOM_UTF8)
    if head:
        yield head
    yield from rest


def whole_text(chunks: Iterable[bytes]) -> str:
    """One document from all chunks; a UTF-8 byte order mark is dropped.

    Raises:
        Unreadable: `too_large`, `binary` (has a zero byte), `not_utf8` or `empty`.
    """
    pieces: list[bytes] = []
    size = 0
    for chunk in unmarked(chunks):
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            raise Unreadable("too_large", f"more than {MAX_DOCUMENT_BYTES} bytes in one document")
        if b"\0" in chunk:
            raise Unreadable("binary", "holds a zero byte")
        pieces.append(chunk)
    return utf8(b"".join(pieces))


def utf8(data: bytes) -> str:
    """`data` as text; raises `Unreadable` `not_utf8` with the place, or `empty`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable("not_utf8", f"byte {error.start} is no UTF-8") from error
    if not text.strip():
        raise Unreadable("empty", "nothing but white space")
    return text


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    r"""(1-based number, line) for lines ended by \n, \r\n or \r.

    A line longer than `MAX_DOCUMENT_BYTES` is None; it is read past, never held.
    """
    number, size, after_return = 1, 0, False
    pieces: list[bytes] = []
    for chunk in chunks:
        fresh = chunk[1:] if after_return and chunk.startswith(b"\n") else chunk
        after_return = chunk.endswith(b"\r")
        for part in fresh.splitlines(keepends=True):
            size += len(part)
            if size <= MAX_DOCUMENT_BYTES:
                pieces.append(part)
            else:
                pieces.clear()
            if part.endswith((b"\n", b"\r")):
                yield number, b"".join(pieces) if size <= MAX_DOCUMENT_BYTES else None
                number, size = number + 1, 0
                pieces.clear()
    if size:
        yield number, b"".join(pieces) if size <= MAX_DOCUMENT_BYTES else None
