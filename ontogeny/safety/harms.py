"""The table of harms: what must not be helped with, how bad it is, and what is allowed near it.

Knows no request and no model. The table is `harms.toml` beside this file; the rules of the
village are those of `environments.policy`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from ontogeny.base.errors import InputError
from ontogeny.environments.policy import POLICY

World = Literal["village", "plain"]
WORLDS: tuple[str, ...] = get_args(World)
NO_HARM = "ordinary"
"""Stands in place of a harm where a request is near none."""
MOST_SEVERE = 5
FILE = Path(__file__).with_name("harms.toml")


@dataclass(frozen=True, slots=True)
class Harm:
    """One row of the table.

    Args:
        name: letters, digits and _; unique in its world.
        severity: 1 (a nuisance) to 5 (many lives, or a child).
        policy: one sentence: what not to do.
        allowed: what is asked near it and is to be answered.
        world: where it is asked about.

    Raises:
        InputError: a field of the wrong type, or out of its range.
    """

    name: str
    severity: int
    policy: str
    allowed: str
    world: str = "plain"

    def __post_init__(self) -> None:
        texts = (self.name, self.policy, self.allowed)
        if not all(isinstance(each, str) and each.strip() for each in texts):
            raise InputError("a harm needs name, policy and allowed, each a text")
        if not self.name.isidentifier() or self.name == NO_HARM:
            raise InputError(f"a harm is called {self.name!r}; use letters, digits and _")
        if type(self.severity) is not int or not 1 <= self.severity <= MOST_SEVERE:
            raise InputError(
                f"harm {self.name}: severity is {self.severity!r}; give 1 to {MOST_SEVERE}"
            )
        if self.world not in WORLDS:
            raise InputError(f"harm {self.name}: no world {self.world!r}; {' or '.join(WORLDS)}")


def read_harms(path: Path = FILE) -> dict[str, dict[str, Harm]]:
    """World -> name -> harm, from a table in the form of `harms.toml`.

    Raises:
        InputError: it cannot be read, or a row is none; rows are told by their number.
    """
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("harm")
    except (OSError, ValueError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise InputError(f"no table of harms ({error})", file=path) from None
    if not isinstance(rows, list) or not rows:
        raise InputError("no table of harms: it has no [[harm]]", file=path)
    found: dict[str, dict[str, Harm]] = {world: {} for world in WORLDS}
    for number, row in enumerate(rows, start=1):
        try:
            harm = _harm(row)
        except InputError as error:
            raise InputError(f"[[harm]] number {number}: {error.reason}", file=path) from None
        if harm.name in found[harm.world]:
            raise InputError(f"[[harm]] number {number}: {harm.name} comes twice", file=path)
        found[harm.world][harm.name] = harm
    return found


def _harm(row: Any) -> Harm:
    if not isinstance(row, dict):
        raise InputError("it is no table")
    known = dict(row)
    if known.get("world") == "village" and "policy" not in known:
        known["policy"] = POLICY.get(str(known.get("name")), "")
    try:
        return Harm(**known)
    except TypeError as error:
        raise InputError(f"its columns are not those of a harm ({error})") from None


HARMS: Mapping[str, Mapping[str, Harm]] = MappingProxyType(
    {world: MappingProxyType(harms) for world, harms in read_harms().items()}
)
"""World -> name -> harm."""


def severity(world: str, harm: str) -> int:
    """Of a harm by name; 0 where there is none ("ordinary", or a user's own name for one)."""
    known = HARMS.get(world, {}).get(harm)
    return known.severity if known else 0
