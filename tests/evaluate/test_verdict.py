"""The verdict follows from the numbers alone, and never from wishes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.evaluate.verdict import VERDICTS, Estimate, Verdict, verdict

ORDER: dict[Verdict, int] = {"worse": 0, "null": 1, "short": 2, "holds": 3}
numbers = st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3))
senses = st.sampled_from(["at_least", "at_most", "within"])


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(numbers) for _ in range(3))
    null, target = draw(numbers), draw(numbers)
    sense = draw(senses)
    if sense == "within":
        null, target = 0.0, abs(target)
    return Estimate(draw(st.integers(0, 9)), value, low, high, null, target, sense)


def one(low: float, high: float, null: float, target: float, sense: str) -> Estimate:
    return Estimate(0, (low + high) / 2, low, high, null, target, sense)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "null", "target", "sense", "expected"),
    [
        (0.6, 0.8, 0.0, 0.5, "at_least", "holds"),
        (0.5, 0.8, 0.0, 0.5, "at_least", "short"),  # touching the target is not beyond it
        (0.1, 0.8, 0.0, 0.5, "at_least", "short"),
        (0.0, 0.8, 0.0, 0.5, "at_least", "null"),
        (-0.2, 0.0, 0.0, 0.5, "at_least", "null"),
        (-0.2, -0.1, 0.0, 0.5, "at_least", "worse"),
        (1.40, 1.45, 1.76, 1.45, "at_most", "holds"),  # bits per byte against xz
        (1.40, 1.50, 1.76, 1.45, "at_most", "short"),
        (1.70, 1.76, 1.76, 1.45, "at_most", "null"),
        (1.77, 1.90, 1.76, 1.45, "at_most", "worse"),
        (0.01, 0.05, 0.0, 0.05, "at_most", "holds"),  # a bound on harm
        (-0.03, -0.01, 0.0, 0.05, "at_most", "holds"),
        (-0.01, 0.06, 0.0, 0.05, "at_most", "null"),
        (0.01, 0.06, 0.0, 0.05, "at_most", "worse"),
        (-0.01, 0.01, 0.0, -0.02, "at_least", "holds"),  # a bound on harm from below
        (-0.03, -0.01, 0.0, -0.02, "at_least", "worse"),
        (-0.02, 0.02, 0.0, 0.02, "within", "holds"),
        (0.01, 0.02, 0.0, 0.02, "within", "holds"),
        (-0.01, 0.03, 0.0, 0.02, "within", "null"),
        (0.01, 0.03, 0.0, 0.02, "within", "worse"),
        (-0.05, -0.03, 0.0, 0.02, "within", "worse"),
    ],
)
def test_one_seed(
    low: float, high: float, null: float, target: float, sense: str, expected: str
) -> None:
    assert verdict([one(low, high, null, target, sense)]) == expected


def test_no_estimate_is_untested() -> None:
    assert verdict([]) == "untested"


@pytest.mark.parametrize(
    ("own", "value", "expected"),
    [
        (one(0.6, 0.8, 0.0, 0.5, "at_least"), 0.01, "holds"),  # beyond the null is enough
        (one(0.6, 0.8, 0.0, 0.5, "at_least"), 0.0, "null"),
        (one(0.1, 0.8, 0.0, 0.5, "at_least"), -0.1, "null"),
        (one(1.40, 1.44, 1.76, 1.45, "at_most"), 1.75, "holds"),
        (one(1.40, 1.44, 1.76, 1.45, "at_most"), 1.76, "null"),
        (one(0.01, 0.04, 0.0, 0.05, "at_most"), 0.05, "holds"),  # harm within the bound
        (one(0.01, 0.04, 0.0, 0.05, "at_most"), 0.051, "null"),
        (one(-0.01, 0.01, 0.0, -0.02, "at_least"), -0.02, "holds"),
        (one(-0.01, 0.01, 0.0, -0.02, "at_least"), -0.021, "null"),
        (one(-0.01, 0.01, 0.0, 0.02, "within"), -0.02, "holds"),
        (one(-0.01, 0.01, 0.0, 0.02, "within"), -0.021, "null"),
    ],
)
def test_the_other_seeds_must_lie_on_the_same_side(
    own: Estimate, value: float, expected: str
) -> None:
    other = replace(own, seed=1, value=value, low=value - 1, high=value + 1)
    assert verdict([own, other]) == expected
    assert verdict([own, own, other]) == expected


def test_each_seed_is_held_against_its_own_null_value() -> None:
    own = one(1.40, 1.44, 1.76, 1.45, "at_most")
    easier_text = replace(own, seed=1, value=1.60, low=1.5, high=1.7, null=1.55)
    assert verdict([own, easier_text]) == "null"
    assert verdict([own, replace(easier_text, null=1.65)]) == "holds"


@given(st.lists(estimates(), min_size=1, max_size=4))
def test_other_seeds_only_ever_take_away(rows: list[Estimate]) -> None:
    rows = [replace(row, sense=rows[0].sense, target=rows[0].target) for row in rows]
    alone, together = verdict(rows[:1]), verdict(rows)
    assert {alone, together} <= set(VERDICTS) - {"untested"}
    assert together == alone or (alone in ("holds", "short") and together == "null")
    assert together == verdict([rows[0], *reversed(rows[1:])])
    assert verdict([*rows, rows[0]]) == together


@given(estimates(), st.floats(0.001, 50))
def test_a_higher_interval_is_never_a_lower_verdict(own: Estimate, up: float) -> None:
    moved = replace(own, value=own.value + up, low=own.low + up, high=own.high + up)
    before, after = ORDER[verdict([own])], ORDER[verdict([moved])]
    if own.sense == "at_least":
        assert after >= before
    elif own.sense == "at_most":
        assert after <= before


@given(estimates())
def test_holding_excludes_the_null_value_unless_the_claim_bounds_harm(own: Estimate) -> None:
    said = verdict([own])
    contains = own.low <= own.null <= own.high
    if said in ("short", "worse"):
        assert not contains
    if said == "holds" and own.sense != "within" and not own.bounds_harm:
        assert not contains
    if said == "null" and own.sense != "within":
        assert contains


@given(estimates())
def test_less_is_more_turned_around(own: Estimate) -> None:
    """An upper bound is a lower bound on the negative; they differ on the boundary alone."""
    turned = replace(
        own,
        value=-own.value,
        low=-own.high,
        high=-own.low,
        null=-own.null,
        target=-own.target if own.sense != "within" else own.target,
        sense={"at_least": "at_most", "at_most": "at_least", "within": "within"}[own.sense],
    )
    if own.sense == "within" or own.target not in (own.low, own.high, own.null):
        assert verdict([own]) == verdict([turned])


@given(estimates(), st.sampled_from([0.5, 2.0, 1024.0]))
def test_the_unit_does_not_matter(own: Estimate, factor: float) -> None:
    keys = ("value", "low", "high", "null", "target")
    scaled = replace(own, **{key: getattr(own, key) * factor for key in keys})
    assert verdict([own]) == verdict([scaled])


@pytest.mark.parametrize("key", ["value", "low", "high", "null", "target"])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(key: str, number: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        replace(one(0.1, 0.2, 0.0, 0.5, "at_least"), **{key: number})


def test_what_makes_no_sense_is_refused() -> None:
    good = one(0.1, 0.2, 0.0, 0.5, "at_least")
    with pytest.raises(InputError, match="ends before it begins"):
        replace(good, low=0.3)
    with pytest.raises(InputError, match="give one of at_least"):
        replace(good, sense="above")
    with pytest.raises(InputError, match="differ in sense"):
        verdict([good, replace(good, sense="at_most")])
