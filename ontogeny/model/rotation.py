"""Normed and rotated queries and keys, with gradients by hand. Knows no weights and no attention.

Shape suffixes: N tokens of the stream, H query heads, J key heads, G = H + J, A = H + 2 J,
D width of a head, E = D / 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotated(x_NHD: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
    """(N, H, D) turned by the positions' angles."""
    turned_NHD: Tensor = _Rotate.apply(x_NHD, cos_NE, sin_NE)  # type: ignore[no-untyped-call]
    return turned_NHD


def norm_rotated(
    qkv_NAD: Tensor,
    norms: tuple[Tensor, Tensor],
    cos_NE: Tensor,
    sin_NE: Tensor,
    heads: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """q_NHD and k_NJD, RMS-normalised over D times their norms_D and turned, and v_NJD."""
    q, k, v = _NormRotate.apply(  # type: ignore[no-untyped-call]
        qkv_NAD, *norms, cos_NE, sin_NE, heads, (qkv_NAD.shape[1] - heads) // 2, eps
    )
    return q, k, v


class _Rotate(torch.autograd.Function):
    """Turns (N, H, D) by the positions' angles; backward turns the gradient back."""

    @staticmethod
    def forward(ctx: Any, x_NHD: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
        ctx.save_for_backward(cos_NE, sin_NE)
        return _rotate(x_NHD, cos_NE, sin_NE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NHD: Tensor) -> tuple[Tensor, None, None]:
        cos_NE, sin_NE = ctx.saved_tensors
        turned_NHD = torch.empty_like(grad_NHD)
        _rotate_back(grad_NHD, cos_NE, sin_NE, out=turned_NHD)
        return turned_NHD, None, None


class _NormRotate(torch.autograd.Function):
    """Splits (N, H + 2 J, D) into q, k, v; RMS-normalises and rotates q and k.

    By hand because autograd's version makes nine passes over q and k, joins three gradients by
    copies and keeps every stage: at width 128 that is a third of the layer's time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv_NAD: Tensor,
        q_norm_D: Tensor,
        k_norm_D: Tensor,
        cos_NE: Tensor,
        sin_NE: Tensor,
        heads: int,
        kv_heads: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        qk_NGD = qkv_NAD[:, : heads + kv_heads]
        scale_NG1 = _inverse_rms(qk_NGD, eps)
        norm_GD = torch.cat([q_norm_D.expand(heads, -1), k_norm_D.expand(kv_heads, -1)])
        y_NGD = (qk_NGD * scale_NG1).mul_(norm_GD)
        ctx.save_for_backward(qkv_NAD, scale_NG1, norm_GD, cos_NE, sin_NE)
        ctx.heads, ctx.kv_heads = heads, kv_heads
        rotated_NGD = _rotate(y_NGD, cos_NE, sin_NE)
        return (
            rotated_NGD[:, :heads],
            rotated_NGD[:, heads:],
            qkv_NAD[:, heads + kv_heads :].clone(),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, q_grad: Tensor, k_grad: Tensor, v_grad: Tensor) -> tuple[Any, ...]:
        qkv_NAD, scale_NG1, norm_GD, cos_NE, sin_NE = ctx.saved_tensors
        heads, rotated = ctx.heads, ctx.heads + ctx.kv_heads
        grad_NAD = torch.empty_like(qkv_NAD)
        grad_NAD[:, rotated:] = v_grad
        grad_NGD = grad_NAD[:, :rotated]
        _rotate_back(q_grad, cos_NE, sin_NE, out=grad_NGD[:, :heads])
        _rotate_back(k_grad, cos_NE, sin_NE, out=grad_NGD[:, heads:])
        unit_NGD = qkv_NAD[:, :rotated] * scale_NG1
        product_NGD = unit_NGD * grad_NGD
        norm_grad_GD = product_NGD.sum(0)
        # x_grad = scale * (g w - unit * mean(g w unit)), g the gradient at the normed value
        mean_NG1 = product_NGD.mul_(norm_GD).mean(-1, keepdim=True)
        grad_NGD.mul_(norm_GD).sub_(unit_NGD.mul_(mean_NG1)).mul_(scale_NG1)
        norms = norm_grad_GD[:heads].sum(0), norm_grad_GD[heads:].sum(0)
        return grad_NAD, *norms, None, None, None, None, None


def _inverse_rms(x_NGD: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean(x^2) + eps) over the last dimension, kept."""
    norm_NG1 = torch.linalg.vector_norm(x_NGD, dim=-1, keepdim=True)
    inverse_NG1: Tensor = norm_NG1.square_().div_(x_NGD.shape[-1]).add_(eps).rsqrt_()
    return inverse_NG1


def _rotate(x_NGD: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
    """Channel pairs (d, d + E) turned by the positions' angles."""
    first, second = x_NGD.chunk(2, dim=-1)
    cos, sin = cos_NE[:, None], sin_NE[:, None]
    out = torch.empty_like(x_NGD)
    low, high = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=low).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=high).addcmul_(first, sin)
    return out


def _rotate_back(grad_NGD: Tensor, cos_NE: Tensor, sin_NE: Tensor, out: Tensor) -> None:
    """The inverse (and transpose) of `_rotate`, written into `out`."""
    first, second = grad_NGD.chunk(2, dim=-1)
    cos, sin = cos_NE[:, None], sin_NE[:, None]
    low, high = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=low).addcmul_(second, sin)
    torch.mul(second, cos, out=high).addcmul_(first, sin, value=-1)
