"""The rows of one file, whatever kind of file holds them: lines, an array, a table.

Knows no sources, no domains and no columns but one. A broken row is given as the reason why; a file
in which hardly a row is right is not read to its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from ontogeny.corpus import decode
from ontogeny.corpus.decode import Unreadable, gunzip, lines, unmarked
from ontogeny.corpus.json_array import BLANKS, BrokenArray, elements
from ontogeny.corpus.jsonl import row_object
from ontogeny.corpus.parquet import parquet_rows

ROW_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
MAX_SKIPPED = 100_000

T = TypeVar("T")
Object = dict[str, Any]


class Found(NamedTuple, Generic[T]):
    """One row.

    Attributes:
        place: `LINE`, or `LINE:BYTE` of an element that is not the first on its line.
        line: 1-based; of a table, the number of the row.
        value: what it holds, or why it cannot be read.
    """

    place: str
    line: int
    value: T | Unreadable


def holds_rows(name: str) -> bool:
    """Whether a file of this name holds rows and is not itself a text."""
    return name.endswith(ROW_SUFFIXES)


def rows_of(
    name: str, path: Path, raw: Iterable[bytes], of: Callable[[Object], T], column: str | None
) -> Iterator[Found[T]]:
    """Every row of a file, turned into what is wanted of it.

    Args:
        name: of the file; its suffix tells the kind.
        path: where it lies.
        raw: its bytes; of Parquet they are not used.
        of: makes what is wanted of a row; raises Unreadable.
        column: the only one that `of` looks at, or None.

    Raises:
        Unreadable: what is wrong with the file as a whole, after the rows before that; `empty`
            without any row, `mostly_unreadable` past `MAX_SKIPPED` broken rows where they are the
            greater part.
    """
    kept = skipped = 0
    for found in _found(name, path, raw, column):
        value: T | Unreadable
        try:
            value = found.value if isinstance(found.value, Unreadable) else of(found.value)
        except Unreadable as row:
            value = row
        if isinstance(value, Unreadable):
            skipped += 1
        else:
            kept += 1
        yield Found(found.place, found.line, value)
        if skipped >= MAX_SKIPPED and skipped > kept:
            raise Unreadable(
                "mostly_unreadable",
                f"{skipped} of the first {skipped + kept} rows cannot be read; "
                "the rest of the file was left",
            )
    if not kept and not skipped:
        raise Unreadable("empty", "there is no row in it")


def _found(
    name: str, path: Path, raw: Iterable[bytes], column: str | None
) -> Iterator[Found[Object]]:
    if name.endswith(".parquet"):
        for number, row in parquet_rows(path, column):
            yield Found(str(number), number, row)
        return
    chunks = unmarked(gunzip(raw) if name.endswith(".gz") else raw)
    kind = name.removesuffix(".gz")
    head = next(chunks, b"") if kind.endswith(".json") else b""
    whole = itertools.chain([head], chunks)
    if head.lstrip(BLANKS).startswith(b"["):
        yield from _from_array(whole)
    else:
        yield from _from_lines(whole, one_object_allowed=kind.endswith(".json"))


def _from_lines(chunks: Iterable[bytes], *, one_object_allowed: bool) -> Iterator[Found[Object]]:
    first = True
    for number, line in lines(chunks):
        if line is None:
            most = decode.MAX_DOCUMENT_BYTES
            fault = Unreadable("line_too_long", f"more than {most} bytes in one line")
            yield Found(str(number), number, fault)
            continue
        value = _read(line)
        if one_object_allowed and first and _opens_only(line, value):
            raise Unreadable(
                "not_rows", "one object over several lines; make it an array of objects"
            )
        first = first and not line.strip()
        yield Found(str(number), number, value)


def _opens_only(line: bytes, value: Object | Unreadable) -> bool:
    """Whether a first line is the beginning of an object that goes on, as in `{"data": [`."""
    text = line.rstrip()
    broken = isinstance(value, Unreadable) and value.reason == "broken_json"
    return broken and text.startswith(b"{") and text.endswith((b"{", b"[", b",", b":"))


def _from_array(chunks: Iterable[bytes]) -> Iterator[Found[Object]]:
    value: Object | Unreadable
    try:
        for line, column, first, raw in elements(chunks):
            if raw is None:
                most = decode.MAX_DOCUMENT_BYTES
                value = Unreadable("too_large", f"more than {most} bytes in one element")
            elif not raw:
                value = Unreadable("broken_json", "nothing stands beside a comma")
            else:
                value = _read(raw)
            yield Found(f"{line}" if first else f"{line}:{column}", line, value)
    except BrokenArray as broken:
        yield Found(str(broken.line), broken.line, broken)


def _read(raw: bytes) -> Object | Unreadable:
    try:
        return row_object(raw)
    except Unreadable as row:
        return row
