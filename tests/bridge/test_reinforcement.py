"""Rollouts of the model in training: as likely to the trainer as to the engine, and repeatable."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from ontogeny.base.errors import InputError
from ontogeny.bridge import rollouts
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Rollouts
from ontogeny.objectives.policy_gradient import GRPO, Normalise, group_advantages
from ontogeny.plan.optimization import OverRollouts
from ontogeny.plan.shape import Shape
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train as train_tokenizer
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD

PLAY = OverRollouts(
    peak_lr=0.01,
    steps=5,
    environments={"vowels-3": 1.0, "copy-3": 0.5},
    prompts=6,
    group=4,
    max_tokens=6,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["How many vowels are in the word? Copy the words. " * 5], 300)


@pytest.fixture
def model(tokenizer: Tokenizer) -> Transformer:
    """Untrained, and fond of saying 3 and of ending its turn: sometimes that is right."""
    made = Transformer(Shape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, 256))
    initialise(made, 2)
    with torch.no_grad():
        made.embedding.mul_(5.0)
        made.embedding[:, 0] = 1.0
        made.embedding[[*tokenizer.encode("3"), tokenizer.end_of_turn], 0] = 3.0
    return made


def steps_of(model: Transformer, tokenizer: Tokenizer, seed: int = 7, **play: Any) -> RolloutSteps:
    return RolloutSteps(model, tokenizer, replace(PLAY, **play), seed)


def batches(steps: RolloutSteps) -> list[Rollouts]:
    return [batch for (batch,) in steps]  # type: ignore[misc]


def tensors(batch: Rollouts) -> list[torch.Tensor]:
    values = (getattr(batch, name) for name in batch.__dataclass_fields__)
    values = [value for value in values if isinstance(value, torch.Tensor)]
    return [getattr(batch, name) for name in ("tokens_BT", "targets_BT", "weights_BT")] + values


def same(one: Rollouts, two: Rollouts) -> bool:
    """Bit by bit."""
    pairs = zip(tensors(one), tensors(two), strict=True)
    return one.documents == two.documents and all(torch.equal(a, b) for a, b in pairs)


def learn(model: Transformer, steps: RolloutSteps, objective: GRPO | None = None) -> list[Report]:
    reports: list[Report] = []
    optimizer = Optimizer(model, OptimizerSettings(peak_lr=PLAY.peak_lr), WSD(100))
    train(model, objective or GRPO(), steps, optimizer, [reports.append])
    return reports


def gap(model: Transformer, batch: Rollouts) -> torch.Tensor:
    """How far each sampled token's log-prob is from the trainer's."""
    with torch.no_grad():
        log_probs_BT = model(batch, GRPO().needs).log_probs_BT
    assert log_probs_BT is not None
    return (log_probs_BT - batch.sampled_BT)[batch.weights_BT > 0].abs()


@pytest.mark.parity
def test_the_engines_log_probs_are_the_trainers(model: Transformer, tokenizer: Tokenizer) -> None:
    """Before any update, and again after some: the engine reads the weights of now."""
    for _ in range(2):
        for batch in batches(steps_of(model, tokenizer, steps=3)):
            gaps = gap(model, batch)
            assert len(gaps) >= 24
            assert float(batch.sampled_BT.min()) < -1
            assert float(gaps.mean()) < 1e-5
            assert float(gaps.max()) < 1e-4
        learn(model, steps_of(model, tokenizer, steps=3))


def test_the_ratio_is_1_at_every_update(model: Transformer, tokenizer: Tokenizer) -> None:
    """One update a rollout: what is sampled is learnt by the same weights."""
    reports = learn(model, steps_of(model, tokenizer, environments={"vowels-3": 1.0}, group=12))
    assert len(reports) == PLAY.steps
    for report in reports:
        assert report.metrics["drift"] < 1e-5
        assert report.metrics["clipped"] == 0.0
    assert sum(report.gradient_norm > 0 for report in reports) >= 4


def test_what_earns_reward_becomes_likelier(model: Transformer, tokenizer: Tokenizer) -> None:
    play = {"environments": {"vowels-3": 1.0}, "prompts": 8, "group": 8, "steps": 12}
    reports = learn(model, steps_of(model, tokenizer, **play))
    rewards = [report.metrics["reward"] for report in reports]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.1


@pytest.mark.parametrize("normalise", ["token", "answer", "constant"])
def test_micro_batches_of_answers_change_nothing_but_rounding(
    model: Transformer, tokenizer: Tokenizer, normalise: Normalise
) -> None:
    """Advantages and counts are those of the whole step; a group may be divided."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    objective = GRPO(normalise=normalise, max_tokens=6)
    play = {"environments": {"vowels-3": 1.0}, "group": 12, "steps": 1}
    found = []
    for micro_rows in (32, 1):
        model.load_state_dict(start)
        steps = steps_of(model, tokenizer, micro_rows=micro_rows, **play)
        (report,) = learn(model, steps, objective)
        found.append((report, [value.clone() for value in model.parameters()]))
    (whole, after), (parts, again) = found
    assert len(whole.names) == 1
    assert len(parts.names) >= 4
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
    assert parts.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)
    assert parts.metrics == pytest.approx(whole.metrics, rel=1e-4, abs=1e-5)
    assert parts.counts == whole.counts
    for first, second in zip(after, again, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_a_stage_knows_how_much_it_will_hold(model: Transformer, tokenizer: Tokenizer) -> None:
    steps = steps_of(model, tokenizer)
    load = steps.load()
    assert load.sampling == PLAY.prompts * PLAY.group
    assert load.cached % load.sampling == 0
    for batch in batches(steps):
        rows, width = batch.tokens_BT.shape
        assert width == load.width
        assert load.rows - 2 <= rows <= load.rows


def test_answers_beyond_the_slots_wait(
    model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps_of(model, tokenizer).rollout(1)
    monkeypatch.setattr(rollouts, "SLOTS", 8)
    waves = steps_of(model, tokenizer).rollout(1)
    assert [each.task for each in waves] == [each.task for each in whole]
    said = [
        [each.trajectory.turns[0].completion.ids for each in answers] for answers in (whole, waves)
    ]
    # a row's logits differ in the last bits with the company it keeps
    assert sum(a == b for a, b in zip(*said, strict=True)) >= 0.9 * len(whole)


def test_a_rollout_is_repeatable_and_depends_on_step_seed_and_weights(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    first = steps_of(model, tokenizer).rollout(2)
    assert steps_of(model, tokenizer).rollout(2) == first
    assert steps_of(model, tokenizer).rollout(3) != first
    assert steps_of(model, tokenizer, seed=8).rollout(2) != first
    with torch.no_grad():
        model.norm.weight.mul_(0.8)
    other = steps_of(model, tokenizer).rollout(2)
    assert [each.task for each in other] == [each.task for each in first]
    assert other != first


def test_restoring_plays_the_same_next_step(model: Transformer, tokenizer: Tokenizer) -> None:
    source, other = steps_of(model, tokenizer), steps_of(model, tokenizer)
    next(source)
    next(source)
    other.restore(source.state())
    rest, again = batches(source), batches(other)
    assert len(rest) == len(again) == PLAY.steps - 2
    assert all(same(a, b) for a, b in zip(rest, again, strict=True))
    assert not same(rest[0], rest[1])


def test_longer_prompts_of_an_earlier_step_leave_no_trace(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    """A killed run goes on with a smaller engine than the one it had; no bit may differ."""
    play = {"environments": {"vowels-3": 1.0, "needle-4": 1.0}, "prompts": 1, "steps": 12}
    source = steps_of(model, tokenizer, **play)
    whole = batches(source)
    rooms = []
    for taken in range(12):
        alone = steps_of(model, tokenizer, **play)
        alone.restore({"taken": taken})
        (batch,) = next(alone)
        assert alone.player._policy is not None
        rooms.append(alone.player._policy.engine.length)
        assert same(batch, whole[taken])  # type: ignore[arg-type]
    assert any(before > after for before, after in pairwise(rooms))


def test_answers_to_one_prompt_stand_side_by_side(model: Transformer, tokenizer: Tokenizer) -> None:
    steps = steps_of(model, tokenizer)
    answered = steps.rollout(0)
    (batch,) = batches(steps_of(model, tokenizer, steps=1))
    assert batch.answers == len(answered) == PLAY.prompts * PLAY.group
    assert batch.reward_S.tolist() == [each.score for each in answered]
    for first in range(0, len(answered), PLAY.group):
        group = answered[first : first + PLAY.group]
        assert len({each.task.id for each in group}) == 1
        assert len({each.trajectory.turns[0].completion.ids for each in group}) > 1
    expected = group_advantages(batch.reward_S.view(PLAY.prompts, PLAY.group)).flatten()
    assert torch.equal(batch.advantage_S, expected)
    inside = batch.weights_BT > 0
    said = [id_ for each in answered for id_ in each.trajectory.turns[0].completion.ids]
    assert batch.targets_BT[inside].tolist() == said


def test_the_placebo_deals_the_same_rewards_to_other_answers(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    """Among the answers to each prompt, so that as many groups teach something as without it."""
    play = {"environments": {"vowels-3": 1.0}, "prompts": 4, "group": 16}
    true = batches(steps_of(model, tokenizer, **play))
    dealt = batches(steps_of(model, tokenizer, shuffled=True, **play))
    moved = 0
    for one, two in zip(true, dealt, strict=True):
        assert torch.equal(one.tokens_BT, two.tokens_BT)
        assert torch.equal(one.reward_S, two.reward_S)
        before, after = (each.advantage_S.view(4, 16) for each in (one, two))
        torch.testing.assert_close(after.sort(1).values, before.sort(1).values)
        moved += int((before != after).any(1).sum())
    assert moved >= 5
    again = batches(steps_of(model, tokenizer, shuffled=True, **play))
    assert all(same(a, b) for a, b in zip(dealt, again, strict=True))


def test_the_placebo_forgets_which_answers_were_right(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    """Credit falls on a right answer as often as on any other."""
    play = {"environments": {"vowels-3": 1.0}, "prompts": 6, "group": 32, "baseline": "mean"}
    true = batches(steps_of(model, tokenizer, **play))
    dealt = batches(steps_of(model, tokenizer, shuffled=True, **play))
    right = torch.cat([batch.reward_S for batch in true])
    credit = torch.cat([batch.advantage_S for batch in dealt]) > 0
    assert float(right.sum()) >= 30
    assert int(credit.sum()) == int(right.sum())
    assert float(right[credit].mean()) < 0.5


def test_the_reference_is_frozen_and_its_log_probs_are_its_own(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    reference = Transformer(model.shape)
    reference.load_state_dict(model.state_dict())
    before = {name: value.clone() for name, value in reference.state_dict().items()}
    steps = RolloutSteps(model, tokenizer, replace(PLAY, beta=0.5), 7, reference.eval())
    (first,) = batches(RolloutSteps(model, tokenizer, replace(PLAY, steps=1), 7, reference))
    assert first.reference_BT is not None
    torch.testing.assert_close(first.reference_BT, first.sampled_BT, rtol=0, atol=1e-4)
    reports = learn(model, steps, GRPO(beta=0.5))
    assert reports[0].terms["kl"] < 1e-8
    assert reports[-1].terms["kl"] > 1e-6
    assert all(torch.equal(value, before[name]) for name, value in reference.state_dict().items())
    assert steps_of(model, tokenizer).reference is None
    assert batches(steps_of(model, tokenizer, steps=1))[0].reference_BT is None


def test_a_task_that_exceeds_the_context_is_one_line(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    steps = steps_of(model, tokenizer, environments={"needle-20": 1.0})
    with pytest.raises(InputError, match=r"a task takes \d+ tokens with its answer") as caught:
        next(steps)
    assert "context is 256; lower max_tokens" in str(caught.value)
