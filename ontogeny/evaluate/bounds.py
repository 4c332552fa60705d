"""Intervals that a decision may rest on: of a level and of a paired difference, few units or many.

A bootstrap of differences that are all alike claims to be certain: [0, 0] after ten problems, since
what was not seen is never drawn. Here a score's range is known beforehand, and two units at either
end of it are added before Student's t interval is taken (the "plus four" of Agresti and Coull 1998,
The American Statistician 52, for proportions; for pairs Agresti and Min 2005, Statistics in
Medicine 24, add fewer). After n differences of 0 that leaves about 4 / n on either side, which is
also what the score interval of Tango (1998, Statistics in Medicine 17) leaves for pairs of yes and
no. Where no range is known (nats), Student's t has to do, and needs units that differ.

Units that weigh unlike each other tell less than as many that weigh the same: one document of half
of all tokens is half of what is known. So degrees of freedom and the weight of what is added follow
Kish's effective number of units, (sum of weights)^2 / (sum of their squares) (Survey Sampling,
1965), and a unit without weight counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ontogeny.base.errors import InputError
from ontogeny.evaluate.intervals import F64, Interval, exact
from ontogeny.evaluate.series import Series
from ontogeny.evaluate.student import growth, quantile

SHARE = 0.025
ADDED = 2
"""Units added at either end of a known range."""
LEAST_UNITS = 8
"""Of a series without a known range, to take Student's t of."""
_ROUNDING = 1e-9


class TooLittle(InputError):
    """There is nothing to tell from: too few units, or a spread that nobody can know."""


def level_of(series: Series, span: float, name: str, share: float = SHARE) -> Interval:
    """sum(values) / sum(weights); either bound is wrong with a chance of about `share`.

    Args:
        span: a unit's value over its weight lies from 0 to this; 0: nobody knows.

    Raises:
        TooLittle: of an unknown range, too few units or all alike.
        InputError: a value beyond the range, or no weight.
    """
    values, weights = _arrays(series.values, series.weights, name)
    if span == 1 and (weights == 1).all() and np.isin(values, (0, 1)).all():
        # Wilson's score interval is right on average of both ends; its lower one alone is wrong in
        # up to 15 % where few are 1, and so is its upper one where few are 0
        return exact(int(values.sum()), len(values), share)
    return _interval(values, weights, (0.0, span), name, share)


def change_of(
    before: Series, after: Series, span: float, name: str, share: float = SHARE
) -> Interval:
    """Level of `after` less level of `before` over the units both have, paired.

    Args:
        span: the most that a unit's value over its weight can differ; 0: nobody knows.

    Raises:
        TooLittle: no unit in common; of an unknown range, too few units or all alike.
        InputError: a unit weighs differently in the two, or a value is beyond the range.
    """
    place = {unit: index for index, unit in enumerate(before.units)}
    shared = [unit for unit in after.units if unit in place]
    if not shared:
        raise TooLittle(f"{name}: the two measurements have no unit in common")
    first, second = before.only(shared), after.only(shared)
    if list(first.weights) != list(second.weights):
        raise InputError(f"{name}: a unit weighs differently in two measurements; measure alike")
    old, weights = _arrays(first.values, first.weights, name)
    new, _ = _arrays(second.values, second.weights, name)
    return _interval(new - old, weights, (-span, span), name, share)


def _arrays(values: Sequence[float], weights: Sequence[float], name: str) -> tuple[F64, F64]:
    top, bottom = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    if not len(top):
        raise TooLittle(f"{name}: no unit was measured")
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        raise InputError(f"{name}: a value is not finite; look at what the model answered")
    if (bottom < 0).any() or bottom.sum() <= 0:
        raise InputError(f"{name}: weights are 0 or more, and not all 0")
    return top, bottom


def _interval(
    values: F64, weights: F64, ends: tuple[float, float], name: str, share: float
) -> Interval:
    """Student's t of a ratio of sums, linearised; of a known range with the units added."""
    units, estimate = int((weights > 0).sum()), float(values.sum() / weights.sum())
    low_end, high_end = ends
    if high_end <= 0:
        return _unbounded(values, weights, name, share)
    beyond = (values < low_end * weights - _ROUNDING) | (values > high_end * weights + _ROUNDING)
    if beyond.any():
        raise InputError(
            f"{name}: a unit's value lies beyond the range of {high_end:g}; give its span, or 0 "
            "where it has none"
        )
    effective = _effective(weights)
    usual = float(weights.sum()) / effective
    added = np.array([end * usual for end in ends for _ in range(ADDED)])
    top, bottom = np.concatenate([values, added]), np.append(weights, [usual] * len(added))
    centre = float(top.sum() / bottom.sum())
    count = effective + len(added)
    half = _half(top - centre * bottom, float(bottom.sum()), count, effective - 1, share)
    return Interval(
        estimate,
        min(estimate, max(low_end, centre - half)),
        max(estimate, min(high_end, centre + half)),
        units,
    )


def _unbounded(values: F64, weights: F64, name: str, share: float) -> Interval:
    units, estimate = int((weights > 0).sum()), float(values.sum() / weights.sum())
    rest = values - estimate * weights
    if units < LEAST_UNITS:
        raise TooLittle(f"{name}: {units} units are too few, {LEAST_UNITS} are needed")
    if np.abs(rest).max() <= _ROUNDING * max(1.0, float(np.abs(values).max())):
        raise TooLittle(f"{name}: all units are alike, which tells nothing of others")
    effective = _effective(weights)
    half = _half(rest, float(weights.sum()), effective, effective - 1, share)
    if not math.isfinite(half):
        raise TooLittle(f"{name}: one unit outweighs all others, which tells nothing of them")
    return Interval(estimate, estimate - half, estimate + half, units)


def _effective(weights: F64) -> float:
    """How many units of one weight would tell as much; all of them where they weigh the same."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _half(rest: F64, total: float, count: float, degrees: float, share: float) -> float:
    """Half of an interval, from what a ratio's parts are off it; no degree leaves all open."""
    whole = math.floor(degrees + _ROUNDING)  # rounded down: wider, and few distinct quantiles
    if whole < 1:
        return float("inf")
    spread = float(np.sqrt((rest**2).sum() * count / (count - 1)))
    return quantile(share, whole) * spread / total


def apart(first: Series, second: Series, span: float, share: float = SHARE) -> Interval:
    """Mean of `second` less mean of `first`, of other units, each unit weighing the same.

    One unit is added at either end of the range to each side (Agresti and Caffo 2000, The American
    Statistician 54, for proportions), then Welch's t is taken; `units` are those of the smaller
    side.

    Args:
        span: a value lies from 0 to this.

    Raises:
        TooLittle: a side has no unit.
    """
    sides = [np.asarray(each.values, np.float64) for each in (first, second)]
    if not all(map(len, sides)):
        raise TooLittle("one side has no unit")
    value = float(sides[1].mean() - sides[0].mean())
    wider = [np.append(each, [0.0, span]) for each in sides]
    found = growth(wider[0], wider[1], share)
    low, high = min(value, max(-span, found.low)), max(value, min(span, found.high))
    return Interval(value, low, high, min(map(len, sides)))
