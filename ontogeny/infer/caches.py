"""The layers' memory of all slots, grown with what is asked for. Knows no request and no token."""

from __future__ import annotations

import torch

from ontogeny.base.errors import NoSpace
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
        self._room = 0

    def make_room(self, slots: int, tokens: int, *, spare: bool) -> None:
        """At least `slots` slots of `tokens` tokens (or the most there may be), old ones kept.

        `spare`: more slots will come one by one; their number doubles, or each would be a copy.
        Without it the slots are a wave's, and none is longer than this wave needs: where a slot
        ends is seen in what is computed.

        Raises:
            NoSpace: the device has no memory for them; the old ones stay where they hold anything.
        """
        held, wanted = len(self.state.lengths), min(self.most[1], -(-tokens // GROWTH) * GROWTH)
        longer, more = max(self._room, wanted), max(held, slots)
        if (more, longer) != (held, self._room):
            if spare and held < more:
                more = min(self.most[0], max(more, 2 * held))
            self._grow(more, longer)
        self.state.capacity = longer if spare else wanted

    def _grow(self, slots: int, tokens: int) -> None:
        old = self.state
        if not any(old.lengths):
            del old  # both at once would be twice the memory
            self.state, self._room = self._empty(0, 0), 0
            self.state = self._empty(slots, tokens)
        else:
            self.state = self._empty(slots, tokens)
            self.state.take_over(old)
        self._room = tokens

    @torch.inference_mode()
    def begin(self, slot: int, source: int, count: int) -> None:
        """`slot` holds the first `count` tokens of `source`, which may be itself, and no other."""
        if count == 0:
            if slot < len(self.state.lengths):  # there may have been no memory for it
                self.state.free(slot)
        elif source == slot:
            self.state.lengths[slot] = count
        else:
            self.state.copy_prefix(source, slot, count)

    def clear(self) -> None:
        """Nothing is held any more, not even what is overwritten later."""
        self.state, self._room = self._empty(0, 0), 0

    def _empty(self, slots: int, length: int) -> State:
        try:
            with torch.inference_mode():
                return self.model.new_state(slots, length)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise NoSpace(
                f"no memory for {slots} sequences of {length} tokens; give fewer slots or a "
                "shorter length"
            ) from error
