"""What a distribution requires, by its own metadata, and whether it is installed.

Knows the forms that our metadata has: NAME, version clauses, an extra as the marker (PEP 508 and
PEP 440 in part); anything else is told as not understood, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from itertools import zip_longest

FORM = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*\(?(?P<clauses>[^;()]*)\)?\s*"
    r"(;\s*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]\s*)?"
)
CLAUSE = re.compile(
    r"(?P<sign>>=|<=|==|!=|~=|<|>)\s*(?P<version>[0-9][^,\s*]*?)(?P<star>\.\*)?(?=\s*(?:,|$))"
)
RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)*")
EARLY = re.compile(r"\.?-?(a|b|c|rc|alpha|beta|pre|preview|dev)")


@dataclass(frozen=True)
class Requirement:
    """One line of the metadata; `extra` is None for what is always needed."""

    name: str
    clauses: str
    extra: str | None


@dataclass(frozen=True)
class Found:
    """A requirement beside what is installed: `version` is None where nothing is."""

    requirement: Requirement
    version: str | None

    @property
    def fits(self) -> bool:
        """Whether an installed version satisfies every clause."""
        return self.version is not None and satisfies(self.version, self.requirement.clauses)


def parse(text: str) -> Requirement:
    """Reads one requirement.

    Raises:
        ValueError: the form is none that we know.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is a requirement of an unknown form")
    clauses = match["clauses"].strip()
    for clause in filter(None, clauses.split(",")):
        if CLAUSE.fullmatch(clause.strip()) is None:
            raise ValueError(f"'{text}' has a clause of an unknown form")
    return Requirement(match["name"], clauses, match["extra"])


def requirements(distribution: str) -> list[Found]:
    """Everything that an installed distribution requires, its extras too.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
        ValueError: a requirement has a form that we do not know.
    """
    parsed = [parse(text) for text in metadata.requires(distribution) or []]
    return [Found(each, _installed(each.name)) for each in parsed]


def satisfies(version: str, clauses: str) -> bool:
    """Whether `version` lies within all comma-separated `clauses`; what follows a + is local."""
    return all(
        _holds(version, match["sign"], match["version"], bool(match["star"]))
        for match in CLAUSE.finditer(clauses)
    )


def _holds(version: str, sign: str, wanted: str, star: bool) -> bool:
    here, there = _key(version), _key(wanted)
    length = len(there[0]) - (1 if sign == "~=" else 0)
    alike = here[0][:length] == there[0][:length]
    if sign == "~=":
        return alike and _order(here, there) >= 0
    equal = alike if star else _order(here, there) == 0
    if sign in ("==", "!="):
        return equal == (sign == "==")
    order = _order(here, there)
    return {">=": order >= 0, "<=": order <= 0, ">": order > 0, "<": order < 0}[sign]


def _key(version: str) -> tuple[list[int], bool]:
    """The numbers of a release, and whether it is the release or something before it."""
    match = RELEASE.match(version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    rest = version[match.end() :] if match else version
    return numbers, EARLY.match(rest.lower()) is None


def _order(here: tuple[list[int], bool], there: tuple[list[int], bool]) -> int:
    for left, right in zip_longest(here[0], there[0], fillvalue=0):
        if left != right:
            return 1 if left > right else -1
    return int(here[1]) - int(there[1])


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
