"""Solving, calling and a second verdict are counted apart, over episodes."""

from __future__ import annotations

from typing import Any

import pytest

from ontogeny.environments.environment import Judged, Task
from ontogeny.environments.episodes import Episode
from ontogeny.evaluate.turnout import Turnout
from ontogeny.rollout.trajectory import Trajectory


def episode(name: str, score: float, verified: float | None = None, **notes: Any) -> Episode:
    """An episode with nothing said in it."""
    told = {} if verified is None else {"verified": verified}
    task = Task(name, "", "", "", {})
    tooled = {"end": "answered", "gated": 0, "broken": 0, "turns": 2, **notes} if notes else {}
    return Episode(task, Trajectory(name, 0, (), tooled), Judged(score, True, told), (), "")


def test_valid_calls_are_counted_over_calls_and_solved_tasks_over_episodes() -> None:
    found = Turnout(
        "m",
        [
            episode("a", 1.0, attempts=4, valid=4),
            episode("b", 0.5, attempts=6, valid=1),
            episode("c", 0.0, attempts=0, valid=0, end="loop"),
        ],
        2.0,
    )
    metrics = found.metrics(0)
    assert metrics["m.reward"]["estimate"] == 0.5
    assert metrics["m.solved"]["estimate"] == pytest.approx(1 / 3)
    assert metrics["m.valid"]["estimate"] == 0.5
    assert metrics["m.valid"]["units"] == 2
    assert metrics["m.valid_share"]["estimate"] == pytest.approx((1 + 1 / 6) / 3)
    assert (metrics["m.end.answered"], metrics["m.end.loop"], metrics["m.attempts"]) == (2, 1, 10)
    assert "m.verified" not in metrics
    assert "3 episodes, 10 calls, ended: answered 2, loop 1" in found.line(0)
    assert found.speed() == "m: 1.50 episodes/s"


def test_a_reward_above_the_second_verdict_is_flagged() -> None:
    found = Turnout("m", [episode("a", 1.0, 1.0), episode("b", 1.0, 0.0)], 1.0).metrics(0)
    assert (found["m.verified"]["estimate"], found["m.flagged"]["estimate"]) == (0.5, 0.5)


def test_calls_that_were_all_valid_are_no_certainty() -> None:
    """Forty calls in four episodes are four things that are independent of one another."""
    four = [episode(str(n), 1.0, attempts=10, valid=10) for n in range(4)]
    level = Turnout("m", four, 1.0).metrics(0)["m.valid"]
    assert (level["estimate"], level["high"], level["units"]) == (1.0, 1.0, 4)
    assert 0.4 < level["low"] < 0.6


def test_a_task_that_comes_again_is_another_unit() -> None:
    twice = Turnout("m", [episode("a", 1.0), episode("a", 0.0)], 1.0)
    assert twice.series["m.reward"].units == ["a", "a#2"]
