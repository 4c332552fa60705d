"""GRPO and its relatives equal the papers' formulas, written out plainly in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given as draws
from hypothesis import strategies as st

from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Rollouts
from ontogeny.objectives.loss import Outputs
from ontogeny.objectives.policy_gradient import GRPO, group_advantages
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
WIDTH = 12
PROMPT = 3
MOST = 9


def batch(seed: int, answers: int = 8, dtype: torch.dtype = torch.float64) -> Rollouts:
    """A row an answer: `PROMPT` tokens read, then 1 to `MOST` said, then padding."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SHAPE.vocab_size, (answers, WIDTH + 1), generator=draw)
    lengths = torch.randint(1, MOST + 1, (answers, 1), generator=draw)
    place = torch.arange(WIDTH)
    inside = (place >= PROMPT) & (place < PROMPT + lengths)
    number = torch.arange(answers)[:, None].expand(-1, WIDTH)
    random = [torch.rand(inside.shape, generator=draw, dtype=dtype) for _ in range(2)]
    reward = torch.randint(0, 5, (answers,), generator=draw).to(dtype) / 4
    return Rollouts(
        tokens[:, :-1].contiguous(),
        tokens[:, 1:].contiguous(),
        inside.float(),
        answer_BT=torch.where(inside, number, 0),
        answers=answers,
        advantage_S=torch.randn(answers, generator=draw, dtype=dtype),
        reward_S=reward,
        sampled_BT=-3 * random[0] * inside,
        reference_BT=-3 * random[1] * inside,
    )


def moved(given: Rollouts, seed: int, distance: float = 0.3) -> torch.Tensor:
    """Log-probs that left the sampled ones by about `distance`, both ways."""
    draw = torch.Generator().manual_seed(seed)
    step = torch.randn(given.sampled_BT.shape, generator=draw, dtype=torch.float64)
    return (given.sampled_BT + distance * step * given.weights_BT).requires_grad_()


def outputs(values: torch.Tensor) -> Outputs:
    return Outputs(log_probs_BT=values, entropy_BT=torch.full_like(values, 0.5).detach())


def loss_and_gradient(
    objective: GRPO, given: Rollouts, values: torch.Tensor
) -> tuple[float, dict[str, float], Any]:
    """The loss as the loop divides it, its terms, and its gradient."""
    loss = objective(outputs(values), given)
    counts = objective.counts(given)
    terms = {name: term.sum / counts[name] for name, term in loss.terms.items()}
    total = torch.stack([loss.terms[name].weight * value for name, value in terms.items()]).sum()
    total.backward()
    assert values.grad is not None
    plain_terms = {name: float(value.detach()) for name, value in terms.items()}
    return float(total.detach()), plain_terms, values.grad.numpy()


def plain(objective: GRPO, given: Rollouts, values: torch.Tensor) -> tuple[float, Any]:
    """Loss and gradient token by token, from the papers; no autograd, no torch functions."""
    assert given.reference_BT is not None
    new, old = values.detach().numpy(), given.sampled_BT.numpy()
    reference, inside = given.reference_BT.numpy(), given.weights_BT.numpy() > 0
    gradient, total = np.zeros_like(new), 0.0
    tokens = int(inside.sum())
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    for row in range(given.answers):
        length = int(inside[row].sum())
        share = {
            "answer": 1 / (length * given.answers),
            "token": 1 / tokens,
            "constant": 1 / (objective.max_tokens * given.answers),
        }[objective.normalise]
        advantage = float(given.advantage_S[row])
        for place in np.flatnonzero(inside[row]):
            rho = math.exp(new[row, place] - old[row, place])
            held = min(max(rho, low), high)
            total -= share * min(rho * advantage, held * advantage)
            if rho <= high if advantage > 0 else rho >= low:
                gradient[row, place] -= share * rho * advantage
            q = reference[row, place] - new[row, place]
            total += objective.beta * share * (math.exp(q) - q - 1)
            gradient[row, place] += objective.beta * share * (1 - math.exp(q))
    return total, gradient


