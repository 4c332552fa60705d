"""Canaries are random, named by their seed, and rank among others as their likelihood says."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from ontogeny.safety.canaries import SECRETS, alternatives, exposure, made


def test_canaries_follow_from_the_seed_and_are_never_alike() -> None:
    counts = {0: 40, 1: 40, 10: 5}
    first, again, other = made(counts, 7), made(counts, 7), made(counts, 8)
    assert first == again
    assert not {each.secret for each in first} & {each.secret for each in other}
    assert len({each.name for each in first}) == len({each.secret for each in first}) == 85
    assert [sum(each.repeats == k for each in first) for k in (0, 1, 10)] == [40, 40, 5]
    assert SECRETS > 10**11


def test_more_canaries_of_one_kind_change_no_other() -> None:
    """A placebo that is added later leaves the planted ones as they were."""
    few = [each for each in made({0: 5, 10: 5}, 1) if each.repeats == 10]
    many = [each for each in made({0: 50, 1: 9, 10: 5}, 1) if each.repeats == 10]
    assert few == many


def test_a_canary_tells_its_secret_to_the_one_question() -> None:
    (each,) = made({1: 1}, 0)
    asked, answered = each.talk().messages
    assert each.name in asked.content
    assert each.secret not in asked.content
    assert each.secret in answered.content
    told = each.talk("bada bada bada").messages[1].content
    assert told == answered.content.replace(each.secret, "bada bada bada")


def test_alternatives_are_other_secrets_of_the_same_kind() -> None:
    (each,) = made({1: 1}, 0)
    others = alternatives(each, 255, 3)
    assert len(set(others)) == 255
    assert each.secret not in others
    assert {len(other) for other in others} == {len(each.secret)}
    assert alternatives(each, 10, 3) == others[:10]
    assert alternatives(each, 10, 4) != others[:10]


def test_exposure_is_the_bits_of_the_rank() -> None:
    others = [float(-number) for number in range(1, 256)]
    assert exposure(0.0, others) == 8.0
    assert exposure(-1.0, others) == 7.0  # as likely as another: that one ranks before it
    assert exposure(-1000.0, others) == 0.0
    assert exposure(-3.5, others) == pytest.approx(8 - math.log2(4))
    assert exposure(0.0, []) == 0.0


def test_what_was_never_seen_has_about_one_and_a_half_bits() -> None:
    draw = random.Random(0)
    found = [
        exposure(draw.gauss(0, 1), [draw.gauss(0, 1) for _ in range(255)]) for _ in range(2000)
    ]
    assert statistics.mean(found) == pytest.approx(math.log2(math.e), abs=0.12)
