"""Rows of a user's files as checked objects: read, cleaned, told apart, split, all else counted.

Knows no format of rows: `read` turns a row into an object or raises `Misfit`, `texts` and
`with_texts` take an object's texts out and put cleaned ones back. The policy for what is wrong: a
row that does not fit is skipped and counted with its file, line and reason; past a tolerated share
of such rows, or without any that fits, the first of them is the error.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import pyarrow as pa

from ontogeny.base.errors import InputError
from ontogeny.corpus.rows import read_rows
from ontogeny.corpus.scrub import IN_PROSE, scrub
from ontogeny.corpus.sources import parse, place
from ontogeny.corpus.table import Removal, documents_table
from ontogeny.corpus.unicode_policy import clean
from ontogeny.text.document import Document
from ontogeny.text.rows import Misfit

T = TypeVar("T")
UNCOUNTED = (
    "hidden",
    "unknown_suffix",
    "blank_line",
    "eval_folder",
    "linked_folder",
    "not_a_file",
)
"""Reasons that say nothing about the rows: they do not count towards the tolerated share."""


@dataclass(frozen=True)
class Form(Generic[T]):
    """What an object is made of.

    Attributes:
        read: a row's columns to an object; raises Misfit.
        texts: every text that a person wrote, in a fixed order.
        with_texts: the object with these texts in their place; raises Misfit.
    """

    read: Callable[[Mapping[str, Any]], T]
    texts: Callable[[T], list[str]]
    with_texts: Callable[[T, Sequence[str]], T]


@dataclass(frozen=True)
class Item(Generic[T]):
    """One object, the name of its row (`SOURCE/FILE:LINE`) and the domain of its source."""

    name: str
    domain: str
    value: T


@dataclass
class Intake(Generic[T]):
    """What was taken in, what was not, and how many texts each rule of cleaning changed.

    All names of a single source begin with its `label`.
    """

    items: list[Item[T]] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    label: str = ""

    def call(self, label: str) -> None:
        """Gives the source another label: two may lie in files of one name."""
        old, self.label = len(self.label), label
        self.items = [replace(each, name=label + each.name[old:]) for each in self.items]
        self.removed = [
            each._replace(id=label + each.id[old:], source=label) for each in self.removed
        ]

    def drop(self, refuse: Callable[[Item[T]], tuple[str, str] | None]) -> None:
        """Takes out what `refuse` gives a reason and a detail for."""
        kept = []
        for item in self.items:
            why = refuse(item)
            if why is None:
                kept.append(item)
            else:
                self.removed.append(_removal(item, *why))
        self.items = kept

    def reasons(self) -> dict[str, int]:
        """How many rows each reason took out, the commonest first."""
        return dict(Counter(each.reason for each in self.removed).most_common())


def take_in(
    spec: str,
    fingerprint: str,
    form: Form[T],
    *,
    tolerated: float,
    scrubbed: bool = True,
    trains: bool = True,
) -> Intake[T]:
    """Every row of `spec` that fits `form`, cleaned.

    Args:
        spec: see `corpus.sources.parse`.
        fingerprint: the bytes read must still give it.
        tolerated: the share of rows that may be wrong.
        scrubbed: mail addresses, phone and card numbers and keys become placeholders.
        trains: what is read may be trained on.

    Raises:
        InputError: nothing fits, too much does not, or the source cannot be read.
    """
    found: Intake[T] = Intake()
    domain = parse(spec).domain
    first: InputError | None = None
    for row in read_rows(spec, fingerprint, trains=trains):
        if isinstance(row, Removal):
            found.label = row.source
            found.removed.append(row)
            if first is None and row.reason not in UNCOUNTED:
                first = unread(spec, row)
            continue
        found.label = row.name.split("/")[0]
        try:
            value = form.read(row.value)
        except Misfit as wrong:
            why = (wrong.reason, wrong.detail)
            found.removed.append(Removal(row.name, domain, found.label, *why))
            if first is None:
                told = f"{wrong.detail} ({wrong.reason})"
                first = InputError(told, file=row.file, line=row.line)
        else:
            found.items.append(Item(row.name, domain, value))
    _check(spec, found, first, tolerated)
    clean_items(found, form, scrubbed=scrubbed)
    return found


def unread(spec: str, removal: Removal) -> InputError:
    """What is wrong with a row or a file that could not be read, with its place."""
    file, line = place(spec, removal)
    name = removal.id.removeprefix(f"{removal.source}/")
    detail = removal.detail.removeprefix(f"{name}: ")
    return InputError(f"{detail} ({removal.reason})", file=file, line=line)


def _check(spec: str, found: Intake[Any], first: InputError | None, tolerated: float) -> None:
    wrong = sum(each.reason not in UNCOUNTED for each in found.removed)
    rows = wrong + len(found.items)
    if found.items and wrong <= tolerated * rows:
        return
    if first is None:
        raise InputError(f"there is no row in {spec!r}", file=parse(spec).place)
    share = f"the first of {wrong:,} wrong rows among {rows:,}"
    remedy = (
        f"mend them, or raise tolerated (now {tolerated:g})" if found.items else "none is right"
    )
    raise InputError(f"{first.reason}; {share}: {remedy}", file=first.file, line=first.line)


def clean_items(found: Intake[T], form: Form[T], *, scrubbed: bool) -> None:
    """The policy for Unicode and personal data, applied to all texts of all items at once.

    `found` loses the items that are none after cleaning, and counts the texts that were changed.
    """
    texts = [form.texts(item.value) for item in found.items]
    table = documents_table(
        Document(item.name, item.domain, "", text)
        for item, parts in zip(found.items, texts, strict=True)
        for text in parts
    )
    table, changes = clean(table, prose=False, joiners=True)
    if scrubbed:
        table, personal = scrub(table, IN_PROSE)
        changes = {**changes, **personal}
    after = iter(_strings(table))
    kept: list[Item[T]] = []
    for item, parts in zip(found.items, texts, strict=True):
        cleaned = [next(after) for _ in parts]
        try:
            value = form.with_texts(item.value, cleaned) if cleaned != parts else item.value
        except Misfit as wrong:
            found.removed.append(_removal(item, wrong.reason, wrong.detail))
        else:
            kept.append(Item(item.name, item.domain, value))
    found.items = kept
    found.changed = {name: change.documents for name, change in changes.items()}


def _strings(table: pa.Table) -> list[str]:
    texts: list[str] = table["text"].to_pylist()
    return texts


def repeated() -> Callable[[Item[Any]], tuple[str, str] | None]:
    """For `Intake.drop`: what has the same content as an item before it."""
    seen: dict[bytes, str] = {}

    def again(item: Item[Any]) -> tuple[str, str] | None:
        key = hashlib.sha256(repr((item.domain, item.value)).encode()).digest()
        other = seen.setdefault(key, item.name)
        return None if other == item.name else ("exact_duplicate", f"the same as {other}")

    return again


def _removal(item: Item[Any], reason: str, detail: str) -> Removal:
    return Removal(item.name, item.domain, item.name.split("/")[0], reason, detail)
