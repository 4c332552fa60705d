"""The layers' memory of all slots, grown with what is asked for. Knows no request and no token."""

from __future__ import annotations

import torch

from ontogeny.model.state import State
from ontogeny.model.transformer import Transformer

GROWTH = 256
"""Tokens by which the caches' length grows."""


class Caches:
    """Room for up to `slots` slots of up to `length` tokens; none is taken before it is needed."""

    def __init__(self, model: Transformer, slots: int, length: int) -> None:
        self.model = model
        self.most = slots, length
        self.state = self._empty(0, 0)

    def make_room(self, slots: int, tokens: int, *, spare: bool) -> None:
        """At least `slots` slots of `tokens` tokens (or the most there may be), old ones kept.

        `spare`: more slots will come one by one; their number doubles, or each would be a copy.
        """
        held, capacity = len(self.state.lengths), self.state.capacity
        longer = max(capacity, min(self.most[1], -(-tokens // GROWTH) * GROWTH))
        more = max(held, slots)
        if (more, longer) == (held, capacity):
            return
        if spare and held < more:
            more = min(self.most[0], max(more, 2 * held))
        old, self.state = self.state, self._empty(0, 0)
        if not any(old.lengths):
            del old  # both at once would be twice the memory
            self.state = self._empty(more, longer)
        else:
            self.state = self._empty(more, longer)
            self.state.take_over(old)

    @torch.inference_mode()
    def begin(self, slot: int, source: int, count: int) -> None:
        """`slot` holds the first `count` tokens of `source`, which may be itself, and no other."""
        if count == 0:
            self.state.free(slot)
        elif source == slot:
            self.state.lengths[slot] = count
        else:
            self.state.copy_prefix(source, slot, count)

    def clear(self) -> None:
        """Nothing is held any more, not even what is overwritten later."""
        self.state = self._empty(len(self.state.lengths), self.state.capacity)

    def _empty(self, slots: int, length: int) -> State:
        with torch.inference_mode():
            return self.model.new_state(slots, length)
