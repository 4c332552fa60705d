"""An alarm keeps quiet as long as it says while nothing changes, and finds what changes."""

from __future__ import annotations

import numpy as np
import pytest

from ontogeny.base.errors import InputError
from ontogeny.evaluate.alarm import Alarm, Reference, reference


def until(alarm: Alarm, source: np.random.Generator, mean: float, most: int) -> int:
    """Observations until the first alarm; `most` + 1 without one."""
    for number, value in enumerate(source.random(most) < mean):
        if alarm.see("signal", float(value)):
            return number + 1
    return most + 1


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.9])
def test_a_false_alarm_comes_no_sooner_than_stated(mean: float) -> None:
    """The very worst reference: no room at all, so that every bet is fair."""
    source, run = np.random.default_rng(1), 50
    fair = {"signal": Reference(mean, mean, mean, 10**6)}
    times = [
        until(Alarm(("signal",), run_length=run, references=fair), source, mean, 40 * run)
        for _ in range(100)
    ]
    assert float(np.mean(times)) >= run  # a time that was cut off counts as too short a one


def test_a_reference_of_its_own_hardly_ever_alarms() -> None:
    source, false = np.random.default_rng(2), 0
    for _ in range(40):
        alarm = Alarm(("signal",), run_length=1000)
        false += until(alarm, source, 0.3, 1200) <= 1200
    assert false <= 4


@pytest.mark.parametrize(("before", "after"), [(0.02, 0.22), (0.5, 0.9), (0.9, 0.5), (0.3, 0.7)])
def test_a_change_is_found_soon(before: float, after: float) -> None:
    source = np.random.default_rng(3)
    for _ in range(5):
        alarm = Alarm(("signal",))
        assert until(alarm, source, before, 200) > 200
        assert until(alarm, source, after, 400) <= 300
        (told,) = alarm.alarms.values()
        assert told.way == ("rose" if after > before else "fell")
        assert told.mean > told.reference.high or told.mean < told.reference.low
        assert told.since <= told.at


def test_a_change_after_a_long_quiet_time_is_found_as_soon() -> None:
    """New bets begin with every observation: nothing lost in quiet times has to be won back."""
    source = np.random.default_rng(4)
    late = Alarm(("signal",), references={"signal": Reference(0.1, 0.06, 0.16, 200)})
    assert until(late, source, 0.1, 5000) > 5000
    assert until(late, source, 0.5, 200) <= 100
    (told,) = late.alarms.values()
    assert told.since <= 100
    assert "signal rose" in told.line()
    assert "reference 0.100 [0.060, 0.160] of 200" in told.line()


def test_an_alarm_stands_and_is_told_once() -> None:
    alarm = Alarm(("signal",), references={"signal": Reference(0.1, 0.05, 0.15, 100)})
    told = [each for _ in range(200) for each in alarm.see("signal", 1.0)]
    assert len(told) == 1
    assert list(alarm.alarms) == [("signal", "rose")]


def test_signals_share_the_rate() -> None:
    one, four = Alarm(("a",)), Alarm(("a", "b", "c", "d"))
    assert four.threshold == 4 * one.threshold


def test_one_person_is_a_tenth_of_what_is_seen_at_most() -> None:
    """Ten thousand bad ratings of one user among a few good ones of many."""
    known = {"score": Reference(0.8, 0.7, 0.9, 200)}
    alarm = Alarm(("score",), references=known)
    for number in range(5000):
        alarm.see("score", 1.0 if number % 10 else 0.0, f"user {number % 25}")  # 0.9 of them
        for _ in range(10):
            alarm.see("score", 0.0, "hostile")
    assert 5000 < alarm.seen["score"] < 5600
    assert not alarm.alarms
    nobody = Alarm(("score",), references=known)
    for _ in range(200):
        nobody.see("score", 0.0)
    assert nobody.alarms


def test_a_single_user_is_watched_all_the_same() -> None:
    alarm = Alarm(("x",), references={"x": Reference(0.1, 0.05, 0.2, 100)})
    assert any(alarm.see("x", 1.0, "only") for _ in range(50))


def test_a_reference_leaves_room_for_what_a_few_observations_cannot_know() -> None:
    found = reference([0.0] * 50, "x")
    assert (found.mean, found.low) == (0.0, 0.0)
    assert 0.05 < found.high < 0.2
    wider = reference([0.0] * 50, "x", 0.1)
    assert wider.high == pytest.approx(found.high + 0.1)


def test_what_can_go_no_further_is_watched_in_the_other_direction_alone() -> None:
    alarm = Alarm(("x",), references={"x": Reference(1.0, 0.9, 1.0, 50)})
    for _ in range(300):
        assert not alarm.see("x", 1.0)
    assert any(alarm.see("x", 0.0) for _ in range(50))
    assert list(alarm.alarms) == [("x", "fell")]


@pytest.mark.parametrize(
    ("name", "value"), [("y", 0.5), ("x", 1.5), ("x", -0.1), ("x", float("nan"))]
)
def test_an_observation_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match="no signal"):
        Alarm(("x",)).see(name, value)


@pytest.mark.parametrize(
    ("signals", "run", "first"), [((), 100.0, 200), (("x",), 0.5, 200), (("x",), 100.0, 5)]
)
def test_an_alarm_over_nothing_is_refused(signals: tuple[str, ...], run: float, first: int) -> None:
    with pytest.raises(InputError, match="an alarm needs signals"):
        Alarm(signals, run_length=run, first=first)


def test_a_reference_stands_in_order() -> None:
    with pytest.raises(InputError, match="low below high"):
        Reference(0.5, 0.6, 0.7, 10)
