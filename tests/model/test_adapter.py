"""A low-rank adapter computes what its formula says, and costs nothing where there is none."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ontogeny.model import head, thin
from ontogeny.model.adapter import LowRank, Piece, linear, thin_linear
from ontogeny.plan.adapter import AdapterKind, LoRA

KINDS = get_args(AdapterKind)
QKV = (Piece("q", 0, 6), Piece("k", 6, 3), Piece("v", 9, 3))
Q_AND_V = (QKV[0], QKV[2])
WIDTH, ROWS, RANK = 5, 12, 2


def randn(*size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def low_rank(
    kind: AdapterKind,
    pieces: tuple[Piece, ...] = QKV,
    width: int = WIDTH,
    rank: int = RANK,
    dtype: torch.dtype = torch.float32,
) -> LowRank:
    """Random in all its parts."""
    made = LowRank(pieces, width, LoRA(rank=rank, alpha=3.0, kind=kind)).to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=number + 1, dtype=dtype))
            if parameter.ndim == 1:
                parameter.abs_().add_(0.5)
    return made


def written_out(
    adapter: LowRank, x: Tensor, weight: Tensor, bias: Tensor | None, pieces: tuple[Piece, ...]
) -> Tensor:
    """One dense matrix a piece, by autograd alone."""
    config, rows = adapter.config, list(weight)
    scale = config.alpha / (config.rank**0.5 if config.kind == "rslora" else config.rank)
    start = 0
    for number, piece in enumerate(pieces):
        own = slice(start, start + piece.rows)
        a = adapter.A[number * config.rank : (number + 1) * config.rank]
        whole = weight[piece.first : piece.first + piece.rows] + scale * adapter.B[own] @ a
        if adapter.magnitude is not None:
            whole = whole * (adapter.magnitude[own] / whole.norm(dim=1).detach())[:, None]
        rows[piece.first : piece.first + piece.rows] = list(whole)
        start += piece.rows
    return F.linear(x, torch.stack(rows), bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("pieces", [QKV, Q_AND_V])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_dense_matrices(
    kind: AdapterKind, pieces: tuple[Piece, ...], bias: bool
) -> None:
    exact = torch.float64
    adapter = low_rank(kind, pieces, dtype=exact)
    weight, factor = randn(ROWS, WIDTH, seed=8, dtype=exact), randn(7, ROWS, seed=9, dtype=exact)
    added = randn(ROWS, seed=10, dtype=exact) if bias else None
    x = randn(7, WIDTH, dtype=exact).requires_grad_()
    leaves = [x, *adapter.parameters()]
    got = linear(x, weight, added, nn.ModuleDict({"qkv": adapter}), "qkv")
    expected = written_out(adapter, x, weight, added, pieces)
    torch.testing.assert_close(got, expected)
    for one, two in zip(
        torch.autograd.grad((got * factor).sum(), leaves),
        torch.autograd.grad((expected * factor).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_without_an_adapter_of_its_name_a_product_is_the_plain_one() -> None:
    x, weight, bias = randn(3, WIDTH), randn(ROWS, WIDTH, seed=1), randn(ROWS, seed=2)
    others = nn.ModuleDict({"out": low_rank("lora")})
    for added in (None, bias):
        assert torch.equal(linear(x, weight, added, others, "qkv"), F.linear(x, weight, added))
    plain = thin.linear(x, weight)
    assert torch.equal(thin_linear(x, weight, None, others, "qkv"), plain)
    assert torch.equal(thin_linear(x, weight, bias, others, "qkv"), plain + bias)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_an_adapter_keep_every_bit(kind: AdapterKind) -> None:
    x, weight = randn(4, WIDTH), randn(ROWS, WIDTH, seed=1)
    adapters = nn.ModuleDict({"qkv": low_rank(kind, Q_AND_V)})
    got = linear(x, weight, None, adapters, "qkv")
    plain = F.linear(x, weight)
    assert torch.equal(got[:, 6:9], plain[:, 6:9])
    assert not torch.isclose(got[:, :6], plain[:, :6]).any()


@pytest.mark.parametrize("rows", [1, 3, thin.FEW + 1])
@pytest.mark.parametrize("kind", KINDS)
def test_generation_computes_the_same(kind: AdapterKind, rows: int) -> None:
    """In all the forms of the thin product, one of which has contiguous columns."""
    pieces = (Piece("gate", 0, 256), Piece("up", 256, 256))
    adapters = nn.ModuleDict({"x": low_rank(kind, pieces, 256)})
    weight, bias = randn(512, 256, seed=5), randn(512, seed=6)
    assert weight.numel() >= thin.LARGE
    x = randn(rows, 256)
    with torch.inference_mode():
        got = thin_linear(x, weight, bias, adapters, "x")
    expected = linear(x, weight, bias, adapters, "x")
    torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-4)
    expected.sum().backward()  # what generation remembers, training may save


@pytest.mark.parametrize("what", ["optimizer", "A", "B", "weight"])
def test_doras_remembered_lengths_follow_every_change(what: str) -> None:
    adapter, weight = low_rank("dora"), randn(ROWS, WIDTH, seed=5)
    before = adapter.lengths(weight)
    assert adapter.lengths(weight) is before
    if what == "optimizer":
        optimizer = torch.optim.AdamW(adapter.parameters(), lr=0.1, fused=True)
        linear(randn(3, WIDTH), weight, None, nn.ModuleDict({"x": adapter}), "x").sum().backward()
        optimizer.step()
    else:
        with torch.no_grad():
            (weight if what == "weight" else getattr(adapter, what)).mul_(2.0)
    fresh = LowRank(QKV, WIDTH, adapter.config)
    fresh.load_state_dict(adapter.state_dict())
    assert torch.equal(adapter.lengths(weight), fresh.lengths(weight))
    assert not torch.isclose(adapter.lengths(weight), before).all()


def test_a_row_of_zeros_stays_finite_under_dora() -> None:
    weight = randn(ROWS, WIDTH, seed=5)
    weight[2] = 0
    adapter = low_rank("dora")
    with torch.no_grad():
        adapter.B.zero_()
        adapter.magnitude.copy_(weight.norm(dim=1))  # type: ignore[union-attr]
    x = randn(3, WIDTH).requires_grad_()
    got = linear(x, weight, None, nn.ModuleDict({"x": adapter}), "x")
    torch.testing.assert_close(got, F.linear(x, weight))
    got.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in adapter.parameters())  # type: ignore[union-attr]


def test_a_full_rank_difference_is_reached_at_full_rank() -> None:
    target, weight = randn(ROWS, WIDTH, seed=1), randn(ROWS, WIDTH, seed=2)
    pieces = (Piece("all", 0, ROWS),)
    for rank, reached in ((WIDTH, True), (WIDTH - 1, False)):
        adapter = low_rank("lora", pieces, rank=rank)
        left, values, right = torch.linalg.svd((target - weight) / adapter.scale)
        with torch.no_grad():
            adapter.B.copy_(left[:, :rank] * values[:rank])
            adapter.A.copy_(right[:rank])
        got = linear(torch.eye(WIDTH), weight, None, nn.ModuleDict({"x": adapter}), "x")
        assert torch.allclose(got, target.t(), atol=1e-5) == reached


def test_nothing_is_computed_for_what_does_not_learn() -> None:
    adapters = nn.ModuleDict({"x": low_rank("lora")})
    x, weight = randn(3, WIDTH), nn.Parameter(randn(ROWS, WIDTH, seed=1), requires_grad=False)
    linear(x, weight, None, adapters, "x").sum().backward()
    assert x.grad is None
    assert weight.grad is None
    assert all(p.grad is not None for p in adapters.parameters())


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("frozen", ["head", "stream"])
def test_a_frozen_side_of_the_head_gets_no_gradient_and_the_other_the_same(
    frozen: str, cap: float | None
) -> None:
    """Both functions, bit by bit."""
    targets, weights = torch.arange(9) % 4, randn(9, seed=3).abs()

    def gradients(x: Tensor, matrix: Tensor) -> list[Tensor | None]:
        total, _ = head.weighted_log_prob(x, matrix, targets, weights, cap)
        log_probs, entropy = head.log_probs(x, matrix, targets, cap)
        found: list[Tensor | None] = []
        for value in (total, torch.dot(log_probs, weights) + entropy.sum()):
            x.grad = matrix.grad = None
            value.backward()
            found += [x.grad, matrix.grad]
        return found

    both = gradients(randn(9, 6).requires_grad_(), randn(20, 6, seed=1).requires_grad_())
    one = gradients(
        randn(9, 6).requires_grad_(frozen == "head"),
        randn(20, 6, seed=1).requires_grad_(frozen == "stream"),
    )
    kept, gone = (0, 1) if frozen == "head" else (1, 0)
    for expected, got in zip(both[kept::2], one[kept::2], strict=True):
        assert expected is not None
        assert got is not None
        assert torch.equal(expected, got)
    assert one[gone::2] == [None, None]
