"""Standings put the arms side by side; a reward and the verifier judge the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, sometimes_right

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import load_model, save_model
from ontogeny.bridge.reward_model import save_reward
from ontogeny.evaluate.series import read_series
from ontogeny.stages.drift import Drift
from ontogeny.stages.measure_rewards import MeasureRewards, ranked
from ontogeny.stages.standings import Standings

ASKED: dict[str, Any] = {"environments": {"vowels-3": 12}, "max_tokens": 4}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def parent(bench: Bench) -> Artifact:
    save_model(bench.payload(), sometimes_right(128), bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def judge(bench: Bench, model: Artifact, offset: float = 0.5) -> Artifact:
    """Finds everything worth `offset`."""
    made, _ = load_model(model)
    made.add_score()
    save_reward(bench.payload(), made, model, offset)
    return bench.keep("reward_model", "reward_model")


def pairs(bench: Bench) -> Artifact:
    (bench.payload() / "pairs.jsonl").write_text("")
    return bench.keep("pairs", "pairs")


def test_ranked_counts_pairs_of_a_right_and_a_wrong_answer() -> None:
    assert ranked([1.0, 0.0], [2.0, 1.0]) == 1.0
    assert ranked([1.0, 0.0], [1.0, 2.0]) == 0.0
    assert ranked([1.0, 0.0], [1.0, 1.0]) == 0.5
    assert ranked([1.0, 1.0], [1.0, 2.0]) == 0.5
    assert ranked([1.0, 1.0, 0.0, 0.0], [3.0, 1.0, 2.0, 0.0]) == 0.75


def test_the_same_answers_are_judged_twice(bench: Bench) -> None:
    model = parent(bench)
    made, said = bench.play(MeasureRewards(**ASKED), model, judge(bench, model))
    series = read_series(made)
    assert series["answers.reward"].values == [0.5] * 12
    assert set(series["answers.score"].values) <= {0.0, 1.0}
    assert said.metrics["ranked"] == 0.5
    assert said.metrics["answers.score"]["low"] < said.metrics["answers.score"]["high"]
    rows = [json.loads(line) for line in (made.path / "answers.jsonl").read_text().splitlines()]
    assert [row["score"] for row in rows] == series["answers.score"].values


def test_a_reward_is_no_share(bench: Bench) -> None:
    """That all are worth exactly 1, or 0, does not make them successes of a draw."""
    model = parent(bench)
    for worth in (0.0, 1.0):
        _, said = bench.play(MeasureRewards(**ASKED), model, judge(bench, model, worth))
        assert set(said.metrics["answers.reward"].values()) == {worth}


def test_standings_have_a_line_an_arm(bench: Bench) -> None:
    model = parent(bench)
    reward = judge(bench, model)
    judged, _ = bench.play(MeasureRewards(**ASKED), model, reward)
    drift, _ = bench.play(Drift(**ASKED), model, model)
    arms = (model, model, judged, drift, judged, drift, pairs(bench), reward)
    made, said = bench.play(Standings(arms=("a", "b")), *arms)
    assert len(said.summary) == 3
    assert said.summary[1].split()[1:] == said.summary[2].split()[1:]
    assert read_series(made)["a.score"] == read_series(judged)["answers.score"]
    assert said.metrics["b.kl"]["estimate"] == pytest.approx(0, abs=1e-4)
    swapped = (model, drift, judged, pairs(bench), reward)
    with pytest.raises(InputError, match=r"has no series 'answers\.score'; give each arm's"):
        bench.play(Standings(arms=("a",)), *swapped)
    with pytest.raises(InputError, match="one model and two measurements"):
        bench.play(Standings(arms=("a", "b", "c")), *arms)
