"""Where documents come from: `DOMAIN=package:NAME==VERSION`, `DOMAIN=stdlib`, `DOMAIN=path:PATH`.

Knows nothing of what makes a document good; it only turns bytes into rows and counts what could
not be read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ontogeny.base.errors import InputError
from ontogeny.corpus.decode import Unreadable, gunzip, lines, raw_chunks, whole_text
from ontogeny.corpus.jsonl import row_text
from ontogeny.corpus.table import DOCUMENTS, Outcome, Removal, documents_table, removed_table
from ontogeny.corpus.walk import File, Listing, Passed, list_package, list_path, list_stdlib
from ontogeny.text.document import Document

BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class Source:
    """One parsed specification. `kind` is package, stdlib or path; `column` is for JSONL."""

    domain: str
    kind: str
    place: str
    column: str = "text"


def parse(spec: str) -> Source:
    """`DOMAIN=package:NAME==VERSION | stdlib | path:PATH[#column=NAME]` as a `Source`.

    Raises:
        InputError: the specification has another form.
    """
    domain, equals, rest = spec.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z0-9_-]*", domain):
        raise InputError(
            f"source {spec!r} names no domain; write DOMAIN=SPEC such as english=path:notes"
        )
    kind, _, place = rest.partition(":")
    if kind == "stdlib" and not place:
        return Source(domain, kind, "")
    if kind == "package" and place:
        return Source(domain, kind, place)
    if kind == "path" and place:
        place, mark, column = place.partition("#column=")
        if not mark or column:
            return Source(domain, kind, place, column or "text")
    raise InputError(
        f"source {spec!r} is none of DOMAIN=package:NAME==VERSION, DOMAIN=stdlib, "
        "DOMAIN=path:PATH, DOMAIN=path:PATH#column=NAME"
    )


def listing(source: Source) -> Listing:
    """The files of `source`; raises InputError when there is no such source."""
    if source.kind == "package":
        return list_package(source.place)
    return list_stdlib() if source.kind == "stdlib" else list_path(Path(source.place))


def fingerprint(spec: str) -> str:
    """sha256 (hex) over label, column, and every file's name and content: the source's identity.

    The folder's own place is not part of it. A file that cannot be read counts by its reason.
    """
    source = parse(spec)
    found = listing(source)
    total = _start(found.label, source)
    for file in found.files:
        content = hashlib.sha256()
        _exhaust(raw_chunks(file.path, content), content)
        _add(total, file.name, content.hexdigest())
    return total.hexdigest()


def _start(label: str, source: Source) -> hashlib._Hash:
    return hashlib.sha256(f"{label}\0{source.domain}\0{source.column}\0".encode())


def _add(total: hashlib._Hash, name: str, content: str) -> None:
    total.update(f"{name}\0{content}\0".encode())


def read(spec: str, expected: str | None = None) -> Outcome:
    """Every document of `spec`, and every file or row that was skipped.

    Ids are `LABEL/FILE` for a text file and `LABEL/FILE:LINE` for a row of JSONL; they do not
    change when documents are added elsewhere.

    Args:
        spec: see `parse`.
        expected: a `fingerprint` taken before; the bytes read now must still give it.

    Raises:
        InputError: no such source, nothing readable in it, or it changed since `expected`.
    """
    source = parse(spec)
    found = listing(source)
    total = _start(found.label, source)
    removals = [_removal(found.label, source, passed) for passed in found.passed]
    batches: list[pa.Table] = []
    batch: list[Document] = []
    size = 0
    for file in found.files:
        content = hashlib.sha256()
        for item in _rows(file, source, content):
            if isinstance(item, Passed):
                removals.append(_removal(found.label, source, item))
                continue
            name, text = item
            batch.append(Document(f"{found.label}/{name}", source.domain, found.label, text))
            size += len(text)
            if size > BATCH_BYTES:  # Arrow holds text far more tightly than Python objects do
                batches.append(documents_table(batch))
                batch, size = [], 0
        _add(total, file.name, content.hexdigest())
    batches.append(documents_table(batch))
    table = pa.concat_tables(batches) if len(batches) > 1 else batches[0]
    _check(spec, source, table, removals, expected, total.hexdigest())
    return Outcome(table.cast(DOCUMENTS), removed_table(removals))


def _check(
    spec: str,
    source: Source,
    table: pa.Table,
    removals: list[Removal],
    expected: str | None,
    actual: str,
) -> None:
    file = source.place if source.kind == "path" else "command line"
    if not table.num_rows:
        first = f"; first: {removals[0].detail} ({removals[0].reason})" if removals else ""
        raise InputError(f"no document could be read from {spec!r}{first}", file=file)
    if expected is not None and expected != actual:
        raise InputError(
            f"source {spec!r} changed while it was read; let it rest and start again", file=file
        )


def _removal(label: str, source: Source, passed: Passed) -> Removal:
    return Removal(f"{label}/{passed.name}", source.domain, label, passed.reason, passed.detail)


def _rows(file: File, source: Source, content: hashlib._Hash) -> Iterator[tuple[str, str] | Passed]:
    """(name, text) of each document in `file`; `content` has seen all its bytes afterwards."""
    raw = raw_chunks(file.path, content)
    chunks = gunzip(raw) if file.name.endswith(".gz") else raw
    try:
        if not file.name.removesuffix(".gz").endswith(".jsonl"):
            yield file.name, whole_text(chunks)
        else:
            yield from _jsonl_rows(file, source, chunks)
    except Unreadable as broken:
        if broken.reason in ("unreadable", "not_a_file"):
            content.update(broken.reason.encode())
        yield Passed(file.name, broken.reason, f"{file.name}: {broken.detail}")
    _exhaust(raw, content)  # the identity covers the bytes past an early end


def _jsonl_rows(
    file: File, source: Source, chunks: Iterable[bytes]
) -> Iterator[tuple[str, str] | Passed]:
    for number, line in lines(chunks):
        name = f"{file.name}:{number}"
        try:
            yield name, row_text(line, number, source.column)
        except Unreadable as row:
            yield Passed(name, row.reason, f"{name}: {row.detail}")


def _exhaust(raw: Iterator[bytes], content: hashlib._Hash) -> None:
    try:
        for _ in raw:
            pass
    except Unreadable as broken:
        content.update(broken.reason.encode())
