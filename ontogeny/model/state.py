"""What the layers remember of sequences, in slots or in pages. Knows no layer's inside.

Shape suffixes: B rows, T new tokens, P places of a slot, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ontogeny.model.attention import Append, AttentionState
from ontogeny.model.graph import Steps
from ontogeny.model.paged import Pages, Rows


@dataclass(slots=True)
class State:
    """What the layers remember of `slots` sequences.

    Args:
        lengths: tokens held by each slot.
        capacity: tokens a slot can hold.
        layers: each mixer's own state.
        pages: which pages each slot has, where sequences are held in pages (on CUDA). Then memory
            follows the tokens held, a copied prefix is shared, and growing moves no byte.
        steps: with `pages`, what runs a decode step.
    """

    lengths: list[int]
    capacity: int
    layers: list[AttentionState]
    pages: Pages | None = None
    steps: Steps | None = None

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Slot `target` becomes the first `length` tokens of slot `source`."""
        assert length <= self.lengths[source], (length, self.lengths[source])
        if self.pages is not None:
            self.pages.share(source, target, length)
        else:
            for layer in self.layers:
                layer.copy_prefix(source, target, length)
        self.lengths[target] = length

    def take_over(self, old: State) -> None:
        """All slots of a smaller state, which is forgotten."""
        if self.pages is not None and old.pages is not None:
            old.pages.widen(self.pages)
            self.layers, self.pages, self.steps = old.layers, old.pages, old.steps
        else:
            for layer, source in zip(self.layers, old.layers, strict=True):
                layer.take_over(source, old.capacity)
        self.lengths[: len(old.lengths)] = old.lengths

    def free(self, slot: int) -> None:
        """Forget slot `slot`; its places are overwritten by the next sequence."""
        if self.pages is not None:
            self.pages.free(slot)
        self.lengths[slot] = 0

    def rows(self, slots_B: Sequence[int], counts_B: Sequence[int]) -> Rows:
        """An append of `counts_B` tokens to slots `slots_B`, which must have room for them."""
        starts = [self.lengths[slot] for slot in slots_B]
        for start, count in zip(starts, counts_B, strict=True):
            assert count >= 1 and start + count <= self.capacity, (start, count, self.capacity)
        return Rows(slots_B, starts, counts_B)

    def gain(self, slots_B: Sequence[int], counts_B: Sequence[int]) -> None:
        """The tokens of an append are held."""
        for slot, count in zip(slots_B, counts_B, strict=True):
            self.lengths[slot] += count

    def decode(self, tokens_B: Tensor, slots_B: Sequence[int]) -> Tensor:
        """logits_BV after one more token in each of these slots; for states of pages.

        Raises:
            NoSpace: there are no more pages.
        """
        assert self.pages is not None and self.steps is not None
        ones = [1] * len(slots_B)
        logits_BV = self.steps(tokens_B, self.pages.step(self.rows(slots_B, ones)))
        self.gain(slots_B, ones)
        return logits_BV

    def append(
        self,
        lengths_B: Sequence[int],
        slots_B: Sequence[int],
        width: int,
        window: int,
        device: torch.device,
    ) -> Append:
        """Where new tokens go that are held in slots, `lengths_B` of the `width` in each row.

        Padding of a row is written behind it and overwritten later.
        """
        starts = [self.lengths[slot] for slot in slots_B]
        for start, count in zip(starts, lengths_B, strict=True):
            assert 1 <= count <= width, (count, width)
            assert start + count <= self.capacity, (start, count, self.capacity)
        places_BT = torch.tensor(starts, device=device)[:, None]
        if width > 1:
            # padding beyond the slot's end goes to the one spare place behind it, never read
            places_BT = (places_BT + torch.arange(width, device=device)).clamp_(max=self.capacity)
        reach = min(max(starts) + width, self.capacity)
        causal = not any(starts)
        level = width == 1 and min(starts) == max(starts)
        mask, window_mask = None, None
        if not causal and (not level or 0 < window < reach):
            place_P, place_B1T1 = torch.arange(reach, device=device), places_BT[:, None, :, None]
            mask = None if level else place_P <= place_B1T1
            if 0 < window < reach:
                window_mask = (place_P <= place_B1T1) & (place_P > place_B1T1 - window)
        slots = list(slots_B)
        neighbours = slots == list(range(slots[0], slots[0] + len(slots)))
        index = torch.tensor(slots, device=device)
        rows = slice(slots[0], slots[-1] + 1) if neighbours else index
        return Append(rows, index[:, None], places_BT, reach, mask, window_mask, causal)