OBJECTIVES = {
    "grpo": GRPO(),
    "grpo with kl": GRPO(beta=0.04),
    "dapo": GRPO(normalise="token", clip_low=0.1, clip_high=0.28),
    "dapo with kl": GRPO(normalise="token", clip_high=0.28, beta=0.5),
    "dr grpo": GRPO(normalise="constant", max_tokens=MOST),
    "dr grpo with kl": GRPO(normalise="constant", max_tokens=MOST, beta=0.1),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradient_equal_the_formula(name: str) -> None:
    """A token's share of its answer is float32 like all weights, hence not to the last digit."""
    for seed in range(5):
        given = batch(seed)
        values = moved(given, seed + 100)
        expected, slope = plain(OBJECTIVES[name], given, values)
        found, _, gradient = loss_and_gradient(OBJECTIVES[name], given, values)
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-8)
        np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize(
    ("advantage", "ratio", "flows"),
    [
        (1.0, 1.19, True),
        (1.0, 1.21, False),
        (1.0, 0.5, True),
        (-1.0, 0.81, True),
        (-1.0, 0.79, False),
        (-1.0, 1.5, True),
    ],
)
def test_the_gradient_stops_where_a_ratio_has_gone_far_enough(
    advantage: float, ratio: float, flows: bool
) -> None:
    """Only on the side to which the advantage pulls; the way back stays open."""
    given = replace(batch(0), advantage_S=torch.full((8,), advantage, dtype=torch.float64))
    values = given.sampled_BT + math.log(ratio) * given.weights_BT
    _, _, gradient = loss_and_gradient(GRPO(), given, values.requires_grad_())
    assert bool(np.abs(gradient).max() > 0) is flows
    loss = GRPO()(outputs(values), given)
    tokens = float(given.weights_BT.sum())
    assert float(loss.metrics["clipped"]) == (0 if 0.8 <= ratio <= 1.2 else tokens)
    assert float(loss.metrics["drift"]) == pytest.approx(abs(math.log(ratio)) * tokens)


def test_kl_is_0_at_the_reference_and_above_it_elsewhere() -> None:
    given = batch(1)
    assert given.reference_BT is not None
    at = given.reference_BT.clone().requires_grad_()
    _, terms, gradient = loss_and_gradient(
        GRPO(beta=1.0), replace(given, advantage_S=torch.zeros(8, dtype=torch.float64)), at
    )
    assert terms["kl"] == 0.0
    assert not gradient.any()
    _, terms, _ = loss_and_gradient(GRPO(beta=1.0), given, moved(given, 3))
    assert terms["kl"] > 0.05


@pytest.mark.parametrize("normalise", ["answer", "token", "constant"])
def test_at_ratio_1_the_gradient_is_reinforces(normalise: Any) -> None:
    """Through a whole model: d/dw of -sum(A log pi), divided alike; every parameter."""
    made = Transformer(SHAPE)
    initialise(made, 3)
    given = batch(2, dtype=torch.float32)
    objective = GRPO(normalise=normalise, max_tokens=MOST)
    with torch.no_grad():
        sampled = made(given, objective.needs).log_probs_BT
    given = replace(given, sampled_BT=sampled)
    count = objective.counts(given)["policy"]
    share = {
        "answer": given.weights_BT / given.weights_BT.sum(1, keepdim=True),
        "token": given.weights_BT,
        "constant": given.weights_BT / MOST,
    }[normalise]

    made.zero_grad()
    loss = objective(made(given, objective.needs), given)
    (loss.terms["policy"].sum / count).backward()
    found = [parameter.grad.clone() for parameter in made.parameters()]
    made.zero_grad()
    log_probs = made(given, objective.needs).log_probs_BT
    (-(share * given.advantage_S[:, None] * log_probs).sum() / count).backward()
    for gradient, parameter in zip(found, made.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-5, atol=1e-8)
    assert float(loss.metrics["drift"]) == 0.0
    assert float(loss.metrics["clipped"]) == 0.0


