"""An alarm over what is observed one by one, at any time, at a stated rate of false alarms.

Knows no traffic. Every signal is a number from 0 to 1; a reference says in which range its mean
lay. A detector bets against "the mean, given all before, still lies there": each observation x
multiplies its capital by 1 + b (x - high), which is worth no more than it cost while the mean is at
most `high` (betting: Waudby-Smith and Ramdas 2024, JRSS B 86). New bets begin with every
observation, so that a change at any time is found: the sum of their capitals is the
Shiryaev-Roberts form of an e-detector (Shin, Ramdas and Rinaldo 2023, arXiv:2203.03532), and an
alarm at c of it comes, while nothing has changed, after c observations on average or later. No
sample size is fixed and nobody has to stop looking. Several detectors share the rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ontogeny.base.errors import InputError
from ontogeny.evaluate.bounds import level_of
from ontogeny.evaluate.intervals import F64
from ontogeny.evaluate.series import Series

Way = Literal["rose", "fell"]
RUN_LENGTH = 10_000
FIRST, LEAST = 200, 20
TOLERATED = 0.02
BETWEEN = 9
"""Observations of others between two of one person."""
SURE = 0.005
"""Chance that a reference's mean lies above its range, and as much below."""
_STAKES = np.geomspace(0.01, 0.9, 8)
"""Shares of what can be lost that are put on one observation."""
_MOST = 1e200


@dataclass(frozen=True)
class Reference:
    """Where a signal's mean lay while all was well: surely in [`low`, `high`].

    `mean` is that of the `units` observations.
    """

    mean: float
    low: float
    high: float
    units: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.mean <= self.high <= 1:
            raise InputError("a reference lies between 0 and 1, low below high")


def reference(values: Sequence[float], name: str, tolerated: float = 0.0) -> Reference:
    """From the first observations: their mean's 99 % interval, and `tolerated` on either side.

    Raises:
        InputError: no values, or one outside of 0 to 1.
    """
    units = [str(number) for number in range(len(values))]
    found = level_of(Series(units, values, [1.0] * len(values)), 1.0, name, SURE)
    low, high = max(0.0, found.low - tolerated), min(1.0, found.high + tolerated)
    return Reference(found.value, low, high, found.units)


@dataclass(frozen=True)
class Alarmed:
    """What an alarm says.

    Attributes:
        signal: which one.
        way: whether its mean rose or fell.
        at: observations of this signal until the alarm.
        since: how many of the last of them speak for the change, by the bet that won most.
        mean: of these.
        reference: what they are compared with.
    """

    signal: str
    way: Way
    at: int
    since: int
    mean: float
    reference: Reference

    def line(self) -> str:
        """One line for a person."""
        return (
            f"{self.signal} {self.way}: {self.mean:.3f} over the last {self.since:,} of "
            f"{self.at:,}, reference {self.reference.mean:.3f} [{self.reference.low:.3f}, "
            f"{self.reference.high:.3f}] of {self.reference.units:,}"
        )


class _Detector:
    """Of one signal in one direction."""

    def __init__(self, bound: float, sign: float) -> None:
        self.bound, self.sign = bound, sign
        # the most an observation can lose; above it a capital could fall below 0
        room = bound if sign > 0 else 1 - bound
        self.bets: F64 = _STAKES / room
        self.sums: F64 = np.zeros(len(_STAKES))
        self.best: F64 = np.ones(len(_STAKES))
        self.count, self.total = 0, 0.0
        self.began = np.zeros((2, len(_STAKES)))

    @property
    def value(self) -> float:
        """Mean over the stakes of the capitals of all bets begun so far."""
        return float(self.sums.mean())

    def see(self, observed: float) -> None:
        """One more observation."""
        grown = 1 + self.bets * self.sign * (observed - self.bound)
        self.sums = np.minimum((self.sums + 1) * grown, _MOST)
        anew = self.best <= 1  # the best time to have begun is now
        self.began[:, anew] = np.array([[self.count], [self.total]])
        self.best = np.minimum(np.where(anew, 1.0, self.best) * grown, _MOST)
        self.count, self.total = self.count + 1, self.total + observed

    def last(self) -> tuple[int, float]:
        """How many observations speak for a change by the bet that won most, and their mean."""
        count, total = self.began[:, int(self.best.argmax())]
        since = self.count - int(count)
        return since, (self.total - float(total)) / since


