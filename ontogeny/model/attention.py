"""Causal attention with grouped queries and rotary positions, in the form of any family.

Knows no layer around it and no other mixer; it owns the cache of its keys and values.
Grouped queries: Ainslie et al. 2023, arXiv:2305.13245; QK-norm: Henry et al. 2020,
arXiv:2010.04245, per head as in Qwen3 (arXiv:2505.09388) or per row as in OLMo 2
(arXiv:2501.00656); windows: Beltagy et al. 2020, arXiv:2004.05150; capped scores: Gemma 2
(arXiv:2408.00118).

Shape suffixes: N tokens of the stream, C channels, H query heads, J key heads, G = H + J,
A = H + 2 J, K = H / J, D width of a head, E = D / 2, S slots of the cache, P places of a slot,
B rows, T new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ontogeny.model import adapter, thin, varlen
from ontogeny.model.layout import Layout
from ontogeny.model.memory import prefer_large_pages
from ontogeny.model.rotation import norm_rotated, rotated
from ontogeny.plan.shape import Shape


@dataclass(slots=True)
class AttentionState:
    """Keys and values that a layer has seen: two tensors (S, J, P, D).

    Where sequences are held in pages (`ontogeny.model.paged`), a slot is a page.
    """

    keys_SJPD: Tensor
    values_SJPD: Tensor

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """The first `length` places of slot `source` also become those of `target`."""
        for cache in (self.keys_SJPD, self.values_SJPD):
            cache[target, :, :length] = cache[source, :, :length]

    def take_over(self, old: AttentionState, length: int) -> None:
        """The first `length` places of all slots of a smaller state."""
        pairs = ((self.keys_SJPD, old.keys_SJPD), (self.values_SJPD, old.values_SJPD))
        for cache, source in pairs:
            cache[: len(source), :, :length] = source[:, :, :length]

    def copy_slots(self, sources: Tensor, targets: Tensor) -> None:
        """Slots `targets` become copies of slots `sources`."""
        for cache in (self.keys_SJPD, self.values_SJPD):
            cache[targets] = cache[sources]

    def grow(self, slots: int) -> None:
        """To `slots` slots; the new ones are empty."""
        self.keys_SJPD = _grown(self.keys_SJPD, slots)  # one after the other: less at once
        self.values_SJPD = _grown(self.values_SJPD, slots)


@dataclass(frozen=True, slots=True)
class Append:
    """Where an `extend` writes and what it may read; the same for all layers.

    Args:
        rows: the slots of the B rows: a slice where they are neighbours (then nothing is
            gathered), else int64 indices.
        slots_B1, places_BT: where each new token's key and value go.
        reach: places that hold anything for these rows, the new tokens included.
        mask_B1TP: True where a new token may look, or None where `causal` or everything is seen.
        window_mask_B1TP: the same for layers with a window, or None where it is wider than `reach`.
        causal: all rows start empty, so plain causal attention among the new tokens is meant.
        pages: what is read where sequences are held in pages. Then each new token is a row of its
            own, its slot is a page, and fields other than slots and places mean nothing.
    """

    rows: slice | Tensor
    slots_B1: Tensor
    places_BT: Tensor
    reach: int
    mask_B1TP: Tensor | None
    window_mask_B1TP: Tensor | None
    causal: bool
    pages: varlen.Reading | None = None


class Attention(nn.Module):
    """Queries, keys and values are one matrix of A * D rows.

    Args:
        shape: sizes and the family's form.
        kind: of this layer, a letter of `ontogeny.plan.shape.KINDS`.
    """

    def __init__(self, shape: Shape, kind: str) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.eps, self.cap = shape.norm_eps, shape.attention_cap
        self.qk_norm, self.offset = shape.form.qk_norm, float(shape.form.centred)
        self.window = shape.window if kind == "l" else 0
        self.rotated = kind != "n"
        self.scale = None if shape.query_scale is None else shape.query_scale**-0.5
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = nn.Parameter(torch.empty(rows, shape.hidden))
        self.out = nn.Parameter(torch.empty(shape.hidden, self.heads * self.head_dim))
        self.qkv_bias = nn.Parameter(torch.zeros(rows)) if shape.form.qkv_bias else None
        if self.qk_norm != "none":
            widths = (self.heads, self.kv_heads) if self.qk_norm == "row" else (1, 1)
            self.q_norm, self.k_norm = (
                nn.Parameter(torch.full((width * self.head_dim,), 1 - self.offset))
                for width in widths
            )
        self.adapters = nn.ModuleDict()

    def forward(self, x_NC: Tensor, cos_NE: Tensor, sin_NE: Tensor, layout: Layout) -> Tensor:
        """(N, C) -> (N, C), each document of `layout` by itself."""
        sizes = [count * longest for count, longest in layout.blocks]
        q_NHD, k_NJD, v_NJD = self._project(x_NC, cos_NE, sin_NE)
        q, k, v = (torch.split(part, sizes) for part in (q_NHD, k_NJD, v_NJD))
        masks: Sequence[Tensor | None] = [None] * len(sizes)
        if layout.sights is not None:
            k, v, masks = self._seen(layout, k_NJD, v_NJD, k, v)
        blocks = zip(layout.blocks, q, k, v, masks, strict=True)
        mixed = [self._attend(*block) for block in blocks]
        mixed_NA = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        return adapter.linear(mixed_NA, self.out, None, self.adapters, "out")

    def new_state(self, slots: int, places: int) -> AttentionState:
        """An empty cache of `slots` slots of so many places."""
        shape = (slots, self.kv_heads, places, self.head_dim)
        return AttentionState(*(_zeros(self.qkv.new_empty(shape)) for _ in range(2)))

    def extend(
        self, x_NC: Tensor, cos_ND: Tensor, sin_ND: Tensor, append: Append, state: AttentionState
    ) -> Tensor:
        """(B * T, C) -> (B * T, C); writes the new keys and values, then attends to the past."""
        block = append.places_BT.shape
        q, k, v = self._thin_project(x_NC, cos_ND, sin_ND)
        state.keys_SJPD[append.slots_B1, :, append.places_BT] = k.view(*block, -1, self.head_dim)
        state.values_SJPD[append.slots_B1, :, append.places_BT] = v.view(*block, -1, self.head_dim)
        if append.pages is not None:
            mixed_NA = self._read_pages(q, k, v, append.pages, state)
        elif append.causal:
            mixed_NA = self._attend((block[0], block[1]), q, k, v)
        else:
            narrow = 0 < self.window < append.reach
            mixed_BHTD = self._mix(
                q.view(*block, -1, self.head_dim).transpose(1, 2),
                state.keys_SJPD[append.rows, :, : append.reach],
                state.values_SJPD[append.rows, :, : append.reach],
                append.window_mask_B1TP if narrow else append.mask_B1TP,
            )
            mixed_NA = mixed_BHTD.transpose(1, 2).flatten(2).flatten(0, 1)
        return adapter.thin_linear(mixed_NA, self.out, None, self.adapters, "out")

    def _read_pages(
        self, q: Tensor, k: Tensor, v: Tensor, pages: varlen.Reading, state: AttentionState
    ) -> Tensor:
        """(N, H * D): new tokens attend to themselves and their rows' pages."""
        keys, values = state.keys_SJPD, state.values_SJPD
        if pages.kernel:
            return varlen.attend(q, keys, values, pages, self.window, self.scale).flatten(1)
        mask = pages.mask(self.window)
        if pages.causal:
            keys, values = pages.padded(k), pages.padded(v)
        else:
            keys, values = pages.gathered(keys), pages.gathered(values)
        causal = pages.causal and mask is pages.mask_B1TR
        return pages.packed(
            self._mix(pages.padded(q), keys, values, None if causal else mask, causal)
        )

    def _project(
        self, x_NC: Tensor, cos_NE: Tensor, sin_NE: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Normed and rotated q_NHD and k_NJD, and v_NJD."""
        qkv_NA = adapter.linear(x_NC, self.qkv, self.qkv_bias, self.adapters, "qkv")
        qkv_NAD = qkv_NA.view(len(x_NC), -1, self.head_dim)
        if self.qk_norm == "head":
            norms: tuple[Tensor, Tensor] = self.q_norm, self.k_norm
            if self.offset:
                norms = norms[0] + self.offset, norms[1] + self.offset
            return norm_rotated(qkv_NAD, norms, cos_NE, sin_NE, self.heads, self.eps)
        q, k, v = torch.split(qkv_NAD, [self.heads, self.kv_heads, self.kv_heads], 1)
        if self.qk_norm == "row":
            q, k = self._row_norm(q, self.q_norm), self._row_norm(k, self.k_norm)
        if self.rotated:
            q, k = rotated(q, cos_NE, sin_NE), rotated(k, cos_NE, sin_NE)
        return q, k, v

    def _thin_project(
        self, x_NC: Tensor, cos_N1D: Tensor, sin_N1D: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same for generation; `cos_N1D` and `sin_N1D` are those of `thin.wide`."""
        both = self.heads + self.kv_heads
        qkv_NA = adapter.thin_linear(x_NC, self.qkv, self.qkv_bias, self.adapters, "qkv")
        qkv_NAD = qkv_NA.contiguous().view(len(x_NC), -1, self.head_dim)
        qk_NGD = qkv_NAD[:, :both]
        q, k, v = torch.split(qkv_NAD, [self.heads, self.kv_heads, self.kv_heads], 1)
        if self.qk_norm == "head":
            thin.norm(qk_NGD, self.eps)
            q *= self.q_norm + self.offset if self.offset else self.q_norm
            k *= self.k_norm + self.offset if self.offset else self.k_norm
        elif self.qk_norm == "row":
            q.copy_(self._row_norm(q, self.q_norm))
            k.copy_(self._row_norm(k, self.k_norm))
        if self.rotated:
            thin.rotate(qk_NGD, cos_N1D, sin_N1D)
        return q, k, v

    def _row_norm(self, x_NHD: Tensor, weight: Tensor) -> Tensor:
        flat = x_NHD.flatten(1)
        normed: Tensor = F.rms_norm(flat, flat.shape[1:], weight, self.eps).view_as(x_NHD)
        return normed

    def _seen(
        self,
        layout: Layout,
        k_NJD: Tensor,
        v_NJD: Tensor,
        k: tuple[Tensor, ...],
        v: tuple[Tensor, ...],
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """Keys, values and mask of each block; k and v are those of its own tokens."""
        assert layout.sights is not None and layout.stem is not None
        old_k, old_v = layout.stem.exchange(self, k_NJD, v_NJD)
        found: list[tuple[Tensor, Tensor, Tensor | None]] = []
        for sight, own_k, own_v in zip(layout.sights, k, v, strict=True):
            if sight is None:
                found.append((own_k, own_v, None))
                continue
            mask_LK = sight.window_mask_LK if self.window else sight.mask_LK
            found.append((sight.seen.of(old_k, k_NJD), sight.seen.of(old_v, v_NJD), mask_LK))
        keys, values, masks = zip(*found, strict=True)
        return keys, values, masks

    def _attend(
        self,
        block: tuple[int, int],
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Attention in a block of (rows, length), (rows * length, H * D); causal without a mask."""
        rows, length = block
        q, k, v = (
            part.reshape(rows, len(part) // rows, -1, self.head_dim).transpose(1, 2)
            for part in (q, k, v)
        )
        if mask is None and 0 < self.window < length:
            mask = torch.ones(length, length, dtype=torch.bool, device=q.device)
            mask = mask.tril_().triu_(1 - self.window)
        mixed_BHTD = self._mix(q, k, v, mask, causal=mask is None)
        return mixed_BHTD.transpose(1, 2).flatten(2).flatten(0, 1)

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        """softmax(scale q k^T) v, (B, H, T, D), under a mask that is True where one may look."""
        if self.cap is None:
            return F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                is_causal=causal,
                scale=self.scale,
                enable_gqa=self.kv_heads != self.heads,
            )
        q_BJKTD = q.reshape(len(q), self.kv_heads, -1, *q.shape[2:])
        scale = self.head_dim**-0.5 if self.scale is None else self.scale
        scores = q_BJKTD @ k[:, :, None].transpose(-1, -2) * scale
        scores = torch.tanh(scores / self.cap) * self.cap
        if causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril_()
        if mask is not None:
            wide = mask if mask.ndim == 2 else mask[:, :, None]
            scores = scores.masked_fill(~wide, -torch.inf)
        return (scores.softmax(-1) @ v[:, :, None]).flatten(1, 2)


def _zeros(cache_SJPD: Tensor) -> Tensor:
    if cache_SJPD.device.type == "cpu":
        prefer_large_pages(cache_SJPD.data_ptr(), cache_SJPD.nbytes)
    return cache_SJPD.zero_()


def _grown(cache_SJPD: Tensor, slots: int) -> Tensor:
    more = cache_SJPD.new_zeros(slots - len(cache_SJPD), *cache_SJPD.shape[1:])
    return torch.cat([cache_SJPD, more])
