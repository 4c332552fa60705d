"""Causal attention with grouped queries, per-head QK-norm and rotary positions.

Knows no layer around it and no other mixer; it owns the cache of its keys and values.
Grouped queries: Ainslie et al. 2023, arXiv:2305.13245; QK-norm: Henry et al. 2020,
arXiv:2010.04245, per head as in Qwen3 (arXiv:2505.09388).

Shape suffixes: N tokens of the stream, C channels, H query heads, J key heads, G = H + J,
D width of a head, E = D / 2, S slots of the cache, P places of a slot, B rows, T new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ontogeny.model import thin
from ontogeny.model.layout import Layout


@dataclass(slots=True)
class AttentionState:
    """Keys and values that a layer has seen: two tensors (S, J, P, D)."""

    keys_SJPD: Tensor
    values_SJPD: Tensor

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """The first `length` places of slot `source` also become those of `target`."""
        for cache in (self.keys_SJPD, self.values_SJPD):
            cache[target, :, :length] = cache[source, :, :length]


@dataclass(frozen=True, slots=True)
class Append:
    """Where an `extend` writes and what it may read; the same for all layers.

    Args:
        rows: the slots of the B rows: a slice where they are neighbours (then nothing is
            gathered), else int64 indices.
        slots_B1, places_BT: where each new token's key and value go.
        reach: places that hold anything for these rows, the new tokens included.
        mask_B1TP: True where a new token may look, or None where `causal` or everything is seen.
        causal: all rows start empty, so plain causal attention among the new tokens is meant.
    """

    rows: slice | Tensor
    slots_B1: Tensor
    places_BT: Tensor
    reach: int
    mask_B1TP: Tensor | None
    causal: bool


class Attention(nn.Module):
    """Queries, keys and values are one matrix of (H + 2 J) * D rows."""

    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.eps = heads, kv_heads, head_dim, eps
        self.qkv = nn.Parameter(torch.empty((heads + 2 * kv_heads) * head_dim, hidden))
        self.out = nn.Parameter(torch.empty(hidden, heads * head_dim))
        self.q_norm = nn.Parameter(torch.ones(head_dim))
        self.k_norm = nn.Parameter(torch.ones(head_dim))

    def forward(self, x_NC: Tensor, cos_NE: Tensor, sin_NE: Tensor, layout: Layout) -> Tensor:
        """(N, C) -> (N, C), each document of `layout` by itself."""
        sizes = [count * longest for count, longest in layout.blocks]
        q, k, v = (torch.split(part, sizes) for part in self._project(x_NC, cos_NE, sin_NE))
        mixed = [self._attend(*block) for block in zip(layout.blocks, q, k, v, strict=True)]
        return F.linear(mixed[0] if len(mixed) == 1 else torch.cat(mixed), self.out)

    def new_state(self, slots: int, length: int) -> AttentionState:
        """An empty cache for `slots` sequences of up to `length` tokens.

        One spare place a slot takes the padding of a row that ends exactly at `length`.
        """
        shape = (slots, self.kv_heads, length + 1, self.head_dim)
        return AttentionState(self.qkv.new_zeros(shape), self.qkv.new_zeros(shape))

    def extend(
        self, x_NC: Tensor, cos_ND: Tensor, sin_ND: Tensor, append: Append, state: AttentionState
    ) -> Tensor:
        """(B * T, C) -> (B * T, C); writes the new keys and values, then attends to the past."""
        rows, new = append.places_BT.shape
        rotated = self.heads + self.kv_heads
        qkv_NAD = thin.linear(x_NC, self.qkv).contiguous().view(len(x_NC), -1, self.head_dim)
        norm_GD = torch.cat(
            [self.q_norm.expand(self.heads, -1), self.k_norm.expand(self.kv_heads, -1)]
        )
        thin.norm_rotate(qkv_NAD[:, :rotated], norm_GD, self.eps, cos_ND, sin_ND)
        qkv_BTAD = qkv_NAD.view(rows, new, -1, self.head_dim)
        q, k, v = (
            qkv_BTAD[:, :, : self.heads],
            qkv_BTAD[:, :, self.heads : rotated],
            qkv_BTAD[:, :, rotated:],
        )
        state.keys_SJPD[append.slots_B1, :, append.places_BT] = k
        state.values_SJPD[append.slots_B1, :, append.places_BT] = v
        if append.causal:
            return thin.linear(self._attend((rows, new), q, k, v), self.out)
        mixed_BHTD = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            state.keys_SJPD[append.rows, :, : append.reach],
            state.values_SJPD[append.rows, :, : append.reach],
            attn_mask=append.mask_B1TP,
            enable_gqa=self.kv_heads != self.heads,
        )
        return thin.linear(mixed_BHTD.transpose(1, 2).flatten(2).flatten(0, 1), self.out)

    def _project(
        self, x_NC: Tensor, cos_NE: Tensor, sin_NE: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Normed and rotated q_NHD and k_NJD, and v_NJD."""
        qkv_NA = F.linear(x_NC, self.qkv)
        q, k, v = _NormRotate.apply(  # type: ignore[no-untyped-call]
            qkv_NA.view(len(x_NC), -1, self.head_dim),
            self.q_norm,
            self.k_norm,
            cos_NE,
            sin_NE,
            self.heads,
            self.kv_heads,
            self.eps,
        )
        return q, k, v

    def _attend(self, block: tuple[int, int], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Causal attention in a block of (rows, length), (rows * length, H * D)."""
        q, k, v = (part.view(*block, -1, self.head_dim).transpose(1, 2) for part in (q, k, v))
        mixed_BHTD = F.scaled_dot_product_attention(
            q,
            k,
            v,
            is_causal=True,
            enable_gqa=self.kv_heads != self.heads,
        )
        return mixed_BHTD.transpose(1, 2).flatten(2).flatten(0, 1)


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
