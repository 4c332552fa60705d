"""An effect is what its claim says: the estimate, its null value, its gate."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import publish

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.series import Series, write_series
from ontogeny.run.work import Work
from ontogeny.stages.effect import Effect

CLAIM = Claim("sft.format", "what is measured", "share", "at_least", 0.95)
MEASURED = Claim("sft.format", "what is measured", "share", "at_least", 0.95, null=None)


class Bench:
    """A store to keep measurements in, and a way to play an effect on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.create(root / "life")
        self.count = 0

    def measured(self, **series: list[float]) -> Artifact:
        """A measurement of these scores, one unit each."""
        return self.keep(
            {
                name.replace("_", "."): Series(
                    [f"task/{n}" for n in range(len(values))], values, [1.0] * len(values)
                )
                for name, values in series.items()
            }
        )

    def keep(self, series: Mapping[str, Series]) -> Artifact:
        self.count += 1
        identity = f"{self.count:016x}"
        payload = self.store.work / identity / "payload"
        payload.mkdir(parents=True)
        write_series(payload, series)
        return publish(self.store, payload, "measure", "measurement", f"measure/{self.count}")

    def play(self, stage: Effect, *measurements: Artifact, seed: int = 0) -> dict[str, Any]:
        assert len(stage.takes) == len(measurements)
        assert all("measurement" in kinds.split("|") for kinds in stage.takes)
        work = Work("effect", self.root / "work", seed, Events(), StopRequest())
        made = stage(work, *measurements)
        json.dumps(made.metrics, allow_nan=False)  # a record holds only plain numbers
        found: dict[str, Any] = made.metrics["effect"]
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_effect_carries_its_claim(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="level", series="exam.form", control="arm/x")
    found = bench.play(stage, bench.measured(exam_form=[1.0, 1.0, 0.0, 1.0]))
    assert {name: found[name] for name in ("name", "target", "sense", "unit", "meaning")} == {
        "name": "sft.format",
        "target": 0.95,
        "sense": "at_least",
        "unit": "share",
        "meaning": "what is measured",
    }
    assert (found["control"], found["null"], found["units"]) == ("arm/x", 0.0, 4)
    assert "gate" not in found


def test_a_level_is_the_measurements_own(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="level", series="exam.form")
    found = bench.play(stage, bench.measured(exam_form=[1.0, 1.0, 0.0, 1.0]))
    assert found["estimate"] == 0.75
    assert 0 <= found["low"] < 0.75 < found["high"] <= 1


def test_a_change_is_after_less_before(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="change", series="english.nats")
    before, after = (
        bench.measured(english_nats=values) for values in ([3.0, 5.0, 4.0], [2.0, 4.5, 2.5])
    )
    found = bench.play(stage, before, after)
    assert found["estimate"] == pytest.approx(-1.0)
    assert found["high"] < 0
    assert bench.play(stage, after, before)["estimate"] == pytest.approx(1.0)


def test_wins_are_the_afters_share_of_the_decided(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="wins", series="exam.score")
    before = bench.measured(exam_score=[0.0, 0.0, 1.0, 1.0, 0.0])
    after = bench.measured(exam_score=[1.0, 1.0, 0.0, 1.0, 1.0])
    found = bench.play(stage, before, after)
    assert (found["estimate"], found["units"]) == (0.75, 4)
    assert bench.play(stage, after, before)["estimate"] == 0.25


def test_recovered_is_the_share_of_the_damage_won_back(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="recovered", series="english.nats")
    damaged, repaired, undamaged = (
        bench.measured(english_nats=values) for values in ([3.0, 5.0], [2.5, 4.5], [1.0, 3.0])
    )
    found = bench.play(stage, damaged, repaired, undamaged)
    assert found["estimate"] == pytest.approx(0.25)
    assert (found["low"], found["high"]) == pytest.approx((0.25, 0.25))


def test_the_null_value_may_be_another_series_of_the_first_measurement(bench: Bench) -> None:
    """What xz needs stands beside what the model needs."""
    stage = Effect(
        claim=MEASURED,
        form="level",
        series="english.bits",
        null_from="first",
        null_series="english.xz",
    )
    found = bench.play(stage, bench.measured(english_bits=[1.0, 2.0], english_xz=[2.0, 2.5]))
    assert (found["estimate"], found["null"]) == (1.5, 2.25)


