"""Low-rank adapters: the product of a frozen matrix with a learnt difference of low rank.

Knows no layer, no file and no seed. LoRA: Hu et al. 2021, arXiv:2106.09685; rsLoRA: Kalajdzievski
2023, arXiv:2312.03732; DoRA: Liu et al. 2024, arXiv:2402.09353.

Shape suffixes: N tokens, I and O widths of a weight's input and output, R rank, K = pieces * R,
P rows of all pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ontogeny.model import thin
from ontogeny.plan.adapter import LoRA


@dataclass(frozen=True, slots=True)
class Piece:
    """A matrix of its own name inside a packed one: `rows` rows from row `first` on."""

    name: str
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece lies: rows of the packed weight, of `A` and of `B` (and the magnitude)."""

    name: str
    out: slice
    a: slice
    b: slice


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Row norms, and what they were computed from; of the weight its memory and its version."""

    length_P: Tensor
    a_KI: Tensor
    b_PR: Tensor
    weight: tuple[int, int]


class LowRank(nn.Module):
    """The adapter of one packed matrix; only its `pieces` learn.

    `A` (K, I) holds the A of every piece below one another, so that they are one product, `B`
    (P, R) the B of every piece; `magnitude` (P,) is DoRA's m, None for the other kinds. All are
    empty until filled (`ontogeny.model.adapted`).
    """

    def __init__(self, pieces: Sequence[Piece], width: int, config: LoRA) -> None:
        super().__init__()
        self.config, self.scale = config, config.scale
        rows = sum(piece.rows for piece in pieces)
        self.A = nn.Parameter(torch.empty(len(pieces) * config.rank, width))
        self.B = nn.Parameter(torch.empty(rows, config.rank))
        self.magnitude = nn.Parameter(torch.empty(rows)) if config.kind == "dora" else None
        self.places = tuple(_places(pieces, config.rank))
        self._known: _Lengths | None = None

    def forward(self, x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        """(N, I) -> (N, O), differentiable in x, A, B and magnitude; the weight is frozen."""
        assert not weight_OI.requires_grad
        y_NO: Tensor = _Adapted.apply(  # type: ignore[no-untyped-call]
            x_NI, weight_OI, bias_O, self.A, self.B, self.magnitude, self
        )
        return y_NO

    def add_to(self, y_NO: Tensor, x_NI: Tensor) -> Tensor:
        """y += scale * x A^T B^T in the columns of the pieces, in place; returns x A^T (N, K)."""
        h_NK = x_NI @ self.A.t()
        for place in self.places:
            y_NO[:, place.out].addmm_(h_NK[:, place.a], self.B[place.b].t(), alpha=self.scale)
        return h_NK

    @torch.no_grad()
    def summed(self, weight_OI: Tensor) -> Iterator[tuple[Place, Tensor]]:
        """W + scale * B A of each piece, without DoRA's magnitude."""
        for place in self.places:
            product = torch.addmm(
                weight_OI[place.out], self.B[place.b], self.A[place.a], alpha=self.scale
            )
            yield place, product

    def lengths(self, weight_OI: Tensor) -> Tensor:
        """Norm of each row of W + scale * B A, (P,); a constant for the gradient (section 4.3).

        Remembered with the A and B it is of, so that the micro-batches of a step and the tokens of
        a rollout share it. (These are compared: fused AdamW does not raise a tensor's version.)
        """
        known = self._known
        if known is None or not (
            known.weight == (weight_OI.data_ptr(), weight_OI._version)
            and torch.equal(known.a_KI, self.A)
            and torch.equal(known.b_PR, self.B)
        ):
            with torch.inference_mode(mode=False):  # the training pass may have to save it
                rows = [each.norm(dim=1) for _, each in self.summed(weight_OI)]
                known = self._known = _Lengths(
                    torch.cat(rows).clamp_min_(torch.finfo(torch.float32).tiny),
                    self.A.detach().clone(),
                    self.B.detach().clone(),
                    (weight_OI.data_ptr(), weight_OI._version),
                )
        return known.length_P

    def gains(self, weight_OI: Tensor) -> Tensor:
        """What each column of the product is multiplied with, (O,): m / length, else 1."""
        assert self.magnitude is not None
        ratio_P = self.magnitude.detach() / self.lengths(weight_OI)
        gain_O = torch.ones_like(weight_OI[:, 0])
        for place in self.places:
            gain_O[place.out] = ratio_P[place.b]
        return gain_O


