"""Damage is told from paired units: what flipped, what is worse, in words a person understands."""

from typing import Any

import pytest

from ontogeny.base.errors import InputError
from ontogeny.evaluate.damage import differences, examined, flips, paired, summary, verdict
from ontogeny.evaluate.series import Series

UNITS = ["a", "b", "c", "d", "e"]


def ones(units: list[str], values: list[float]) -> Series:
    return Series(units, values, [1.0] * len(units))


def test_flips_count_tasks_by_what_became_of_them() -> None:
    before = ones(UNITS, [1.0, 1.0, 0.0, 0.5, 1.0])
    after = ones([*UNITS[1:], "f"], [0.5, 1.0, 1.0, 1.0, 0.0])
    shared = paired({"exam.score": before}, {"exam.score": after})
    assert flips(shared) == {"exam.score": {"tasks": 4, "lost": 1, "won": 2}}


def test_units_are_paired_by_name_in_any_order() -> None:
    before, after = ones(UNITS, [1.0, 2.0, 3.0, 4.0, 5.0]), ones(UNITS[::-1], [5, 4, 3, 2, 1.5])
    found = differences(paired({"x": before}, {"x": after, "y": after}))
    assert found.keys() == {"x"}
    assert found["x"]["difference"]["estimate"] == pytest.approx(0.5 / 5)
    assert found["x"]["difference"]["low"] == 0
    assert found["x"]["before"]["estimate"] == 3


def test_measurements_without_a_common_unit_are_refused() -> None:
    one, other = ones(["a"], [1.0]), ones(["b"], [1.0])
    with pytest.raises(InputError, match="share no series"):
        paired({"x": one}, {"x": other, "y": one})


def test_the_environments_of_an_exam_are_those_with_a_score_of_their_own() -> None:
    score = ones(UNITS[:3], [0.0, 1.0, 1.0])
    names = (
        "exam.score",
        "exam.form",
        "exam.addition-3.score",
        "exam.addition-3.form",
        "code.nats",
    )
    series = dict.fromkeys(names, score)
    assert examined(paired(series, series)) == {"addition-3": 3}


@pytest.mark.parametrize(
    ("name", "low", "high", "units", "said"),
    [
        ("english.nats", 0.1, 0.2, 9, "worse"),
        ("english.nats", -0.2, -0.1, 9, "better"),
        ("exam.score", 0.1, 0.2, 9, "better"),
        ("exam.score", -0.2, -0.1, 9, "worse"),
        ("exam.form", -0.1, 0.2, 9, "no difference seen"),
        ("exam.form", 0.0, 0.2, 9, "no difference seen"),
        ("exam.form", 0.2, 0.2, 1, "one unit, no interval"),
    ],
)
def test_more_nats_are_worse_and_more_score_is_better(
    name: str, low: float, high: float, units: int, said: str
) -> None:
    found = {"estimate": (low + high) / 2, "low": low, "high": high, "units": units}
    assert verdict(name, found) == said


def group(name: str, relative: float | None) -> dict[str, Any]:
    return {"name": name, "relative": relative}


def test_the_summary_is_the_damage_in_a_few_lines() -> None:
    scores = ones(UNITS, [1.0, 1.0, 0.0, 0.0, 0.0]), ones(UNITS, [0.0, 1.0, 1.0, 1.0, 1.0])
    nats = Series(UNITS, [2.0] * 5, [1.0] * 5), Series(UNITS, [2.5] * 5, [1.0] * 5)
    first = {"english.nats": nats[0], "exam.score": scores[0]}
    shared = paired(first, {"english.nats": nats[1], "exam.score": scores[1]})
    layers = [group("layer 0", 0.1), group("layer 1", None), group("final norm", 0.0)]
    lines = summary(
        {
            "before": {"name": "base"},
            "after": {"name": "chat"},
            "differences": differences(shared),
            "flips": flips(shared),
            "divergence": {"prompts.kl": {"estimate": 0.25}, "prompts.agree": {"estimate": 0.9}},
            "weights": {"all": group("all", 0.1234), "layers": layers},
        }
    )
    assert lines[0] == (
        "base -> chat: the weights moved by 12.3 % of their norm, "
        "most in layer 1 (-), least in final norm (0 %)"
    )
    assert lines[1].startswith("text, nats a token: english 2.000 -> 2.500, +0.500")
    assert lines[1].endswith("(worse)")
    assert lines[2].startswith("exam: right answers 0.400 -> 0.800")
    assert (
        lines[3] == "of 5 exam tasks 1 were right and are wrong now, 3 were wrong and are right now"
    )
    assert lines[4] == "KL(base || chat), nats a token: exam prompts 0.250"
    assert len(lines) == 5
