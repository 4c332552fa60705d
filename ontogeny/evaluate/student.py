"""Student's t for few values: one-sided and two-sided bounds of a mean and of a difference of two.

Knows nothing of what was measured. For what comes in large numbers and clusters see `intervals`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.floating[Any]]
_NODES = 2_000
_MOST_DEGREES = 1_000


class Bounded(NamedTuple):
    """An estimate with a bound on either side, each crossed with the probability asked for."""

    value: float
    low: float
    high: float


def level(values: F64, share: float) -> Bounded:
    """The mean of at least two independent values; either bound is wrong with chance `share`."""
    assert len(values) > 1
    error = float(values.var(ddof=1)) / len(values)
    return _bounded(float(values.mean()), error, len(values) - 1, share)


def growth(early: F64, late: F64, share: float) -> Bounded:
    """Mean of `late` less mean of `early`, of unlike variances (Welch 1947, Biometrika 34)."""
    assert min(len(early), len(late)) > 1
    value = float(late.mean() - early.mean())
    parts = [(float(each.var(ddof=1)) / len(each), len(each) - 1) for each in (early, late)]
    error = sum(part for part, _ in parts)
    if error == 0:
        return Bounded(value, value, value)
    degrees = error**2 / sum(part**2 / free for part, free in parts)
    return _bounded(value, error, degrees, share)


def _bounded(value: float, error: float, degrees: float, share: float) -> Bounded:
    # rounded down: wider, and few distinct quantiles
    half = quantile(share, max(1, math.floor(degrees))) * math.sqrt(error)
    return Bounded(value, value - half, value + half)


@cache
def quantile(share: float, degrees: int) -> float:
    """t with P(T > t) = `share`, 0 < share < 0.5, by bisection.

    With t = sqrt(n) tan(a) the tail is the integral of cos^(n-1) from a to pi/2, normalised.
    """
    degrees = min(degrees, _MOST_DEGREES)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        angles = np.linspace(middle, math.pi / 2, _NODES + 1)
        tail = scale * float(np.trapezoid(np.cos(angles) ** (degrees - 1), angles))
        low, high = (middle, high) if tail > share else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
