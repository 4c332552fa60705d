"""Files of questions -> the items of a suite, with their examples. Strict: a wrong row is an error.

Knows no token and no model. A row that was left out would change a score without a word, so the
first that does not fit ends it, by FILE:LINE.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ontogeny.base.errors import InputError
from ontogeny.base.files import sha256
from ontogeny.corpus.intake import UNCOUNTED, unread
from ontogeny.corpus.row_files import ROW_SUFFIXES
from ontogeny.corpus.rows import Row, read_rows
from ontogeny.corpus.table import Removal
from ontogeny.evaluate.suite import ALSO, OWN, SUITES, Suite
from ontogeny.evaluate.suite_columns import Original
from ontogeny.evaluate.suite_prompts import Question
from ontogeny.text.rows import Misfit

MOST_ITEMS = 200_000
OWN_NAME = "my-"
"""Begins the name of a suite of one's own, where it would look like a known one's."""
DRAWN_BY = 1234
"""The seed of lm_eval's draws of examples."""


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """Questions of one suite: `name` is a known one's, or what a user calls the file.

    `named`: whether a person said so, or it is only called as the file is.
    """

    name: str
    path: Path
    named: bool = True

    def digest(self) -> str:
        """sha256 of the file.

        Raises:
            InputError: there is no such file.
        """
        if self.path.is_dir():
            raise InputError("this is a directory; name a file of questions", file=self.path)
        if not self.path.is_file():
            raise InputError("there is no such file of questions", file=self.path)
        try:
            return sha256(self.path)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", file=self.path) from None


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a file.

    Attributes:
        unit: names it by its content, so that measurements of one question are paired.
        line: where it stands in the file; `id` is the row's own, "" without.
        original: the row in the columns of the original set.
        question: how it is put; `examples` stand before it.
    """

    unit: str
    line: int
    id: str
    original: Original
    question: Question
    examples: tuple[Question, ...] = ()

    def contexts(self) -> tuple[str, ...]:
        """What stands before each target: head, examples, question."""
        before = self.question.head + "".join(each.shown() for each in self.examples)
        return tuple(before + each for each in self.question.contexts)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The items of one suite, and the examples that were drawn from.

    Attributes:
        pool: of each group, in order; nothing in it is asked.
        shots: examples before each question.
    """

    name: str
    suite: Suite
    path: Path
    items: tuple[Item, ...]
    pool: tuple[Item, ...] = ()
    shots: int = 0