def test_the_metrics_say_what_was_rewarded_and_what_taught_nothing() -> None:
    given = batch(4)
    given = replace(given, advantage_S=torch.tensor([0.0, 1, 0, -1, 0, 0, 2, -2]).double())
    objective = GRPO(beta=0.1)
    loss = objective(outputs(moved(given, 0)), given)
    tokens = float(given.weights_BT.sum())
    assert float(loss.metrics["reward"]) == pytest.approx(float(given.reward_S.sum()))
    assert float(loss.metrics["no_credit"]) == 4.0
    assert float(loss.metrics["entropy"]) == pytest.approx(0.5 * tokens)
    counts = objective.counts(given)
    assert {
        name: counts[name] for name in ("policy", "kl", "reward", "no_credit")
    } == dict.fromkeys(("policy", "kl", "reward", "no_credit"), 8.0)
    assert counts["entropy"] == counts["clipped"] == counts["drift"] == tokens
    assert replace(objective, normalise="token").counts(given)["policy"] == tokens


REWARDS = st.integers(2, 12).flatmap(
    lambda answers: st.lists(
        st.lists(st.floats(-5, 5, width=32), min_size=answers, max_size=answers),
        min_size=1,
        max_size=5,
    )
)


@pytest.mark.parity
@draws(REWARDS)
def test_advantages_equal_the_formulas(rewards: list[list[float]]) -> None:
    given = torch.tensor(rewards, dtype=torch.float64)
    mean = group_advantages(given, "mean")
    others = group_advantages(given, "leave_one_out")
    deviations = group_advantages(given, "std")
    for g, group in enumerate(rewards):
        middle = math.fsum(group) / len(group)
        deviation = math.sqrt(math.fsum((r - middle) ** 2 for r in group) / len(group))
        for k, reward in enumerate(group):
            rest = math.fsum(group[:k] + group[k + 1 :]) / (len(group) - 1)
            assert float(mean[g, k]) == pytest.approx(reward - middle, abs=1e-12)
            assert float(others[g, k]) == pytest.approx(reward - rest, abs=1e-12)
            if deviation > 2e-6:
                expected = (reward - middle) / deviation
                assert float(deviations[g, k]) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("baseline", ["std", "mean", "leave_one_out"])
@pytest.mark.parametrize("answers", [2, 3, 6, 7, 8, 16])
def test_a_group_of_equal_rewards_gets_exactly_nothing(baseline: Any, answers: int) -> None:
    """Also where the mean of equal numbers is not that number (0.9 three times in float32)."""
    rewards = torch.tensor([[0.0], [1.0], [0.9], [0.1], [1 / 3], [0.3]]).expand(-1, answers)
    assert not group_advantages(rewards, baseline).any()
    mixed = torch.cat([rewards, torch.arange(float(answers))[None]])
    found = group_advantages(mixed, baseline)
    assert not found[:-1].any()
    assert bool((found[-1, 1:] > found[-1, :-1]).all())


def life(steps: list[list[Rollouts]], objective: GRPO) -> tuple[Transformer, list[Report]]:
    made, reports = Transformer(SHAPE), []
    initialise(made, 3)
    optimizer = Optimizer(made, OptimizerSettings(), WSD(100, warmup_steps=2))
    train(made, objective, ListSteps(steps), optimizer, [reports.append])  # type: ignore[arg-type]
    return made, reports


def some_of(given: Rollouts, first: int, stop: int) -> Rollouts:
    rows = slice(first, stop)
    inside = given.weights_BT[rows] > 0
    assert given.reference_BT is not None
    return Rollouts(
        given.tokens_BT[rows],
        given.targets_BT[rows],
        given.weights_BT[rows],
        answer_BT=torch.where(inside, torch.arange(stop - first)[:, None], 0),
        answers=stop - first,
        advantage_S=given.advantage_S[rows],
        reward_S=given.reward_S[rows],
        sampled_BT=given.sampled_BT[rows],
        reference_BT=given.reference_BT[rows],
    )


