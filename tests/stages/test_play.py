"""Play writes what players did, and tells solving from calling, and a repair from a hack."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import Bench, lines, sometimes_right
from support.contained import or_skip

from ontogeny.base.config import identity_dict
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.environments.environment import SPLITS
from ontogeny.environments.errands import desk
from ontogeny.environments.lessons import read_lessons, read_players
from ontogeny.environments.repository import Repository
from ontogeny.evaluate.series import read_series
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.stages.play import Play


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A store with a small tokenizer."""
    return Bench(tmp_path)


@pytest.fixture
def contained(bench: Bench) -> Bench:
    """The same; a skip by name where nothing can be contained."""
    world = Repository(workers=1)
    try:
        with or_skip():
            world.judge_all([])
    finally:
        world.release()
    return bench


def test_agents_are_played_judged_and_kept(contained: Bench) -> None:
    agents = ("gold", "reading", "test-editing")
    made, told = contained.play(Play(environments={"repair": 2}, agents=agents))
    for name, reward in (("gold", 1.0), ("reading", 1.0), ("test-editing", 0.0)):
        levels = (told.metrics[f"{name}.{each}"]["estimate"] for each in ("reward", "verified"))
        assert (*levels, told.metrics[f"{name}.valid"]["estimate"]) == (reward, reward, 1.0)
    assert "gold " in told.summary[0] and "reward 1.00" in told.summary[0]
    rows = lines(made, "trajectories.jsonl")
    assert [row["agent"] for row in rows] == [name for name in agents for _ in range(2)]
    played = [Trajectory.from_json(row["trajectory"]) for row in rows]
    assert told.tokens == sum(len(each.ids()) for each in played)
    assert {each.notes["end"] for each in played} == {"submitted"}
    assert read_series(made)["gold.reward"].units == [each.task for each in played[:2]]
    looked = [each["name"] for each in played[2].notes["calls"]]
    assert (looked[0], looked[-3:]) == ("search", ["rewrite", "run", "submit"])


def test_a_model_is_played_within_its_context(contained: Bench) -> None:
    bench = contained
    save_model(bench.payload(), sometimes_right(3_000), bench.tokenizer, chats=True)
    model = bench.keep("sft", "model")
    stage = Play(environments={"repair": 2}, agents=(), turns=2, turn_tokens=8)
    made, told = bench.play(stage, model)
    assert told.metrics["model.reward"]["estimate"] == 0.0
    for row in lines(made, "trajectories.jsonl"):
        played = Trajectory.from_json(row["trajectory"])
        assert (row["agent"], row["flagged"]) == ("model", False)
        assert 1 <= len(played.turns) <= 2
        assert len(played.ids()) <= 3_000


def test_environments_with_and_without_tools_are_played_by_name(bench: Bench) -> None:
    made, told = bench.play(Play(environments={"library-1": 3, "addition-2": 2}, split="train"))
    assert told.metrics["gold.solved"] == {
        **told.metrics["gold.solved"],
        "estimate": 1.0,
        "units": 5,
    }
    assert told.metrics["nothing.solved"]["estimate"] == 0.0
    # of five episodes two have no tools and none to call
    assert told.metrics["gold.valid"]["units"] == 3
    assert "nothing.valid" not in told.metrics
    assert told.metrics["gold.end.answered"] == 3.0
    players = read_players(made)
    assert (players.split, set(players.voices)) == ("train", {"gold", "nothing"})
    assert players.tools["addition-2"] == []
    assert players.tools["library-1"] == [tool.told() for tool in desk(1).tools]
    gold = [each for each in read_lessons(made) if each.agent == "gold"]
    assert [each.messages[0].role for each in gold] == ["user"] * 2 + ["system"] * 3
    assert gold[0].messages[-1].content.isdigit()


def test_valid_calls_and_solved_tasks_are_told_apart(bench: Bench) -> None:
    """Doing nothing says words that are no call: neither rate is taken for the other."""
    _, told = bench.play(Play(environments={"library-1": 4}, agents=("gold", "nothing")))
    assert told.metrics["nothing.attempts"] == 0.0
    assert told.metrics["nothing.valid_share"]["estimate"] == 0.0
    low = told.metrics["gold.valid"]["low"]
    assert 0.3 < low < 1.0, "four episodes that all went well are no certainty"


def test_the_content_of_a_directory_is_identity_and_its_place_is_not(tmp_path: Path) -> None:
    stages = []
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "db.json").write_text(text)
        directories = {"retail": str(tmp_path / name)}
        stages.append(Play(environments={"retail": 1}, directories=directories))
    first, moved, changed = ({**identity_dict(each), **each.identity()} for each in stages)
    assert first == moved
    assert first != changed


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "needs environments"),
        ({"environments": {"libraries": 1}}, "no environment 'libraries'.*library-1"),
        ({"environments": {"repair": 0}}, "at least 1"),
        ({"environments": {"repair": 1}, "temperature": -1.0}, "of 0 or more"),
    ],
)
def test_what_cannot_be_played_is_said_at_once(given: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Play(**given)


def test_who_cannot_play_is_named(bench: Bench) -> None:
    with pytest.raises(InputError, match="agents, a model"):
        bench.play(Play(environments={"library-1": 1}, agents=()))
    with pytest.raises(InputError, match="'forging' plays library-1; there are gold, nothing"):
        bench.play(Play(environments={"library-1": 1}, agents=("forging",)))
    with pytest.raises(InputError, match=r"directories\.retail"):
        bench.play(Play(environments={"retail": 1}))


def test_splits_of_the_repositories_share_no_function() -> None:
    faults = Repository(workers=1).faults
    sides = {split: {each.key for each in faults if each.split == split} for split in SPLITS}
    assert all(sides.values())
    assert sum(map(len, sides.values())) == len(set.union(*sides.values()))
