"""Lines of a rollout record as numbers a step, checked: what a watch computes with.

Knows no verdict. `rollout/rolled.py` says what a line holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ontogeny.base.errors import CorruptArtifact

Row: TypeAlias = Mapping[str, Any]
LISTS = ("rewards", "verified", "lengths", "repeats")


def read_rows(file: Path) -> list[Row]:
    """The lines of a record, in the order of the steps.

    Raises:
        CorruptArtifact: a line that no rollout writes, with its number.
    """
    rows: list[Row] = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(_checked(json.loads(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                reason = f"no line of a rollout record ({error}); make the artifact again"
                raise CorruptArtifact(reason, file=file, line=number) from None
    return rows


def judged_apart(rows: Sequence[Row]) -> bool:
    """Whether something else than the environments judged, on a scale of its own."""
    return any("judge" in row for row in rows)


def gaps(rows: Sequence[Row]) -> np.ndarray | None:
    """Reward less verifier, the mean of a step where both are told; None: a step has neither.

    None, too, where the two are on different scales: a difference would say nothing.
    """
    if judged_apart(rows):
        return None
    found = []
    for row in rows:
        pairs = zip(row["rewards"], row["verified"], strict=True)
        both = [reward - check for reward, check in pairs if None not in (reward, check)]
        if not both:
            return None
        found.append(math.fsum(both) / len(both))
    return np.array(found) if found else None


def sign_shares(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """For each sign that was ever seen its share of the episodes of each step."""
    names = sorted({name for row in rows for name in row["signs"]})
    return {
        name: np.array([row["signs"].get(name, 0) / len(row["rewards"]) for row in rows])
        for name in names
    }


def told(rows: Sequence[Row], name: str) -> float:
    """The mean of a list's values over all episodes of these steps; 0 where none is told."""
    values = [value for row in rows for value in row[name] if value is not None]
    return math.fsum(values) / len(values) if values else 0.0


def _checked(row: Any) -> Row:
    lengths = {len(row[name]) for name in LISTS}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError("lists of unlike lengths")
    numbers = [value for name in LISTS for value in row[name] if value is not None]
    numbers += [row["distinct"], *row["signs"].values()]
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
        raise ValueError("a value that is no number")
    checked: Row = row
    return checked
