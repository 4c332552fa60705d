"""Confidence intervals: of proportions, of ratios over documents, of paired differences.

Knows nothing of what was measured. Every bootstrap takes its seed from a name and resamples whole
clusters (documents, problems), since tokens of one document are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed

Z_95 = 1.959963984540054
RESAMPLES = 2_000
_BLOCK = 1 << 22

F64 = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its 95 % interval; `units` is the number of independent ones."""

    value: float
    low: float
    high: float
    units: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval: for 0, an effect and no null."""
        return not self.low <= value <= self.high


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); sound at 0 and at 1 too.

    Raises:
        InputError: no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"{successes} successes in {trials} trials is no proportion")
    share, z2 = successes / trials, Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = Z_95 * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    half = float(spread) / (1 + z2 / trials)
    # At 0 and 1 the bound is exact in theory and may be off by rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(share, low, high, trials)


def exact(successes: int, trials: int, share: float) -> Interval:
    """A proportion's interval of which either end alone is wrong with a chance of at most `share`.

    Clopper and Pearson 1934 (Biometrika 26), by bisection; wider than Wilson's, and never too
    narrow at one end, so a decision may rest on that one.

    Raises:
        InputError: no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"{successes} successes in {trials} trials is no proportion")
    low = _least(successes, trials, share)
    return Interval(successes / trials, low, 1 - _least(trials - successes, trials, share), trials)


def _least(successes: int, trials: int, share: float) -> float:
    """The proportion under which so many successes or more come with a chance of `share`."""
    if successes == 0:
        return 0.0
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    counts = np.arange(successes, trials + 1)
    ways = logs[trials] - logs[counts] - logs[trials - counts]
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        terms = ways + counts * np.log(middle) + (trials - counts) * np.log1p(-middle)
        low, high = (middle, high) if np.exp(terms).sum() < share else (low, middle)
    return low


def ratio(
    numerators: Sequence[float], denominators: Sequence[float], name: str, seed: int = 0
) -> Interval:
    """sum(numerators) / sum(denominators) with a percentile bootstrap over the pairs.

    Percentile, not BCa: a ratio of sums over many documents is nearly symmetric, and the
    percentiles need no jackknife. With one document the interval is that document's value.

    Args:
        numerators: one for each document (nats, correct answers ...).
        denominators: one for each document (bytes, problems ...), none negative.
        name: of this use of randomness; equal names and data give equal intervals.
        seed: root of the named seed.

    Raises:
        InputError: no documents, unlike lengths, a value that is not finite, or nothing below.
    """
    top, bottom = _checked(numerators), _checked(denominators)
    if len(top) != len(bottom) or bottom.sum() <= 0 or (bottom < 0).any():
        raise InputError("a ratio needs as many numerators as denominators, these not all 0")
    weights = np.stack([top, bottom])
    sums = _resampled_sums(weights, named_seed(seed, "bootstrap", name))
    valid = sums[:, 1] > 0  # a resample may draw only documents of no bytes
    low, high = np.percentile(sums[valid, 0] / sums[valid, 1], [2.5, 97.5])
    return Interval(float(top.sum() / bottom.sum()), float(low), float(high), len(top))


def mean(values: Sequence[float], name: str, seed: int = 0) -> Interval:
    """Mean of independent values with a percentile bootstrap; see `ratio`."""
    return ratio(values, [1.0] * len(values), name, seed)


def paired_difference(
    before: Sequence[float], after: Sequence[float], name: str, seed: int = 0
) -> Interval:
    """Mean of after - before over the same problems, resampled as pairs; see `ratio`."""
    first, second = _checked(before), _checked(after)
    if len(first) != len(second):
        raise InputError(f"{len(first)} values are paired with {len(second)}; give as many")
    return mean((second - first).tolist(), name, seed)


def paired_ratio_difference(
    before: Sequence[float],
    after: Sequence[float],
    denominators: Sequence[float],
    name: str,
    seed: int = 0,
) -> Interval:
    """Difference of two ratios over the same documents, e.g. of bits per byte after and before.

    sum(after - before) / sum(denominators); documents are resampled whole, so what makes a
    document hard for both cancels.
    """
    first, second = _checked(before), _checked(after)
    if len(first) != len(second):
        raise InputError(f"{len(first)} values are paired with {len(second)}; give as many")
    return ratio((second - first).tolist(), denominators, name, seed)


def recovered_share(
    damaged: Sequence[float],
    repaired: Sequence[float],
    undamaged: Sequence[float],
    name: str,
    seed: int = 0,
) -> Interval:
    """sum(damaged - repaired) / sum(damaged - undamaged) with a bootstrap over the units.

    Unlike in `ratio` the lower sum may be of either sign in a resample. Nothing was lost in such a
    resample, so nothing can have come back: it counts as the worst of the others, and as 0 at most.

    Raises:
        InputError: unlike lengths, or the units together lost nothing.
    """
    before, after, best = _checked(damaged), _checked(repaired), _checked(undamaged)
    if not len(before) == len(after) == len(best):
        raise InputError("a share won back needs the same units three times")
    won, lost = before - after, before - best
    if lost.sum() <= 0:
        raise InputError(f"{name}: nothing was lost, so no share of it can be won back")
    sums = _resampled_sums(np.stack([won, lost]), named_seed(seed, "bootstrap", name))
    valid = sums[:, 1] > 0
    known = sums[valid, 0] / sums[valid, 1]
    shares = np.full(len(sums), known.min(initial=0.0))
    shares[valid] = known
    low, high = np.percentile(shares, [2.5, 97.5], method="closest_observation")
    return Interval(float(won.sum() / lost.sum()), float(low), float(high), len(won))


def _checked(values: Sequence[float]) -> F64:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise InputError("no values to take an interval of")
    if not np.isfinite(array).all():
        raise InputError(f"value {int(np.flatnonzero(~np.isfinite(array))[0])} is not finite")
    return array


def _resampled_sums(values: F64, seed: int) -> F64:
    """(RESAMPLES, rows) sums of `values` (rows, units) over units drawn with replacement."""
    units = values.shape[1]
    generator = np.random.default_rng(seed)
    sums = np.empty((RESAMPLES, values.shape[0]))
    step = max(1, _BLOCK // units)
    for start in range(0, RESAMPLES, step):
        stop = min(start + step, RESAMPLES)
        draws = generator.integers(0, units, (stop - start, units))
        sums[start:stop] = values[:, draws].sum(axis=2).T
    return sums
