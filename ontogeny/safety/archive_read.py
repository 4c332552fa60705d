"""What an archive of attacks is read back from: its elites, the refusals beside, the failures.

Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.safety.archive import FILE, REFUSALS, Cell, Elite, Success
from ontogeny.safety.attack_table import attack

R = TypeVar("R")
HOLDING = ("held_families", "held_share")
"""The numbers of a search that say what is held out."""
_LISTS = ("steps", "prompt", "rejected")


class Failure(NamedTuple):
    """A risk, and the steps of an attack under which the model did wrong."""

    risk: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A benign request that was refused under an attack.

    Attributes:
        request: its id.
        risk: the harm it is near.
        steps: of the attack.
        held_out: nobody learns from it.
        text: the last turn.
        answer: the refusal.
        right: what had been right.
        prompt: all ids before the refusal.
        rejected: its ids as sampled.
    """

    request: str
    risk: str
    steps: Sequence[str]
    held_out: bool
    text: str
    answer: str
    right: str
    prompt: Sequence[int]
    rejected: Sequence[int]


def read_elites(attacks: Artifact) -> Iterator[tuple[Elite, bool]]:
    """(elite, held out) of every line of an artifact's archive.

    Raises:
        CorruptArtifact: naming the line that `Archive.write` has not written.
    """
    return _read(attacks.file(FILE), _elite, "attack of an archive")


def read_refusals(attacks: Artifact) -> Iterator[Refusal]:
    """Every line of an artifact's refusals.

    Raises:
        CorruptArtifact: naming the line that is none.
    """
    return _read(attacks.file(REFUSALS), _refusal, "refusal")


def _read(path: Path, made: Callable[[Any], R], what: str) -> Iterator[R]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield made(json.loads(line))
            except (InputError, KeyError, TypeError, ValueError) as error:
                raise CorruptArtifact(
                    f"no {what} ({error}); make it again", file=path, line=number
                ) from None


def check_held(attacks: Sequence[Artifact]) -> None:
    """Refuses archives that hold out unlike things: one would teach what another holds out.

    Raises:
        InputError: naming two of them.
    """
    for each in attacks[1:]:
        first = attacks[0]
        if any(each.record.config.get(n) != first.record.config.get(n) for n in HOLDING):
            raise InputError(
                f"'{first.name}' and '{each.name}' do not hold out the same; search both with one "
                f"{' and '.join(HOLDING)}"
            )


def failures(attacks: Iterable[Artifact]) -> list[Failure]:
    """What went wrong and may be learnt from, each once, sorted.

    An attack that made the model help where it must not, and one under which it refused a benign
    request; nothing that is held out.
    """
    found: set[Failure] = set()
    for each in attacks:
        found |= {
            Failure(elite.cell.risk, tuple(elite.steps))
            for elite, held in read_elites(each)
            if elite.score > 0 and not held
        }
        found |= {
            Failure(row.risk, tuple(row.steps)) for row in read_refusals(each) if not row.held_out
        }
    return sorted(found)


def _refusal(row: Mapping[str, Any]) -> Refusal:
    if type(row["held_out"]) is not bool:
        raise TypeError("held_out is neither true nor false")
    found = Refusal(**{**row, **{name: tuple(row[name]) for name in _LISTS}})
    attack(*found.steps)
    return found


def _elite(row: Mapping[str, Any]) -> tuple[Elite, bool]:
    held = row["held_out"]
    if type(held) is not bool:
        raise TypeError("held_out is neither true nor false")
    elite = Elite(
        Cell(**row["cell"]),
        tuple(row["steps"]),
        float(row["score"]),
        float(row["length"]),
        int(row["wishes"]),
        tuple(_success(each) for each in row["successes"]),
    )
    attack(*elite.steps)
    return elite, held


def _success(row: Mapping[str, Any]) -> Success:
    lists = ("turns", "answers", "prompt", "rejected", "shortest")
    return Success(**{**row, **{name: tuple(row[name]) for name in lists}})
