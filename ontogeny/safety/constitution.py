"""A constitution: principles in a file that people read, drawn at random while answers are judged.

Knows no model. `constitution.toml` beside this file is ours, `constitution_village.toml` the one
for the small invented world; a user's own file has the same form. The method is that of Bai et al.
2022 (arXiv:2212.08073), the words are ours.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json, write_json
from ontogeny.base.identity import digest
from ontogeny.base.seeds import named_seed
from ontogeny.safety.constitution_prompts import Prompt
from ontogeny.safety.constitution_rules import RULES, Rule

FILE = Path(__file__).with_name("constitution.toml")
VILLAGE = Path(__file__).with_name("constitution_village.toml")
SHIPPED = {"constitution": FILE, "village": VILLAGE}
"""What `path` of a stage may be called instead of by its place."""
MOST_BYTES = 1 << 18
MOST_PRINCIPLES = 500
MOST_WEIGHT = 1_000_000
CRITIQUE = (
    "Judge your last answer by this principle: {text} Say in one or two sentences where the "
    "answer breaks it, or that it keeps it."
)
REVISION = (
    "Write the answer to my first message again so that it keeps this principle: {text} Give the "
    "answer alone."
)
PREFER = "Which answer keeps this principle better? {text}"
_HEAD = re.compile(r"\s*\[\[\s*principle\s*\]\]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Principle:
    """One thing an answer is judged by.

    Args:
        name: letters, digits, `_`, `.` and `-`.
        text: the principle in words.
        critique, revision, prefer: what critic, author and judge are asked; {text} stands for the
            principle. "" takes ours.
        weight: how often it is drawn, beside the others.
        rule: a name in `constitution_rules.RULES`; "" leaves it to critics and judges of words.
        number: of a rule that takes one.
        categories: of prompts that it is about; () is all.

    Raises:
        InputError: a value is of the wrong type or out of its range, or there is no such rule.
    """

    name: str
    text: str
    critique: str = ""
    revision: str = ""
    prefer: str = ""
    weight: float = 1.0
    rule: str = ""
    number: int = 0
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("name", "text", "critique", "revision", "prefer", "rule"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} is no text; give a string")
        if not _NAME.fullmatch(self.name):
            raise InputError(f"name {self.name!r}: use letters, digits and _ . -, a letter first")
        if not self.text.strip():
            raise InputError("text is empty; say what the principle is")
        if type(self.weight) not in (int, float) or not 0 < self.weight <= MOST_WEIGHT:
            reason = f"weight is {self.weight!r:.40}; give a number above 0"
            raise InputError(f"{reason}, at most {MOST_WEIGHT:,}")
        if self.rule and self.rule not in RULES:
            raise InputError(f"rule {self.rule!r} is none; there are {', '.join(RULES)}")
        numbered = bool(self.rule) and RULES[self.rule].numbered
        if type(self.number) is not int or (self.number < 1) == numbered:
            wants = f"rule {self.rule} takes a number of at least 1" if numbered else "give none"
            raise InputError(f"number is {self.number!r}; {wants}")
        listed = isinstance(self.categories, tuple)
        if not listed or not all(isinstance(each, str) and each for each in self.categories):
            raise InputError("categories is no list of texts; leave it out for all prompts")

    def asks(self, what: str) -> str:
        """What critic ("critique"), author ("revision") or judge ("prefer") are asked."""
        own: str = getattr(self, what)
        standard = {"critique": CRITIQUE, "revision": REVISION, "prefer": PREFER}[what]
        return (own or standard).replace("{text}", self.text)

    def programmed(self) -> Rule | None:
        """Its rule, None where it has none."""
        return RULES[self.rule] if self.rule else None

    def applies(self, asked: Prompt, *, by_rule: bool) -> bool:
        """Whether it says anything of a prompt to a judge by rule, or to one by words."""
        if self.categories and asked.category not in self.categories:
            return False
        rule = self.programmed()
        return not by_rule or (rule is not None and rule.speaks(asked))


@dataclass(frozen=True, slots=True)
class Constitution:
    """Principles in the order of their file."""

    principles: tuple[Principle, ...]

    def digest(self) -> str:
        """Of what the principles say; layout and comments of the file do not matter."""
        return digest(self.to_json())

    def to_json(self) -> list[dict[str, Any]]:
        """The fields of each principle, as JSON values."""
        return [
            asdict(each) | {"weight": float(each.weight), "categories": list(each.categories)}
            for each in self.principles
        ]

    def without(self, names: Sequence[str]) -> Constitution:
        """The same less these principles.

        Raises:
            InputError: there is none of that name, or none is left.
        """
        known = {each.name: each for each in self.principles}
        for name in names:
            if known.pop(name, None) is None:
                has = ", ".join(each.name for each in self.principles)
                raise InputError(f"the constitution has no principle {name!r}; it has {has}")
        if not known:
            raise InputError("no principle is left; leave fewer out")
        return Constitution(tuple(known.values()))

    def order(self, asked: Prompt, seed: int, *, by_rule: bool) -> list[Principle]:
        """All principles that apply to a prompt, as a draw without replacement by their weights.

        Each principle's place follows from (seed, its own name and weight), so taking one out or
        putting one in leaves the order of the others as it was (Efraimidis and Spirakis 2006).
        """
        known = [each for each in self.principles if each.applies(asked, by_rule=by_rule)]
        return sorted(known, key=lambda each: _arrival(each, seed))


def _arrival(principle: Principle, seed: int) -> float:
    """An exponential clock of rate `weight`: the heavier, the earlier."""
    place = (named_seed(seed, "principle", principle.name) + 0.5) / 2.0**63
    return -math.log(place) / principle.weight


def read_constitution(path: Path) -> Constitution:
    """The constitution in a file, or a shipped one by name.

    Raises:
        InputError: naming file and line of what is wrong.
    """
    path = SHIPPED.get(str(path), path)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        source = data.decode("utf-8")
    except OSError as error:
        reason = f"no constitution ({error.strerror}); give a file of [[principle]] tables, or one "
        reason += f"of {', '.join(SHIPPED)}"
        raise InputError(reason, file=path) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8; save it as UTF-8", file=path, line=line) from None
    if len(data) > MOST_BYTES:
        reason = f"more than {MOST_BYTES:,} bytes; a constitution is short enough to be read"
        raise InputError(reason, file=path)
    return Constitution(_principles(source, path))


def write_constitution(path: Path, constitution: Constitution) -> None:
    """The principles as JSON, so that what was made under them keeps them."""
    write_json(path, {"principles": constitution.to_json()})


def kept_constitution(path: Path) -> Constitution:
    """What `write_constitution` wrote.

    Raises:
        CorruptArtifact: it is something else.
    """
    try:
        return Constitution(tuple(map(_principle, read_json(path)["principles"])))
    except (KeyError, TypeError, InputError) as error:
        raise CorruptArtifact(f"no constitution ({error}); make it again", file=path) from None


def _principles(source: str, path: Path) -> tuple[Principle, ...]:
    try:
        document = tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        at = re.search(r"\(at line (\d+)", str(error))
        line = int(at[1]) if at else max(1, len(_lines(source)))
        raise InputError(f"no TOML: {error}; mend it", file=path, line=line) from None
    unknown = sorted(set(document) - {"principle"})
    if unknown:
        reason = f"unknown name {unknown[0]!r}; a constitution holds [[principle]] tables alone"
        raise InputError(reason, file=path, line=_line(source, None, unknown[0]))
    rows = document.get("principle")
    if not isinstance(rows, list) or not rows:
        raise InputError("it has no [[principle]]; write at least one", file=path)
    if len(rows) > MOST_PRINCIPLES:
        raise InputError(f"{len(rows)} principles; give at most {MOST_PRINCIPLES}", file=path)
    found: dict[str, Principle] = {}
    for place, row in enumerate(rows):
        try:
            principle = _principle(row)
            if principle.name in found:
                raise InputError(f"name {principle.name!r} comes twice; give another")
        except InputError as error:
            key = error.reason.split()[1 if error.reason.startswith("unknown") else 0]
            line = _line(source, _heading(source, place), key.strip("';"))
            reason = f"principle {place + 1}: {error.reason}"
            raise InputError(reason, file=path, line=line) from None
        found[principle.name] = principle
    return tuple(found.values())


def _principle(row: Any) -> Principle:
    if not isinstance(row, dict):
        raise InputError("a principle is a table of its own; begin it with [[principle]]")
    known = {each.name for each in fields(Principle)}
    unknown = sorted(set(row) - known)
    if unknown:
        raise InputError(f"unknown {unknown[0]!r}; a principle has {', '.join(sorted(known))}")
    missing = [name for name in ("name", "text") if name not in row]
    if missing:
        raise InputError(f"it has no {missing[0]}; give one")
    values = dict(row)
    if isinstance(values.get("categories"), list):
        values["categories"] = tuple(values["categories"])
    return Principle(**values)


def _lines(source: str) -> list[str]:
    """As TOML and editors count them: a text may hold U+2028, which `splitlines` counts too."""
    return source.removesuffix("\n").split("\n")


def _heading(source: str, place: int) -> int:
    """The 0-based line of the [[principle]] at `place`, 0 where there is none.

    A line inside a text that only looks like one is told apart by parsing what stands before it.
    """
    lines = _lines(source)
    for number, line in enumerate(lines):
        if _HEAD.match(line):
            try:
                rows = tomllib.loads("\n".join(lines[: number + 1]))["principle"]
            except ValueError:
                continue
            if len(rows) == place + 1:
                return number
    return 0


def _line(source: str, heading: int | None, key: str) -> int:
    """The 1-based line that gives `key`, of the table at `heading` or (None) of them all.

    Where none does, that of the heading.
    """
    lines, begin = _lines(source), heading or 0
    given = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[]=.]")
    for number in range(begin, len(lines)):
        if heading is not None and number > begin and _HEAD.match(lines[number]):
            break
        if given.match(lines[number]):
            return number + 1
    return begin + 1


def changed(before: Constitution, after: Constitution) -> dict[str, str]:
    """Name -> "taken out", "put in" or "changed", of the principles in which the two differ."""
    old: dict[str, Principle] = {each.name: each for each in before.principles}
    new: dict[str, Principle] = {each.name: each for each in after.principles}
    names: Sequence[str] = list(dict.fromkeys([*old, *new]))
    words = {}
    for name in names:
        if name not in new:
            words[name] = "taken out"
        elif name not in old:
            words[name] = "put in"
        elif old[name] != new[name]:
            words[name] = "changed"
    return words
