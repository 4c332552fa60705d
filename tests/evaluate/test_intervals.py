"""Claims about intervals: they cover, they know their units, and pairs cancel what is common."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.evaluate.bits import bits_per_byte, bits_per_byte_change
from ontogeny.evaluate.intervals import exact, mean, paired_difference, ratio, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_wilson_gives_the_published_numbers(
    successes: int, trials: int, low: float, high: float
) -> None:
    interval = wilson(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_within_0_and_1(pair: tuple[int, int]) -> None:
    interval = wilson(*pair)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_the_clustered_interval_covers_the_truth_about_19_times_in_20() -> None:
    covered = 0
    for trial in range(300):
        source = np.random.default_rng(trial)
        sizes = source.integers(100, 1_000, 60)
        level = source.normal(1.5, 0.3, 60)  # a document's own level: its tokens go together
        interval = ratio((level * sizes).tolist(), sizes.tolist(), f"trial {trial}")
        covered += not interval.excludes(1.5)
    assert 0.89 <= covered / 300 <= 0.98


def test_pairs_cancel_what_both_have_in_common() -> None:
    source = np.random.default_rng(0)
    hard = source.normal(5, 3, 100)
    before, after = hard, hard + source.normal(0.2, 0.1, 100)
    paired = paired_difference(before.tolist(), after.tolist(), "paired")
    assert paired.excludes(0)
    assert not mean((after - before[::-1]).tolist(), "unpaired").excludes(0)


def test_equal_names_and_data_give_equal_intervals_and_other_names_others() -> None:
    values = np.random.default_rng(1).normal(size=50).tolist()
    assert mean(values, "a") == mean(values, "a")
    assert mean(values, "a") != mean(values, "b")


def test_bits_per_byte_weighs_documents_by_their_bytes() -> None:
    nats = [math.log(2) * 8 * 100, math.log(2) * 2 * 300]  # 8 and 2 bits a byte
    interval = bits_per_byte(nats, [100, 300], "two")
    assert interval.value == pytest.approx(3.5)
    assert (interval.low, interval.high) == pytest.approx((2, 8))
    change = bits_per_byte_change(nats, [n / 2 for n in nats], [100, 300], "half")
    assert change.value == pytest.approx(-1.75)
    assert change.excludes(0)


def test_a_uniform_guess_over_bytes_is_eight_bits() -> None:
    interval = bits_per_byte([n * math.log(256) for n in (3, 5, 9)], [3, 5, 9], "uniform")
    assert tuple(interval)[:3] == pytest.approx((8, 8, 8))


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_number_is_one_line(values: list[float]) -> None:
    with pytest.raises(InputError):
        mean(values, "bad")
    with pytest.raises(InputError):
        ratio([1.0], [0.0], "bad")
    with pytest.raises(InputError):
        paired_difference([1.0], [1.0, 2.0], "bad")
    with pytest.raises(InputError):
        wilson(0, 0)


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 7), (7, 7), (1, 250), (249, 250)])
def test_either_end_of_an_exact_interval_leaves_its_share(successes: int, trials: int) -> None:
    """At the lower end so many or more come with just that chance, at the upper one so few."""

    def chance(level: float, counts: range) -> float:
        return sum(math.comb(trials, n) * level**n * (1 - level) ** (trials - n) for n in counts)

    found = exact(successes, trials, 0.025)
    assert (found.value, found.units) == (successes / trials, trials)
    more, fewer = range(successes, trials + 1), range(successes + 1)
    assert found.low == 0.0 if successes == 0 else chance(found.low, more) == pytest.approx(0.025)
    full = successes == trials
    assert found.high == 1.0 if full else chance(found.high, fewer) == pytest.approx(0.025)
    with pytest.raises(InputError, match="no proportion"):
        exact(trials + 1, trials, 0.025)