def near_the_model(seed: int) -> Rollouts:
    """Log-probs as sampled by the untrained model, so that ratios are near 1."""
    made = Transformer(SHAPE)
    initialise(made, 3)
    given = batch(seed, dtype=torch.float32)
    with torch.no_grad():
        sampled = made(given, GRPO().needs).log_probs_BT
    return replace(given, sampled_BT=sampled, reference_BT=sampled)


@pytest.mark.parametrize("normalise", ["answer", "token", "constant"])
def test_four_micro_batches_equal_one(normalise: Any) -> None:
    whole = [near_the_model(seed) for seed in range(3)]
    objective = GRPO(normalise=normalise, max_tokens=MOST, beta=0.1)
    one, first = life([[b] for b in whole], objective)
    parts = [[some_of(b, i, i + 2) for i in range(0, 8, 2)] for b in whole]
    four, second = life(parts, objective)  # type: ignore[arg-type]
    for a, b in zip(first, second, strict=True):
        assert a.terms == pytest.approx(b.terms, rel=1e-4, abs=1e-6)
        assert a.metrics == pytest.approx(b.metrics, rel=1e-4, abs=1e-6)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)
    for (label, a), b in zip(one.named_parameters(), four.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5, msg=lambda m, n=label: f"{n}: {m}")


def packed_in_one_row(given: Rollouts) -> Rollouts:
    """The same answers side by side, padding left out."""
    ends = [int(row.nonzero()[-1]) + 1 for row in given.weights_BT]
    names = ("tokens", "targets", "weights", "answer", "sampled", "reference")
    rows = {
        f"{name}_BT": torch.cat(
            [row[:end] for row, end in zip(getattr(given, f"{name}_BT"), ends, strict=True)]
        )[None]
        for name in names
    }
    return Rollouts(
        **rows,
        documents=[ends],
        answers=given.answers,
        advantage_S=given.advantage_S,
        reward_S=given.reward_S,
    )


@pytest.mark.parametrize("normalise", ["answer", "token", "constant"])
def test_padding_and_packing_do_not_change_the_loss(normalise: Any) -> None:
    whole = [near_the_model(seed) for seed in range(2)]
    objective = GRPO(normalise=normalise, max_tokens=MOST, beta=0.1)
    _, padded = life([[b] for b in whole], objective)
    _, packed = life([[packed_in_one_row(b)] for b in whole], objective)
    for a, b in zip(padded, packed, strict=True):
        assert a.terms == pytest.approx(b.terms, rel=1e-4, abs=1e-6)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)


def test_by_turn_and_by_answer_are_one_where_each_has_one_turn() -> None:
    given = replace(batch(3), turn_BT=batch(3).answer_BT, turns=8)
    values = moved(given, 4)
    turned = GRPO(normalise="turn", beta=0.2)
    found = loss_and_gradient(turned, given, values)
    plain = loss_and_gradient(replace(turned, normalise="answer"), given, moved(given, 4))
    assert found[0] == pytest.approx(plain[0], rel=1e-12)
    # one answer of two turns weighs as two answers do
    split = torch.where(torch.arange(WIDTH) > PROMPT, given.turn_BT + 8, given.turn_BT)
    split = torch.where(given.weights_BT > 0, split, 0)
    other = replace(given, turn_BT=split, turns=16)
    assert turned.counts(other)["policy"] == 16.0
    assert loss_and_gradient(turned, other, moved(given, 4))[0] != pytest.approx(found[0])


@pytest.mark.parametrize("baseline", ["std", "mean", "leave_one_out"])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_group_with_a_reward_that_is_no_number_has_no_credit(
    baseline: Any, broken: float
) -> None:
    reward = torch.tensor([[0.0, 1.0, 0.5], [1.0, broken, 0.0], [1.0, 1.0, 0.0]])
    found = group_advantages(reward, baseline)
    assert not found[1].any()
    assert torch.equal(found[[0, 2]], group_advantages(reward[[0, 2]], baseline))