def test_the_null_value_may_be_the_parents_level(bench: Bench) -> None:
    stage = Effect(claim=MEASURED, form="level", series="exam.form", null_from="level")
    after = bench.measured(exam_form=[1.0, 1.0, 1.0, 0.0])
    parent = bench.measured(exam_form=[0.0, 0.0, 1.0, 0.0])
    found = bench.play(stage, after, parent)
    assert (found["estimate"], found["null"]) == (0.75, 0.25)


def test_the_null_value_may_be_the_loss_of_all_that_was_gained(bench: Bench) -> None:
    """A wash that undid SFT would bring its format back to what it was before SFT."""
    stage = Effect(claim=MEASURED, form="change", series="exam.form", null_from="loss")
    sft = bench.measured(exam_form=[1.0, 1.0, 1.0, 1.0])
    washed = bench.measured(exam_form=[1.0, 1.0, 1.0, 0.0])
    before = bench.measured(exam_form=[0.0, 0.0, 1.0, 0.0])
    found = bench.play(stage, sft, washed, before)
    assert (found["estimate"], found["null"]) == (-0.25, -0.75)
    undone = bench.play(stage, sft, before, before)
    assert undone["estimate"] == undone["null"]


def test_a_gate_says_what_another_measurement_reached(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="level", series="exam.score", gate=0.9)
    far, near = bench.measured(exam_score=[1.0, 0.0]), bench.measured(exam_score=[1.0, 1.0])
    found = bench.play(stage, far, near)
    assert (found["estimate"], found["gate"]) == (0.5, {"reached": 1.0, "needed": 0.9})
    assert bench.play(stage, near, far)["gate"]["reached"] == 0.5


def test_a_gate_stands_behind_the_null_value(bench: Bench) -> None:
    stage = Effect(claim=MEASURED, form="level", series="exam.form", null_from="level", gate=0.9)
    after, parent, near = (
        bench.measured(exam_form=values) for values in ([1.0, 1.0], [0.0, 1.0], [1.0, 0.0])
    )
    found = bench.play(stage, after, parent, near)
    assert (found["estimate"], found["null"]) == (1.0, 0.5)
    assert found["gate"] == {"reached": 0.5, "needed": 0.9}


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        ({"form": "level"}, 1),
        ({"form": "change"}, 2),
        ({"form": "wins"}, 2),
        ({"form": "recovered"}, 3),
        ({"form": "recovered", "gate": 0.5}, 4),
    ],
)
def test_a_form_takes_so_many_measurements(options: dict[str, Any], takes: int) -> None:
    assert len(Effect(claim=CLAIM, series="x", **options).takes) == takes


@pytest.mark.parametrize(("null_from", "takes"), [("first", 1), ("level", 2), ("loss", 2)])
def test_a_measured_null_value_may_take_one_more(null_from: Any, takes: int) -> None:
    stage = Effect(claim=MEASURED, form="level", series="x", null_from=null_from)
    assert len(stage.takes) == takes


def test_a_null_value_comes_from_one_place() -> None:
    with pytest.raises(InputError, match="give either a null value or null_from"):
        Effect(claim=MEASURED, form="level", series="x")
    with pytest.raises(InputError, match="give either a null value or null_from"):
        Effect(claim=CLAIM, form="level", series="x", null_from="first")


def test_a_series_that_was_not_measured_is_one_line(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="level", series="exam.form")
    with pytest.raises(InputError, match=r"'measure/1' has no series 'exam.form'; it has a, b"):
        bench.play(stage, bench.measured(a=[1.0], b=[1.0]))


def test_seeds_resample_differently(bench: Bench) -> None:
    stage = Effect(claim=CLAIM, form="level", series="x")
    measured = bench.measured(x=[float(n % 7) + n / 100 for n in range(60)])
    first, again, other = (bench.play(stage, measured, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first["estimate"] == other["estimate"]
    assert first["low"] != other["low"]