def parse(spec: str) -> SuiteFile:
    """`NAME=PATH`, or the `PATH` of a file of one's own, which is then called as the file is.

    Raises:
        InputError: the name is nearly a known suite's, so it is a slip or would be taken for one;
            or the file has a known suite's name, which does not say that it is that suite.
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9_-]*)=(.*)", spec, re.DOTALL)
    if found and not found[2]:
        raise InputError(f"there is no file behind {spec}; write {spec}FILE")
    if found:
        return SuiteFile(_suite_name(found[1]), Path(found[2]))
    if not spec:
        raise InputError("a suite is empty; write NAME=FILE or FILE")
    path = Path(spec)
    stem = path.name
    for suffix in sorted(ROW_SUFFIXES, key=len, reverse=True):
        stem = stem.removesuffix(suffix)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "own"
    if (folded := name.casefold()) in {*SUITES, *ALSO}:
        raise InputError(f"write {folded}={spec} if these are {folded}, else my-{name}={spec}")
    return SuiteFile(name, path, named=False)


def _suite_name(given: str) -> str:
    name = ALSO.get(given, given)
    if name in SUITES or name.startswith(OWN_NAME):
        return name
    near = difflib.get_close_matches(name.casefold(), [*SUITES, *ALSO], n=1)
    if near:
        told = f"'{name}' is no known suite; did you mean {near[0]}? A suite of your own of a like"
        raise InputError(f"{told} name begins with {OWN_NAME}: {OWN_NAME}{name}=FILE")
    return name


def by_name(examples: Sequence[SuiteFile], files: Sequence[SuiteFile]) -> dict[str, SuiteFile]:
    """The file of examples of each suite; none at all where `examples` is empty.

    Raises:
        InputError: a suite has none or two, or a file of examples belongs to no suite.
    """
    if not examples:
        return {}
    if len(examples) == len(files) == 1 and not examples[0].named:
        return {files[0].name: replace(examples[0], name=files[0].name)}
    named = {each.name: each for each in examples}
    for each in files:
        if each.name not in named:
            raise InputError(f"the examples have nothing for {each.name}; add {each.name}=FILE")
    for each in examples:
        if each.name not in {file.name for file in files}:
            raise InputError(
                f"there are examples for {each.name}, which is not asked; leave them out"
            )
    if len(named) < len(examples):
        raise InputError("two files of examples are for one suite; leave one out")
    return named


def load(
    file: SuiteFile, limit: int = 0, shots: int = 0, examples: SuiteFile | None = None
) -> Loaded:
    """The first `limit` (0: all) questions of `file`, each behind `shots` of `examples`.

    Examples are drawn as lm_eval draws them under its own seed; what is asked is never one.

    Raises:
        InputError: naming file and line, where a row does not fit; too few examples.
    """
    suite, items = _items(file, limit)
    if not shots:
        return Loaded(file.name, suite, file.path, items)
    if examples is None:
        raise InputError(f"{file.name} has no file of examples; name one, or take no shots")
    if examples.digest() == file.digest():
        told = "this is what is asked itself; take the examples from another file"
        raise InputError(told, file=examples.path)
    _, known = _items(replace(examples, name=file.name), 0, "bring fewer examples")
    asked = {_plain(each.unit) for each in items}
    pool = tuple(each for each in known if _plain(each.unit) not in asked)
    shown = _examples(suite, items, pool, shots, examples.path)
    return Loaded(file.name, suite, file.path, shown, pool, shots)


def _items(
    file: SuiteFile, limit: int, remedy: str = "set a limit"
) -> tuple[Suite, tuple[Item, ...]]:
    file.digest()
    suite = SUITES.get(file.name)
    found: list[Item] = []
    seen: dict[str, int] = {}
    for row in _rows(file):
        if len(found) == MOST_ITEMS:
            raise InputError(f"more than {MOST_ITEMS:,} questions; {remedy}", file=file.path)
        if suite is None:
            suite = OWN[0] if "choices" in row.value else OWN[1]
        item = _item(file, suite, row)
        seen[item.unit] = count = seen.get(item.unit, 0) + 1
        found.append(item if count == 1 else replace(item, unit=f"{item.unit}#{count}"))
        if len(found) == limit:
            break
    if suite is None:
        raise InputError("there is no question in it", file=file.path)
    return suite, tuple(found)


def _rows(file: SuiteFile) -> Iterator[Row]:
    spec = f"eval=path:{file.path}"
    for row in read_rows(spec, trains=False):
        if isinstance(row, Row):
            yield row
        elif isinstance(row, Removal) and row.reason not in UNCOUNTED:
            raise unread(spec, row)


def _item(file: SuiteFile, suite: Suite, row: Row) -> Item:
    try:
        original = suite.read(row.value)
        question = suite.ask(original)
    except Misfit as wrong:
        told = f"{wrong.detail} ({wrong.reason}); {_expected(file.name, suite)}"
        raise InputError(told, file=row.file, line=row.line) from None
    own = row.value.get("id")
    name = str(own)[:80] if isinstance(own, str | int) else ""
    return Item(_unit(file.name, question), row.line, name, original, question)


def _expected(name: str, suite: Suite) -> str:
    forms = " or (".join(f"{form})" for form in suite.forms)
    if suite.name == name:
        return f"{name} takes columns ({forms}"
    near = difflib.get_close_matches(name, SUITES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"'{name}' is no known suite, so its rows are (query, choices, gold) or ({forms}{hint}"


def _unit(name: str, question: Question) -> str:
    parts = [question.contexts, question.targets, question.answer, question.head]
    content = json.dumps(parts, ensure_ascii=True)
    return f"{name}/{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _plain(unit: str) -> str:
    return unit.partition("#")[0]


def _examples(
    suite: Suite, items: Sequence[Item], pool: Sequence[Item], shots: int, path: Path
) -> tuple[Item, ...]:
    groups: dict[str, list[Question]] = {}
    for each in pool:
        groups.setdefault(each.question.group, []).append(each.question)
    draws: dict[str, random.Random] = {}
    shown = []
    for item in items:
        group = item.question.group
        known = groups.get(group, [])
        if len(known) < shots:
            about = f" of {group}" if group else ""
            told = f"{shots} examples{about} are asked for, {len(known)} are no question themselves"
            raise InputError(f"{told}; lower the shots or bring more", file=path)
        draw = draws.setdefault(group, random.Random(DRAWN_BY))
        chosen = draw.sample(known, shots) if suite.draws else known[:shots]
        shown.append(replace(item, examples=tuple(chosen)))
    return tuple(shown)