def linear(
    x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None, adapters: nn.ModuleDict, name: str
) -> Tensor:
    """x W^T + bias, (N, O), with the adapter called `name` where there is one."""
    if name not in adapters:
        return F.linear(x_NI, weight_OI, bias_O)
    y_NO: Tensor = _of(adapters, name)(x_NI, weight_OI, bias_O)
    return y_NO


def thin_linear(
    x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None, adapters: nn.ModuleDict, name: str
) -> Tensor:
    """The same for generation: few rows, no gradient; the result is fresh memory."""
    y_NO = thin.linear(x_NI, weight_OI)
    if name in adapters:
        adapter = _of(adapters, name)
        adapter.add_to(y_NO, x_NI)
        if adapter.magnitude is not None:
            y_NO *= adapter.gains(weight_OI)
    return y_NO if bias_O is None else y_NO.add_(bias_O)


def _of(adapters: nn.ModuleDict, name: str) -> LowRank:
    adapter = adapters[name]
    assert isinstance(adapter, LowRank)
    return adapter


def _places(pieces: Sequence[Piece], rank: int) -> Iterator[Place]:
    row = 0
    for number, piece in enumerate(pieces):
        yield Place(
            piece.name,
            slice(piece.first, piece.first + piece.rows),
            slice(number * rank, (number + 1) * rank),
            slice(row, row + piece.rows),
        )
        row += piece.rows


class _Adapted(torch.autograd.Function):
    """By hand because autograd would copy the whole output and its gradient once a piece.

    Nothing is computed for the frozen weight, nor for x where nothing below learns.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_NI: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        a_KI: Tensor,
        b_PR: Tensor,
        magnitude_P: Tensor | None,
        adapter: LowRank,
    ) -> Tensor:
        ctx.adapter = adapter
        if magnitude_P is None:
            y_NO = F.linear(x_NI, weight_OI, bias_O)
            h_NK = adapter.add_to(y_NO, x_NI)
            ctx.save_for_backward(x_NI, weight_OI, a_KI, b_PR, h_NK)
            return y_NO
        plain_NO = F.linear(x_NI, weight_OI)
        h_NK = adapter.add_to(plain_NO, x_NI)
        gain_O = adapter.gains(weight_OI)
        ctx.save_for_backward(
            x_NI, weight_OI, a_KI, b_PR, h_NK, plain_NO, gain_O, adapter.lengths(weight_OI)
        )
        y_NO = plain_NO * gain_O
        return y_NO if bias_O is None else y_NO.add_(bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Any, ...]:
        x_NI, weight_OI, a_KI, b_PR, h_NK, *dora = ctx.saved_tensors
        places, scale = ctx.adapter.places, ctx.adapter.scale
        magnitude_grad_P = None
        if dora:
            plain_NO, gain_O, length_P = dora
            sum_O = (grad_NO * plain_NO).sum(0)
            magnitude_grad_P = torch.cat([sum_O[place.out] for place in places]).div_(length_P)
            grad_NO = grad_NO * gain_O
        b_grad_PR, h_grad_NK = torch.empty_like(b_PR), torch.empty_like(h_NK)
        for place in places:
            part = grad_NO[:, place.out]
            torch.mm(part, b_PR[place.b], out=h_grad_NK[:, place.a])
            torch.mm(part.t(), h_NK[:, place.a], out=b_grad_PR[place.b])
        h_grad_NK *= scale
        b_grad_PR *= scale
        a_grad_KI = h_grad_NK.t() @ x_NI
        x_grad_NI = None
        if ctx.needs_input_grad[0]:
            x_grad_NI = (grad_NO @ weight_OI).addmm_(h_grad_NK, a_KI)
        return x_grad_NI, None, None, a_grad_KI, b_grad_PR, magnitude_grad_P, None