class Alarm:
    """Watches several signals together, each against its own first observations.

    A person's next observation counts when those of nine others have (of all others, where there
    were fewer): where ten or more people write, one is a tenth of what is seen at most, however
    much that one sends.

    Args:
        signals: their names.
        run_length: mean number of observations until a false alarm, at least; all signals and both
            directions together.
        first: observations that make a signal's reference, where `references` has none.
        tolerated: by how much a mean may move besides.

    Raises:
        InputError: nothing to watch, or no run length or reference to make.
    """

    def __init__(
        self,
        signals: Sequence[str],
        *,
        run_length: float = RUN_LENGTH,
        first: int = FIRST,
        tolerated: float = TOLERATED,
        references: Mapping[str, Reference] | None = None,
    ) -> None:
        if not signals or run_length < 1 or first < LEAST or not 0 <= tolerated < 1:
            raise InputError(
                f"an alarm needs signals, a run length of at least 1, {LEAST} first observations "
                "and a tolerance from 0 to 1"
            )
        self.threshold = run_length * 2 * len(signals)
        self.references: dict[str, Reference] = {}
        self.alarms: dict[tuple[str, Way], Alarmed] = {}
        self.seen = dict.fromkeys(signals, 0)
        self._first, self._tolerated = first, tolerated
        self._learning: dict[str, list[float]] = {name: [] for name in signals}
        self._turns = {name: _Turns() for name in signals}
        self._detectors: dict[tuple[str, Way], _Detector] = {}
        for name, each in (references or {}).items():
            if name in self.seen:
                self._learnt(name, each)

    def see(self, name: str, value: float, who: str = "") -> list[Alarmed]:
        """One more observation of a signal; the alarms that it set off.

        An alarm stands until a new `Alarm` is made: somebody has to look.

        Args:
            who: of whom it is; "" counts for nobody.

        Raises:
            InputError: an unknown signal, or a value outside of 0 to 1.
        """
        if name not in self.seen or not 0 <= value <= 1:
            raise InputError(f"no signal {name} from 0 to 1: {value}")
        if who and not self._turns[name].takes(who):
            return []
        self.seen[name] += 1
        if name not in self.references:
            learning = self._learning[name]
            learning.append(value)
            if len(learning) == self._first:
                self._learnt(name, reference(learning, name, self._tolerated))
            return []
        return [told for way in _WAYS for told in self._tell(name, way, value)]

    def _learnt(self, name: str, found: Reference) -> None:
        self.references[name] = found
        self._learning[name] = []
        if found.high < 1:
            self._detectors[name, "rose"] = _Detector(found.high, 1.0)
        if found.low > 0:
            self._detectors[name, "fell"] = _Detector(found.low, -1.0)

    def _tell(self, name: str, way: Way, value: float) -> list[Alarmed]:
        detector = self._detectors.get((name, way))
        if detector is None:
            return []
        detector.see(value)
        if detector.value < self.threshold or (name, way) in self.alarms:
            return []
        since, mean = detector.last()
        alarmed = Alarmed(name, way, detector.count, since, mean, self.references[name])
        self.alarms[name, way] = alarmed
        return [alarmed]


class _Turns:
    """Who may be counted next: each person again when enough others were.

    Whether a value counts is known before it is, so no bet becomes unfair.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._last: dict[str, int] = {}

    def takes(self, who: str) -> bool:
        """Whether the next observation, of `who`, counts."""
        last = self._last.get(who)
        others = min(BETWEEN, len(self._last) - (last is not None))
        if last is not None and self._taken - last < others:
            return False
        self._taken += 1
        self._last[who] = self._taken
        return True


_WAYS: tuple[Way, ...] = ("rose", "fell")
