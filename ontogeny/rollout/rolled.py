"""What the episodes of a training step were like, as one JSON line: what a watch reads.

Knows no model, no environment and no stage.

`{"step", "rewards", "verified", "lengths", "repeats", "distinct", "signs"}`: the lists hold one
value an episode, in the order in which they were played.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ontogeny.base.files import write_atomically
from ontogeny.rollout.trajectory import Trajectory, finite

FILE = "rollouts.jsonl"
GRAM = 4
DIGITS = 4
Row: TypeAlias = dict[str, Any]
"""JSON values only."""


def row(step: int, rewards: Sequence[float], episodes: Sequence[Trajectory]) -> Row:
    """A line of the record.

    `verified` and `signs` come from the notes of the same names, which an environment may leave:
    how right the episode is by a check that the reward did not use, and what in it is suspicious.

    Args:
        step: counted from 1.
        rewards: what is learnt from, one for each episode; null in the line where it is not finite.
        episodes: at least one.
    """
    said = [tuple(id_ for turn in each.turns for id_ in turn.completion.ids) for each in episodes]
    signs = Counter(sign for each in episodes for sign in each.notes.get("signs", ()))
    return {
        "step": step,
        "rewards": [finite(reward) for reward in rewards],
        "verified": [finite(each.notes.get("verified")) for each in episodes],
        "lengths": [len(ids) for ids in said],
        "repeats": [round(repeats(ids), DIGITS) for ids in said],
        "distinct": round(len(set(said)) / len(said), DIGITS),
        "signs": dict(sorted(signs.items())),
    }


def repeats(ids: Sequence[int]) -> float:
    """The share of 4-grams that stood before among these ids; 0 where there is none."""
    count = len(ids) - GRAM + 1
    if count < 1:
        return 0.0
    return 1.0 - len({tuple(ids[n : n + GRAM]) for n in range(count)}) / count


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are told; None where none is."""
    told = [each for each in values if each is not None]
    return math.fsum(told) / len(told) if told else None


def write_rows(directory: Path, rows: Sequence[Row]) -> None:
    """Writes `FILE`, whole or not at all.

    Raises:
        NoSpace: see `write_atomically`.
    """
    # sorted: a checkpoint does not keep the order of keys
    text = "".join(json.dumps(each, sort_keys=True, allow_nan=False) + "\n" for each in rows)
    write_atomically(directory / FILE, text.encode())
