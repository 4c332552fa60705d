"""The curves of a run, read back from its events: loss, reward and whatever a stage told.

Knows no stage. Several runs share one file, a stage goes on after a kill, and a killed run can
leave a torn line; none of these may show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

NOT_NUMBERS = {"time", "event", "stage", "done", "total", "unit"}


@dataclass
class Curve:
    """What one artifact's making told of itself: numbers over `unit`, `total` of it planned.

    `points` maps how much was done to the numbers told there.
    """

    unit: str
    total: float
    points: dict[float, dict[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: `at` ascending, and for each number a list as long, None where untold.

        Six digits are kept; a plot shows three.
        """
        at = sorted(self.points)
        names = sorted({name for point in self.points.values() for name in point})
        values = {name: [_rounded(self.points[place].get(name)) for place in at] for name in names}
        return {"unit": self.unit, "total": self.total, "at": at, "values": values}


@dataclass
class _Making:
    """One artifact in the making: its curve, and whether a session has just begun."""

    curve: Curve | None = None
    fresh: bool = False
    ended: bool = False


def read_curves(path: Path, wanted: Collection[str]) -> dict[str, Curve]:
    """The curve of each wanted artifact id that told numbers, from the events at `path`.

    A curve is what lies between "began" and "published" of its id. A session that goes on after
    a kill takes back what was told beyond its first step: the last value of a step wins. An
    artifact that was made again shows its last making.
    """
    makings: dict[str, _Making] = {}
    current: dict[str, _Making] = {}  # by the stage's name
    for event in _events(path):
        kind, stage = event.get("event"), str(event.get("stage", ""))
        if kind == "began":
            current.pop(stage, None)
            identity = str(event.get("id"))
            if identity in wanted:
                making = makings.get(identity)
                if making is None or making.ended:
                    making = makings[identity] = _Making()
                making.fresh = True
                current[stage] = making
        elif kind in ("published", "skipped"):
            ended = current.pop(stage, None)
            if ended is not None:
                ended.ended = True
        elif kind == "run":
            current.clear()
        elif kind == "progress" and stage in current:
            _take(current[stage], event)
    return {key: m.curve for key, m in makings.items() if m.curve is not None and m.curve.points}


def _take(making: _Making, event: dict[str, Any]) -> None:
    numbers = {
        name: float(value)
        for name, value in event.items()
        if name not in NOT_NUMBERS and _finite(value)
    }
    done, total, unit = event.get("done"), event.get("total"), event.get("unit")
    if not (numbers and _finite(done) and _finite(total) and isinstance(unit, str)):
        return
    if making.curve is None:
        making.curve = Curve(unit, float(total))
    if unit != making.curve.unit:  # another phase of the stage; one axis shows one unit
        return
    if making.fresh:
        making.fresh = False
        for place in [place for place in making.curve.points if place >= done]:
            del making.curve.points[place]
    making.curve.total = float(total)
    making.curve.points[float(done)] = numbers


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _finite(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole event; a torn line is passed over. Nothing when there is no file."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        for line in file:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event
