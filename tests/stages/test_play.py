"""Play writes what agents did, and tells the repair from what only looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import Bench, lines, sometimes_right
from support.contained import or_skip

from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.environments.repository import Repository
from ontogeny.evaluate.series import read_series
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.stages.play import Play


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A store; a skip by name where nothing can be contained."""
    world = Repository(workers=1)
    try:
        with or_skip():
            world.judge_all([])
    finally:
        world.release()
    return Bench(tmp_path)


def test_agents_are_played_judged_and_kept(bench: Bench) -> None:
    made, told = bench.play(Play(tasks=2, agents=("gold", "test-editing")))
    assert told.metrics["gold.reward"]["estimate"] == 1.0
    assert told.metrics["gold.verified"]["estimate"] == 1.0
    assert told.metrics["gold.valid"] == 1.0
    assert told.metrics["test-editing.reward"]["estimate"] == 0.0
    assert "gold " in told.summary[0] and "reward 1.00" in told.summary[0]
    rows = lines(made, "trajectories.jsonl")
    assert [row["agent"] for row in rows] == ["gold"] * 2 + ["test-editing"] * 2
    played = [Trajectory.from_json(row["trajectory"]) for row in rows]
    assert told.tokens == sum(len(each.ids()) for each in played)
    assert {each.notes["end"] for each in played} == {"submitted"}
    assert read_series(made)["gold.reward"].units == [each.task for each in played[:2]]


def test_a_model_is_played_within_its_context(bench: Bench) -> None:
    save_model(bench.payload(), sometimes_right(3_000), bench.tokenizer, chats=True)
    model = bench.keep("sft", "model")
    made, told = bench.play(Play(tasks=2, agents=(), turns=2, turn_tokens=8), model)
    assert told.metrics["model.reward"]["estimate"] == 0.0
    for row in lines(made, "trajectories.jsonl"):
        played = Trajectory.from_json(row["trajectory"])
        assert (row["agent"], row["flagged"]) == ("model", False)
        assert 1 <= len(played.turns) <= 2
        assert len(played.ids()) <= 3_000


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"agents": ("golden",)}, "no agent 'golden'"),
        ({"tasks": 0}, "at least 1"),
        ({"temperature": -1.0}, "temperature of 0 or more"),
    ],
)
def test_what_cannot_be_played_is_said_at_once(given: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Play(**given)


def test_play_needs_somebody(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="agents, or a model"):
        Bench(tmp_path).play(Play(tasks=1, agents=()))
