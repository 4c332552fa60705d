"""Where documents come from: `DOMAIN=package:NAME==VERSION`, `DOMAIN=stdlib`, `DOMAIN=path:PATH`.

Knows nothing of what makes a document good; it only turns bytes into rows and counts what could
not be read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ontogeny.base.errors import InputError
from ontogeny.corpus.decode import Unreadable, gunzip, raw_chunks, whole_text
from ontogeny.corpus.jsonl import object_text
from ontogeny.corpus.row_files import holds_rows, rows_of
from ontogeny.corpus.table import DOCUMENTS, Outcome, Removal, documents_table, removed_table
from ontogeny.corpus.walk import File, Listing, list_package, list_path, list_stdlib
from ontogeny.text.document import Document

BATCH_BYTES = 64 << 20
RULES = ("english", "code", "text")
COLUMN = "text"


@dataclass(frozen=True)
class Source:
    """One parsed specification.

    Attributes:
        domain: what its documents are called.
        kind: package, stdlib or path.
        place: the requirement or the path.
        column: that holds the text of a row.
        rules: how its documents are cleaned; see `default_rules`.
    """

    domain: str
    kind: str
    place: str
    column: str = COLUMN
    rules: str = "text"


def default_rules(domain: str) -> str:
    """`english`, `code` and `tasks` have rules of their own; every other domain has `text`."""
    return domain if domain in ("english", "code", "tasks") else "text"


def parse(spec: str) -> Source:
    """`DOMAIN=package:NAME==VERSION | stdlib | path:PATH[#OPTION=VALUE[&OPTION=VALUE]]`.

    Options are `column` (of rows; default text) and `rules` (english, code or text).

    Raises:
        InputError: the specification has another form.
    """
    domain, equals, rest = spec.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", domain):
        raise InputError(
            f"source {spec!r} names no domain; write DOMAIN=SPEC such as english=path:notes "
            "(a domain has lower-case letters, digits, - and _)"
        )
    kind, _, place = rest.partition(":")
    rules = default_rules(domain)
    if kind == "stdlib" and not place:
        return Source(domain, kind, "", rules=rules)
    if kind == "package" and place:
        return Source(domain, kind, place, rules=rules)
    if kind == "path":
        found = re.fullmatch(r"(.+?)(?:#([a-z]+=.*))?", place, re.DOTALL)
        if found:
            options = _options(spec, found[2] or "")
            column, rules = options.get("column", COLUMN), options.get("rules", rules)
            return Source(domain, kind, found[1], column, rules)
    raise InputError(
        f"source {spec!r} is none of DOMAIN=package:NAME==VERSION, DOMAIN=stdlib, "
        "DOMAIN=path:PATH, DOMAIN=path:PATH#column=NAME, DOMAIN=path:PATH#rules=text"
    )


def _options(spec: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in re.split(r"&(?=[a-z]+=)", text) if text else ():
        name, _, value = part.partition("=")
        if name not in ("column", "rules") or name in options or not value:
            raise InputError(
                f"source {spec!r}: {part!r} is no option, or stands twice; "
                "options are column=NAME and rules=english, code or text"
            )
        options[name] = value
    if options.get("rules", "text") not in RULES:
        raise InputError(f"source {spec!r}: rules are {', '.join(RULES)}; give one of them")
    return options


def rules_of(specs: Iterable[str]) -> dict[str, str]:
    """The rules of every domain in `specs`.

    Raises:
        InputError: two sources of one domain ask for different rules.
    """
    rules: dict[str, str] = {}
    for spec in specs:
        source = parse(spec)
        other = rules.setdefault(source.domain, source.rules)
        if other != source.rules:
            raise InputError(
                f"domain {source.domain!r} has rules {other} by one source and {source.rules} by "
                f"{spec!r}; give both the same, or two domains"
            )
    return rules


def listing(source: Source, *, trains: bool = True) -> Listing:
    """The files of `source`.

    Args:
        source: a parsed specification.
        trains: what is read may be trained on, so nothing under an `eval` folder is listed.

    Raises:
        InputError: there is no such source, or it lies under an `eval` folder.
    """
    if source.kind == "package":
        return list_package(source.place, trains=trains)
    if source.kind == "stdlib":
        return list_stdlib()
    return list_path(Path(source.place), trains=trains)


def fingerprint(spec: str, *, trains: bool = True) -> str:
    """sha256 (hex) over label, column, and every file's name and content: the source's identity.

    The folder's own place is not part of it. A file that cannot be read counts by its reason.
    Rules count where they are not the domain's own. `trains` is as for `listing`.
    """
    source = parse(spec)
    found = listing(source, trains=trains)
    seen = Seen(found.label, source)
    for file in found.files:
        with seen.bytes_of(file):
            pass
    return seen.hexdigest()


class Seen:
    """The bytes of a source that were seen so far, as a digest; see `fingerprint`."""

    def __init__(self, label: str, source: Source) -> None:
        self._total = hashlib.sha256(f"{label}\0{source.domain}\0{source.column}\0".encode())
        if source.rules != default_rules(source.domain):
            self._total.update(f"rules={source.rules}\0".encode())

    @contextlib.contextmanager
    def bytes_of(self, file: File) -> Iterator[Iterator[bytes]]:
        """The bytes of the next file in chunks (`raw_chunks`); what is left unread is seen too."""
        content = hashlib.sha256()
        raw = self._noted(file, content)
        yield raw
        with contextlib.suppress(Unreadable):
            for _ in raw:
                pass
        self._total.update(f"{file.name}\0{content.hexdigest()}\0".encode())

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._total.hexdigest()

    @staticmethod
    def _noted(file: File, content: hashlib._Hash) -> Iterator[bytes]:
        try:
            yield from raw_chunks(file.path, content)
        except Unreadable as broken:
            content.update(broken.reason.encode())
            raise


def read(spec: str, expected: str | None = None) -> Outcome:
    """Every document of `spec`, and every file or row that was skipped.

    Ids are `LABEL/FILE` for a text and `LABEL/FILE:LINE` for a row; they do not change when
    documents are added elsewhere. Of elements of a JSON array that begin on one line, those after
    the first are `LABEL/FILE:LINE:BYTE`.

    Args:
        spec: see `parse`.
        expected: a `fingerprint` taken before; the bytes read now must still give it.

    Raises:
        InputError: no such source, nothing readable in it, or it changed since `expected`.
    """
    source = parse(spec)
    found = listing(source)
    seen = Seen(found.label, source)
    removals = [_removal(found.label, source, *passed) for passed in found.passed]
    broken: list[tuple[Removal, str]] = []
    batches: list[pa.Table] = []
    batch: list[Document] = []
    size = 0
    for name, text in _all_texts(found, source, seen):
        if isinstance(text, Unreadable):
            detail = f"{name}: {text.detail}"
            removals.append(_removal(found.label, source, name, text.reason, detail))
            if not broken or (text.remedy and not broken[0][1]):
                broken.insert(0, (removals[-1], text.remedy))
            continue
        batch.append(Document(f"{found.label}/{name}", source.domain, found.label, text))
        size += len(text)
        if size > BATCH_BYTES:  # Arrow holds text far more tightly than Python objects do
            batches.append(documents_table(batch))
            batch, size = [], 0
    batches.append(documents_table(batch))
    table = pa.concat_tables(batches) if len(batches) > 1 else batches[0]
    if not table.num_rows:
        raise _nothing(spec, source, [*broken, *((passed, "") for passed in removals)])
    check_unchanged(spec, source, expected, seen)
    return Outcome(table.cast(DOCUMENTS), removed_table(removals))


def check_unchanged(spec: str, source: Source, expected: str | None, seen: Seen) -> None:
    """Raises InputError where what was seen is not what gave the fingerprint `expected`."""
    if expected is not None and expected != seen.hexdigest():
        raise InputError(
            f"source {spec!r} changed while it was read; let it rest and start again",
            file=source.place if source.kind == "path" else None,
        )


def place(spec: str, removal: Removal) -> tuple[str | None, int]:
    """The file and the line that `removal` (of the source `spec`) speaks of, for an error."""
    source = parse(spec)
    name, line, _ = _parts(removal)
    if source.kind != "path":
        return None, 1
    path = Path(source.place)
    return str(path / name if path.is_dir() else path), line


def _parts(removal: Removal) -> tuple[str, int, str]:
    """File name, line and column of a removal; a name may hold colons of its own."""
    name = removal.id[len(removal.source) + 1 :]
    found = re.fullmatch(r"(.+?)(?::(\d+)(?::(\d+))?)?", name, re.DOTALL)
    assert found is not None
    if not found[2] or not holds_rows(found[1]):
        return name, 1, ""
    return found[1], int(found[2]), found[3] or ""


def _nothing(spec: str, source: Source, gone: list[tuple[Removal, str]]) -> InputError:
    """What to say where no document could be read; the first of `gone` is what is told of."""
    file: str | None = source.place if source.kind == "path" else None
    if not gone:
        return InputError(f"no document could be read from {spec!r}", file=file)
    first, remedy = gone[0]
    file, line = place(spec, first)
    told = f"{first.detail} ({first.reason})" + (f"; {remedy}" if remedy else "")
    return InputError(
        f"no document could be read from {spec!r}; first: {told}", file=file, line=line
    )


def _removal(label: str, source: Source, name: str, reason: str, detail: str) -> Removal:
    return Removal(f"{label}/{name}", source.domain, label, reason, detail)


def _all_texts(
    found: Listing, source: Source, seen: Seen
) -> Iterator[tuple[str, str | Unreadable]]:
    """(name, text) of each document in the files of `source`, or why there is none."""
    of = functools.partial(object_text, column=source.column)
    for file in found.files:
        with seen.bytes_of(file) as raw:
            try:
                if holds_rows(file.name):
                    for row in rows_of(file.name, file.path, raw, of, source.column):
                        yield f"{file.name}:{row.place}", row.value
                else:
                    yield file.name, whole_text(gunzip(raw) if file.name.endswith(".gz") else raw)
            except Unreadable as broken:
                yield file.name, broken
