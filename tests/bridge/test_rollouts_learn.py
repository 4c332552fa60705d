"""A tiny model that can call two tools learns in which order to call them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.conversing import fond, learn

from ontogeny.bridge.packing import Told, pack
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.environments.desk import Desk
from ontogeny.environments.environment import Task, take, task_id
from ontogeny.environments.playing import play_all
from ontogeny.environments.scripts import Line, scripted
from ontogeny.environments.session import Base, Call, Operation, Run, operations
from ontogeny.environments.tooled import Rules
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.policy_gradient import GRPO
from ontogeny.plan.optimization import OverRollouts, Turns
from ontogeny.rollout.tools import Tool
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import speech
from ontogeny.text.train_tokenizer import train as train_tokenizer
from ontogeny.train.steps import ListSteps

CALLS = ("open", "take")
PLAY = OverRollouts(
    peak_lr=0.005,
    embedding_lr=1.0,
    steps=14,
    environments={"chest": 1.0},
    prompts=2,
    group=16,
    max_tokens=16,
    turns=Turns(most=2, context=128),
)


def doing(name: str) -> Run:
    def run(base: Base, given: Any) -> str:
        del given
        base["done"].append(name)
        return "done"

    return run


def draw(split: str, count: int, seed: int) -> list[Task]:
    """Chests that are told apart by their numbers alone, the same ones for every seed."""
    del seed
    gold = [{"name": name, "arguments": {}} for name in CALLS]
    tasks = (
        (f"{n}", Task(task_id("chest", f"{n}"), f"Chest {n}.", "", "chest", {"gold": gold}))
        for n in itertools.count()
    )
    return take(tasks, "chest", split, count)


CHEST = Desk(
    name="chest",
    known=operations(*(Operation(Tool(n, "", {}, changes=True), doing(n)) for n in CALLS)),
    told=lambda _: "Go.",
    draw=draw,
    base=lambda _: {"done": []},
    says=lambda *_: True,
    excess=lambda _: Call("open", {}),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(['{"name": "open", "arguments": {}}{"name": "take"}' * 20], 330)


@pytest.fixture(scope="module")
def taught(tokenizer: Tokenizer) -> Transformer:
    """Calls one of the tools in each turn, any of them."""
    tasks, spoken = CHEST.tasks("train", 4, 0), speech(tokenizer)
    rules = Rules(turns=2, tokens=PLAY.max_tokens)
    told: list[Told] = []
    for pair in itertools.product(CALLS, repeat=2):
        agent = scripted(lambda _, pair=pair: lines(pair), CHEST, tasks, spoken, rules)  # type: ignore[misc]
        for each in play_all(agent, CHEST, tasks, spoken, rules):
            assert each.score == float(pair == CALLS)
            told.append(Told(each.trajectory.ids(), each.trajectory.sampled()))
    packed = pack(told, 256, tokenizer.pad)
    rows = Batch(packed.tokens_BT, packed.targets_BT, packed.weights_BT, packed.documents)
    model = fond(tokenizer, (), strength=1.0)
    with torch.no_grad():
        model.embedding.div_(5.0)
    learn(model, ListSteps([[rows]] * 32), NextToken())
    return model


def lines(names: Sequence[str]) -> list[Line]:
    return [Call(name, {}) for name in names]


def rewards(taught: Transformer, tokenizer: Tokenizer, *, shuffled: bool) -> list[float]:
    model = Transformer(taught.shape)
    model.load_state_dict(taught.state_dict())
    play = replace(PLAY, shuffled=shuffled)
    steps = RolloutSteps(model, tokenizer, play, 7, None, {"chest": CHEST})
    reports = learn(model, steps, GRPO(), PLAY.peak_lr, PLAY.embedding_lr)
    found = [each.metrics["reward"] for each in reports]
    for row, mean in zip(steps.rows, found, strict=True):
        assert sum(row["rewards"]) / len(row["rewards"]) == pytest.approx(mean)
    return found


def test_calls_of_two_turns_are_learnt_and_the_placebo_learns_nothing(
    taught: Transformer, tokenizer: Tokenizer
) -> None:
    """One order of four earns the reward, which is told at the end alone."""
    true, dealt = (rewards(taught, tokenizer, shuffled=each) for each in (False, True))
    assert 0.05 < sum(true[:3]) / 3 < 0.4
    assert sum(true[-4:]) / 4 > 0.6
    assert true[0] == dealt[0]
    assert sum(dealt[-4:]) / 4 < 0.3
