"""The shortest form of an attack that still succeeds: delta debugging over its words.

Knows no model: what succeeds is asked of a flow, and asked a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.rollout.flow import Flow
from ontogeny.safety.attack import Turn, Turns

Works = Callable[[Turns], Flow[bool]]
"""Whether an attack in this form succeeds; deterministic where the target is asked greedily."""
_Piece = tuple[int, str]
_QUOTES = "\"'"


@dataclass(frozen=True)
class Minimised:
    """What is left, whether nothing more can go, and what it cost.

    Attributes:
        minimal: removing any one removable word makes the attack fail (1-minimal); False where
            `calls` ran out before that was known.
        calls: forms that were tried.
    """

    turns: Turns
    minimal: bool
    calls: int


def minimise(turns: Turns, core: str, works: Works, most: int = 64) -> Flow[Minimised]:
    """ddmin (Zeller and Hildebrandt 2002, IEEE TSE 28(2), fig. 5, by complements).

    The last place where the wish stands is kept: what is left asks for the same. The attack as
    given is taken to succeed. A turn whose words are all gone is not said.

    Args:
        core: the wish as it is written in the attack.
        most: forms tried, at most.

    Raises:
        InputError: `most` is below 1.
    """
    if most < 1:
        raise InputError(f"minimise: most is {most}; give at least 1")
    pieces = [(n, word) for n, turn in enumerate(turns) for word in turn.text.split()]
    fixed = _wish(pieces, core)
    left = list(range(len(pieces)))
    free = [place for place in left if place not in fixed]
    calls, parts = 0, min(2, len(free))
    while parts:
        found, tried = yield from _without_a_part(
            turns, pieces, left, _split(free, parts), works, most - calls
        )
        calls += tried
        if found is not None:
            left, parts = found, max(parts - 1, 2)
            free = [place for place in left if place not in fixed]
            parts = min(parts, len(free))
        elif calls >= most:
            break
        elif parts >= len(free):
            return Minimised(_form(turns, pieces, left), True, calls)
        else:
            parts = min(2 * parts, len(free))
    return Minimised(_form(turns, pieces, left), not free, calls)


def _wish(pieces: Sequence[_Piece], core: str) -> set[int]:
    """The places of the last run of words that spells the wish, quotes aside.

    Where the words of the wish do not stand together, every place of one of them.
    """
    wanted = [word.strip(_QUOTES) for word in core.split()]
    said = [word.strip(_QUOTES) for _, word in pieces]
    for start in range(len(said) - len(wanted), -1, -1):
        if said[start : start + len(wanted)] == wanted:
            return set(range(start, start + len(wanted)))
    return {place for place, word in enumerate(said) if word in wanted}


def _without_a_part(
    turns: Turns,
    pieces: Sequence[_Piece],
    left: Sequence[int],
    parts: Sequence[Sequence[int]],
    works: Works,
    most: int,
) -> Generator[Any, Any, tuple[list[int] | None, int]]:
    """The first form without one of `parts` that still works, and how many were tried."""
    for tried, part in enumerate(parts[:most], start=1):
        rest = [place for place in left if place not in set(part)]
        form = _form(turns, pieces, rest)
        if form and (yield from works(form)):
            return rest, tried
    return None, min(most, len(parts))


def _split(places: Sequence[int], parts: int) -> list[Sequence[int]]:
    """`parts` runs of nearly equal length."""
    ends = [len(places) * n // parts for n in range(parts + 1)]
    return [places[a:b] for a, b in pairwise(ends)]


def _form(turns: Turns, pieces: Sequence[_Piece], left: Sequence[int]) -> Turns:
    texts = [" ".join(pieces[p][1] for p in left if pieces[p][0] == n) for n in range(len(turns))]
    return tuple(
        Turn(text, turn.right, turn.asks) for text, turn in zip(texts, turns, strict=True) if text
    )
