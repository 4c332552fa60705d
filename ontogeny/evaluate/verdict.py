"""The verdict on a claim: a pure function of intervals, null value and target.

Knows no stage and no artifact. The target and the sense were written down before the measurement
(`evaluate.claims`); nothing here can be tuned to a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ontogeny.base.errors import InputError
from ontogeny.evaluate.claims import Sense

Verdict = Literal["holds", "short", "null", "worse", "untested"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Estimate:
    """One seed's measurement of an effect: `value` in the 95 % interval [`low`, `high`].

    `null` is the effect's value when the stage did nothing (it may differ between seeds: what xz
    needs for their held-out text), `target` what it must reach, all in one unit.

    Raises:
        InputError: a number that is not finite, or an interval that ends before it begins.
    """

    seed: int
    value: float
    low: float
    high: float
    null: float
    target: float
    sense: Sense

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high, self.null, self.target)
        if not all(math.isfinite(number) for number in numbers):
            raise InputError(f"an estimate of seed {self.seed} is not finite: {numbers}")
        if self.low > self.high:
            raise InputError(f"an interval of seed {self.seed} ends before it begins")
        if self.sense not in get_args(Sense):
            raise InputError(f"sense is {self.sense!r}; give one of {', '.join(get_args(Sense))}")

    @property
    def bounds_harm(self) -> bool:
        """Whether the null value itself meets the target, so that the claim is "no more than"."""
        if self.sense == "at_most":
            return self.null <= self.target
        return self.sense == "at_least" and self.target < self.null


def verdict(estimates: Sequence[Estimate]) -> Verdict:
    """What the numbers say of one claim; the first estimate is the run's own seed.

    - holds: the interval lies wholly beyond the target; of a bound on harm, wholly within it.
    - short: wholly beyond the null value, not wholly beyond the target.
    - null: the interval contains the null value, or another seed lies on its other side.
    - worse: wholly on the wrong side of the null value.
    - untested: there are no estimates.

    `holds` and `short` need the value of every other seed on the good side of its null value (of a
    bound on harm: within the target).

    Raises:
        InputError: the estimates are not of one claim (another sense).
    """
    if not estimates:
        return "untested"
    if len({estimate.sense for estimate in estimates}) > 1:
        raise InputError("estimates of one claim differ in sense; give those of one claim")
    own, *others = estimates
    said = _within(own) if own.sense == "within" else _one_sided(own)
    if said in ("holds", "short") and not all(_agrees(other) for other in others):
        return "null"
    return said


def _one_sided(own: Estimate) -> Verdict:
    up = own.sense == "at_least"
    if own.low > own.target if up else own.high <= own.target:
        return "holds"
    better = own.low > own.null if up else own.high < own.null
    worse = own.high < own.null if up else own.low > own.null
    return "short" if better else "worse" if worse else "null"


def _within(own: Estimate) -> Verdict:
    if -own.target <= own.low and own.high <= own.target:
        return "holds"
    return "null" if own.low <= own.null <= own.high else "worse"


def _agrees(other: Estimate) -> bool:
    """Whether another seed's value lies on the good side."""
    if other.sense == "within":
        return abs(other.value) <= other.target
    bar = other.target if other.bounds_harm else other.null
    if other.sense == "at_least":
        return other.value >= bar if other.bounds_harm else other.value > bar
    return other.value <= bar if other.bounds_harm else other.value < bar
