"""The chunked head equals the plain one in float64, values and gradients, on both paths."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ontogeny.model import head

ROWS, VOCAB, WIDTH = 2 * head.ROWS + 37, 50, 8


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, WIDTH, generator=generator, dtype=dtype)
    weight = torch.randn(VOCAB, WIDTH, generator=generator, dtype=dtype)
    targets = torch.randint(VOCAB, (ROWS,), generator=generator)
    weights = torch.rand(ROWS, generator=generator, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_(), targets, weights


def plain(x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    log_probs = F.log_softmax(x @ weight.t(), -1)
    return log_probs.gather(1, targets[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(-1)


def test_the_one_pass_head_equals_cross_entropy() -> None:
    x, weight, targets, weights = inputs()
    total, log_probs = head.weighted_log_prob(x, weight, targets, weights)
    expected, _ = plain(x, weight, targets)
    torch.testing.assert_close(log_probs, expected, rtol=1e-12, atol=1e-12)
    got = torch.autograd.grad(total * 0.3, (x, weight))
    wanted = torch.autograd.grad((expected * weights).sum() * 0.3, (x, weight))
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("use", ["log_probs", "entropy", "both"])
def test_the_two_pass_head_equals_autograd(use: str) -> None:
    x, weight, targets, _ = inputs()
    got, wanted = head.log_probs(x, weight, targets), plain(x, weight, targets)
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)

    def loss(log_probs: Tensor, entropy: Tensor) -> Tensor:
        curved = (log_probs * 1.7).sigmoid().sum() + log_probs.square().sum()
        parts = {"log_probs": curved, "entropy": entropy.square().sum()}
        return parts[use] if use in parts else parts["log_probs"] + parts["entropy"]

    torch.testing.assert_close(
        torch.autograd.grad(loss(*got), (x, weight)),
        torch.autograd.grad(loss(*wanted), (x, weight)),
        rtol=1e-10,
        atol=1e-11,
    )


def test_both_paths_agree_in_float32() -> None:
    x, weight, targets, weights = inputs(torch.float32)
    one, _ = head.weighted_log_prob(x, weight, targets, weights)
    two, _ = head.log_probs(x, weight, targets)
    torch.testing.assert_close(
        torch.autograd.grad(one, (x, weight)),
        torch.autograd.grad((two * weights).sum(), (x, weight)),
    )


def test_a_target_of_vanishing_probability_keeps_its_log_prob() -> None:
    x, weight = torch.tensor([[200.0]]), torch.tensor([[1.0], [-1.0]])
    _, log_probs = head.weighted_log_prob(x, weight, torch.tensor([1]), torch.ones(1))
    assert float(log_probs) == pytest.approx(-400.0)


def test_no_rows_give_zero_and_zero_gradients() -> None:
    x = torch.empty(0, WIDTH, requires_grad=True)
    weight = torch.ones(VOCAB, WIDTH, requires_grad=True)
    total, _ = head.weighted_log_prob(x, weight, torch.empty(0, dtype=torch.int64), torch.empty(0))
    total.backward()
    assert float(total.detach()) == 0.0
    assert weight.grad is not None
    assert not weight.grad.any()
