"""A curve is what its artifact told, whatever was killed, resumed or torn in between."""

from pathlib import Path
from typing import Any

import pytest

from ontogeny.report.curves import read_curves

BASE, OTHER = "a" * 16, "b" * 16


def began(stage: str = "base", identity: str = BASE, resumed: bool = False) -> dict[str, Any]:
    return {"event": "began", "stage": stage, "id": identity, "resumed": resumed}


def told(done: float, stage: str = "base", unit: str = "steps", **numbers: Any) -> dict[str, Any]:
    progress = {"event": "progress", "stage": stage, "done": done, "total": 10, "unit": unit}
    return progress | numbers


def published(stage: str = "base", identity: str = BASE) -> dict[str, Any]:
    return {"event": "published", "stage": stage, "id": identity}


def losses(grown: Any, wanted: str = BASE) -> dict[float, float]:
    """Step -> loss of the wanted artifact."""
    curve = read_curves(grown.store.events, {wanted})[wanted].as_dict()
    return dict(zip(curve["at"], curve["values"]["loss"], strict=True))


def test_a_curve_is_what_was_told_between_began_and_published(grown: Any) -> None:
    grown.tell(told(1, loss=9.0), began(), told(1, loss=3.0, lr=0.1), told(2, loss=2.0))
    grown.tell(published(), told(3, loss=9.0))
    curve = read_curves(grown.store.events, {BASE})[BASE].as_dict()
    assert curve == {
        "unit": "steps",
        "total": 10.0,
        "at": [1.0, 2.0],
        "values": {"loss": [3.0, 2.0], "lr": [0.1, None]},
    }


def test_a_resumed_stage_takes_back_what_it_tells_again(grown: Any) -> None:
    grown.tell(began(), *(told(step, loss=float(step)) for step in (1, 2, 3, 4, 5)))
    grown.tell({"event": "run"}, began(resumed=True), told(3, loss=30.0), told(6, loss=60.0))
    grown.tell(published())
    assert losses(grown) == {1: 1, 2: 2, 3: 30, 6: 60}


def test_the_last_value_of_a_step_wins(grown: Any) -> None:
    grown.tell(began(), told(1, loss=1.0), told(2, loss=2.0), told(2, loss=20.0), published())
    assert losses(grown) == {1: 1, 2: 20}


def test_torn_lines_and_what_is_no_number_are_passed_over(grown: Any) -> None:
    grown.tell(began(), told(1, loss=1.0), b'{"event": "progress", "stage": "ba\n', b"\xff\xfe\n")
    grown.tell(b"[1, 2]\n", b"7\n", b"[" * 100_000 + b"\n", told(2, loss=float("nan"), reward=1.0))
    grown.tell(told("3", loss=3.0), told(4, loss="low"), told(5, loss=True), told(6, loss=6.0))  # type: ignore[arg-type]
    grown.tell(b'{"event": "progress", "stage": "base", "done": 7, "loss"')
    curve = read_curves(grown.store.events, {BASE})[BASE].as_dict()
    assert curve["at"] == [1, 2, 6]
    assert curve["values"] == {"loss": [1, None, 6], "reward": [None, 1, None]}


def test_other_artifacts_of_the_same_name_stay_apart(grown: Any) -> None:
    grown.tell(began(identity=OTHER), told(1, loss=5.0), {"event": "run"}, told(2, loss=6.0))
    grown.tell(began(), told(1, loss=1.0), published())
    assert losses(grown) == {1: 1}
    assert losses(grown, OTHER) == {1: 5}
    assert set(read_curves(grown.store.events, {BASE})) == {BASE}


def test_an_artifact_made_again_shows_its_last_making(grown: Any) -> None:
    grown.tell(began(), told(1, loss=1.0), told(2, loss=2.0), published())
    grown.tell(began(), told(2, loss=2.5), published())
    assert losses(grown) == {2: 2.5}


def test_a_later_phase_in_another_unit_is_no_part_of_the_curve(grown: Any) -> None:
    grown.tell(began(), told(1, loss=1.0), told(500, unit="windows", loss=7.0), published())
    assert losses(grown) == {1: 1}


def test_what_told_no_numbers_has_no_curve(grown: Any) -> None:
    grown.tell(began(), told(1), told(2), published())
    assert read_curves(grown.store.events, {BASE}) == {}
    assert read_curves(Path("no such file"), {BASE}) == {}


@pytest.mark.parametrize("kills", [1, 3])
def test_a_killed_and_resumed_run_has_the_curve_of_an_undisturbed_one(
    grown: Any, kills: int
) -> None:
    def at(step: int) -> dict[str, Any]:
        return told(step, loss=10.0 / step)

    grown.tell(began(identity=OTHER), *map(at, range(1, 11)), published(identity=OTHER))
    grown.tell(began())
    for kill in range(1, kills + 1):  # killed two steps behind its checkpoint
        grown.tell(*map(at, range(2 * kill - 1, 2 * kill + 3)), began(resumed=True))
    grown.tell(*map(at, range(2 * kills + 1, 11)), published())
    assert losses(grown) == losses(grown, OTHER)
