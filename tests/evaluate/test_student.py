"""Bounds of a few values are wrong as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from ontogeny.evaluate.student import growth, level, quantile


@pytest.mark.parametrize(
    ("share", "degrees", "expected"),
    [
        (0.05, 1, 6.313752),
        (0.001, 3, 10.214532),
        (0.025, 10, 2.228139),
        (0.005, 30, 2.749996),
        (0.025, 10**6, 1.962339),  # that of 1,000 degrees: a little wider
    ],
)
def test_quantiles_are_those_of_the_tables(share: float, degrees: int, expected: float) -> None:
    """Student's t, upper tail (any statistical table)."""
    assert quantile(share, degrees) == pytest.approx(expected, abs=4e-4)


def test_a_difference_is_missed_as_often_as_said_with_unlike_sizes_and_spreads() -> None:
    source = np.random.default_rng(0)
    low = high = 0
    for _ in range(2_000):
        early, late = source.normal(0, 3, 6), source.normal(1, 1, 20)
        found = growth(early, late, 0.05)
        low, high = low + (found.low > 1), high + (found.high < 1)
    assert 60 < low < 140
    assert 60 < high < 140


def test_equal_values_leave_no_doubt_and_a_shift_moves_the_bounds_along() -> None:
    same = np.full(5, 0.25)
    assert growth(same, same + 0.5, 0.01) == (0.5, 0.5, 0.5)
    values = np.array([0.1, 0.4, 0.2, 0.9])
    there, further = level(values, 0.01), level(values + 1, 0.01)
    assert further == pytest.approx([bound + 1 for bound in there])
