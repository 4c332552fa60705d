"""PPO, generalised advantages and token rewards equal their formulas, plainly in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.loss import Outputs
from ontogeny.objectives.proximal import (
    PPO,
    Experience,
    advantages,
    token_rewards,
    whitened,
)
from ontogeny.plan.shape import Shape

ROWS, WIDTH, PROMPT = 6, 9, 3
NUMBERS = st.floats(-3, 3, allow_nan=False)


def experience(seed: int = 0, dtype: torch.dtype = torch.float64) -> Experience:
    """A row an answer: some tokens read, then 1 to 6 said, then padding."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(50, (ROWS, WIDTH + 1), generator=draw)
    lengths = torch.randint(1, WIDTH - PROMPT + 1, (ROWS, 1), generator=draw)
    place = torch.arange(WIDTH)
    inside = (place >= PROMPT) & (place < PROMPT + lengths)
    random = [torch.randn(inside.shape, generator=draw, dtype=dtype) * inside for _ in range(4)]
    return Experience(
        tokens[:, :-1].contiguous(),
        tokens[:, 1:].contiguous(),
        inside.float(),
        answer_BT=torch.arange(ROWS)[:, None] * inside,
        answers=ROWS,
        sampled_BT=-random[0].abs(),
        advantage_BT=random[1],
        value_BT=random[2],
        return_BT=random[3],
        score_S=torch.randn(ROWS, generator=draw),
    )


def outputs(batch: Experience, seed: int = 1, distance: float = 0.4) -> Outputs:
    draw = torch.Generator().manual_seed(seed)
    inside = batch.weights_BT
    noise = [
        distance * torch.randn(inside.shape, generator=draw, dtype=torch.float64) * inside
        for _ in range(3)
    ]
    return Outputs(
        None,
        (batch.sampled_BT + noise[0]).requires_grad_(),
        noise[1].abs().requires_grad_(),
        (batch.value_BT + noise[2]).requires_grad_(),
    )


@pytest.mark.parametrize("objective", [PPO(), PPO(0.1, 0.05, 0.5, 0.01)])
def test_the_loss_is_the_formula(objective: PPO) -> None:
    batch = experience()
    given = outputs(batch)
    loss = objective(given, batch)
    assert given.log_probs_BT is not None and given.values_BT is not None
    assert given.entropy_BT is not None
    policy, value, entropy = 0.0, 0.0, 0.0
    for row, column in batch.weights_BT.nonzero().tolist():
        at = (row, column)
        rho = math.exp(float(given.log_probs_BT.detach()[at] - batch.sampled_BT[at]))
        gain, v = float(batch.advantage_BT[at]), float(given.values_BT.detach()[at])
        old, wanted = float(batch.value_BT[at]), float(batch.return_BT[at])
        near = min(max(rho, 1 - objective.clip), 1 + objective.clip)
        policy += max(-gain * rho, -gain * near)
        held = old + min(max(v - old, -objective.value_clip), objective.value_clip)
        value += 0.5 * max((v - wanted) ** 2, (held - wanted) ** 2)
        entropy += float(given.entropy_BT.detach()[at])
    assert float(loss.terms["policy"].sum.detach()) == pytest.approx(policy, rel=1e-12)
    assert float(loss.terms["value"].sum.detach()) == pytest.approx(value, rel=1e-12)
    assert loss.terms["value"].weight == objective.value_weight
    if objective.entropy:
        assert float(loss.terms["bonus"].sum.detach()) == pytest.approx(-entropy, rel=1e-12)
    counts = objective.counts(batch)
    assert counts["policy"] == counts["value"] == float(batch.weights_BT.sum())


def test_at_ratio_one_the_gradient_is_reinforce_with_advantages() -> None:
    batch = experience(3)
    given = outputs(batch, distance=0.0)
    assert given.log_probs_BT is not None
    PPO()(given, batch).terms["policy"].sum.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(given.log_probs_BT.grad, -batch.advantage_BT)


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9), st.floats(0, 1), st.floats(0, 1)
)
def test_advantages_are_the_sum_of_discounted_errors(
    steps: list[tuple[float, float]], gamma: float, lam: float
) -> None:
    rewards, values = (torch.tensor(each, dtype=torch.float64) for each in zip(*steps, strict=True))
    count = len(steps)
    after = [*values[1:].tolist(), 0.0]
    errors = [float(rewards[n]) + gamma * after[n] - float(values[n]) for n in range(count)]
    expected = [
        sum((gamma * lam) ** (k - n) * errors[k] for k in range(n, count)) for n in range(count)
    ]
    found = advantages(rewards, values, gamma, lam)
    assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9))
def test_with_lambda_1_an_advantage_is_what_came_less_what_was_foretold(
    steps: list[tuple[float, float]],
) -> None:
    rewards, values = (torch.tensor(each, dtype=torch.float64) for each in zip(*steps, strict=True))
    came = rewards.flip(0).cumsum(0).flip(0)
    torch.testing.assert_close(advantages(rewards, values, 1.0, 1.0), came - values)


def test_a_token_costs_its_log_ratio_and_the_last_one_brings_the_score() -> None:
    sampled, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5])
    found = token_rewards(3.0, sampled, reference, 0.1)
    assert found.tolist() == pytest.approx([-0.05, 0.1, 3.0])


def test_whitening_of_equal_values_gives_zeros_and_no_nan() -> None:
    assert whitened(torch.full((7,), 0.3)).tolist() == [0.0] * 7
    assert whitened(torch.empty(0)).tolist() == []
    assert whitened(torch.tensor([2.0])).tolist() == [0.0]
    kept = whitened(torch.full((7,), 0.3), shift=False)
    assert kept.tolist() == pytest.approx([0.3] * 7)


def test_whitened_values_have_mean_0_and_variance_1() -> None:
    found = whitened(torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 5 + 2)
    assert float(found.mean()) == pytest.approx(0, abs=1e-6)
    assert float(found.var(correction=0)) == pytest.approx(1, abs=1e-5)


def test_values_and_log_probs_come_from_one_pass_and_reach_every_weight() -> None:
    model = Transformer(Shape(50, 16, 2, 2, 1, 8, 24, 16))
    initialise(model, 1)
    model.add_score()
    batch = experience(5, torch.float32)
    objective = PPO()
    assert float(model(batch, objective.needs).values_BT.detach().abs().max()) == 0
    loss = objective(model(batch, objective.needs), batch)
    sum(term.weight * term.sum for term in loss.terms.values()).backward()  # type: ignore[union-attr]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())
    assert model.score is not None and model.score.grad is not None
    assert float(model.score.grad.abs().max()) > 0
