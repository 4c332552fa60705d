"""A user's files as rows, for conversations, pairs and tasks: `.jsonl`, `.json`, `.parquet`.

Knows no form of rows: whatever is an object is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ontogeny.base.errors import InputError
from ontogeny.corpus.decode import Unreadable
from ontogeny.corpus.jsonl import whole_object
from ontogeny.corpus.row_files import ROW_SUFFIXES, holds_rows, rows_of
from ontogeny.corpus.sources import (
    COLUMN,
    Seen,
    Source,
    check_unchanged,
    default_rules,
    listing,
    parse,
)
from ontogeny.corpus.table import Removal
from ontogeny.corpus.walk import File, Listing


class Row(NamedTuple):
    """One row.

    Attributes:
        name: `LABEL/FILE:LINE`, unique in its source (`LABEL/FILE:LINE:BYTE` of an element of a
            JSON array that is not the first on its line).
        file: where it stands.
        line: 1-based line, or number of the row in a table.
        value: the object; no string in it holds a lone surrogate.
    """

    name: str
    file: Path
    line: int
    value: dict[str, Any]


def read_rows(
    spec: str, expected: str | None = None, *, trains: bool = True
) -> Iterator[Row | Removal]:
    """Every row of `spec`, and a `Removal` for every file or row that cannot be read.

    Args:
        spec: see `sources.parse`; options say nothing of rows and are refused.
        expected: a `sources.fingerprint` (with the same `trains`); the bytes must still give it.
        trains: what is read may be trained on; False allows what lies under an `eval` folder.

    Raises:
        InputError: no such place, no file of rows in it, or, after the last row, it changed since
            `expected`.
    """
    source = parse(spec)
    if (source.column, source.rules) != (COLUMN, default_rules(source.domain)):
        raise InputError(f"source {spec!r}: rows take no options; leave out what follows #")
    found = listing(source, trains=trains)
    if not any(holds_rows(file.name) for file in found.files):
        raise InputError(
            f"no file of rows in {spec!r}; rows are in {', '.join(ROW_SUFFIXES)}",
            file=source.place if source.kind == "path" else None,
        )
    return _rows(spec, source, found, expected)


def _rows(
    spec: str, source: Source, found: Listing, expected: str | None
) -> Iterator[Row | Removal]:
    seen = Seen(found.label, source)
    for name, reason, detail in found.passed:
        yield Removal(f"{found.label}/{name}", source.domain, found.label, reason, detail)
    for file in found.files:
        with seen.bytes_of(file) as raw:
            for place, line, value in _of_file(file, raw):
                name = f"{file.name}{place}"
                if isinstance(value, Unreadable):
                    told = (value.reason, f"{name}: {value.detail}")
                    yield Removal(f"{found.label}/{name}", source.domain, found.label, *told)
                else:
                    yield Row(f"{found.label}/{name}", file.path, line, value)
    check_unchanged(spec, source, expected, seen)


def _of_file(
    file: File, raw: Iterator[bytes]
) -> Iterator[tuple[str, int, dict[str, Any] | Unreadable]]:
    """(place, line, value) of each row, and at last what is wrong with the file."""
    if not holds_rows(file.name):
        yield "", 1, Unreadable("unknown_suffix", "not one of " + ", ".join(ROW_SUFFIXES))
        return
    try:
        for row in rows_of(file.name, file.path, raw, whole_object, None):
            yield f":{row.place}", row.line, row.value
    except Unreadable as broken:
        yield "", 1, broken
