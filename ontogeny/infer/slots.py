"""Which places of the cache are taken, and which tokens lie in each. Knows no model and no state.

Shapes: S slots, P places of a slot.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
LEAST = 16
"""Fewest shared tokens that are worth a copy, and by which one source must surpass another."""


class Place(NamedTuple):
    """Where a request goes, and whose first `shared` tokens it has in common with its prompt."""

    slot: int
    source: int
    """`slot` itself where it already holds them."""
    shared: int


class Slots:
    """`count` numbered places of `length` tokens, each free or taken.

    A free slot keeps its tokens until it is given away: the empty ones go first, lowest number
    first, then the one unused for longest. With nothing kept the order is therefore repeatable.
    """

    def __init__(self, count: int, length: int) -> None:
        self.count = count
        self._taken_S = np.zeros(count, bool)
        self._tokens_SP = np.zeros((count, length), np.int32)
        self._held_S, self._since_S, self._used_S, self._salt_S = np.zeros((4, count), np.int64)
        self._clock = 0

    def __len__(self) -> int:
        """How many are free."""
        return self.count - int(self._taken_S.sum())

    def take(self, prompt: Ids, salt: int = 0) -> Place:
        """A free place for `prompt`; one must be free. The place counts as holding the prompt.

        Only a slot that was taken under the same `salt` is ever its source.
        """
        self._clock += 1
        oldest = int(np.where(self._taken_S, self._clock, self._used_S).argmin())
        assert not self._taken_S[oldest]
        source, shared = self._longest(prompt, salt)
        slot = oldest
        if shared:
            self._used_S[source] = self._clock
            if not self._taken_S[source] and self._held_S[source] - shared < LEAST:
                slot = source  # hardly anything is lost
        else:
            source = slot
        self._taken_S[slot] = True
        self._tokens_SP[slot, : len(prompt)] = prompt
        self._held_S[slot], self._salt_S[slot] = len(prompt), salt
        self._since_S[slot] = self._used_S[slot] = self._clock
        return Place(slot, source, shared)

    def give_back(self, slot: int, kept: Ids | None = None) -> None:
        """Free a taken place, which keeps the tokens `kept`; freeing one twice is our mistake."""
        assert self._taken_S[slot], slot
        self._taken_S[slot] = False
        self._clock += 1
        self._held_S[slot] = 0 if kept is None else len(kept)
        self._used_S[slot] = 0 if kept is None else self._clock
        if kept is not None:
            self._tokens_SP[slot, : len(kept)] = kept

    @property
    def kept(self) -> list[int]:
        """The free slots that keep tokens."""
        slots: list[int] = np.flatnonzero(~self._taken_S & (self._held_S > 0)).tolist()
        return slots

    def forget(self) -> None:
        """No slot's tokens are ever used again."""
        self._held_S[:] = 0
        self._used_S[~self._taken_S] = 0

    def _longest(self, prompt: Ids, salt: int) -> tuple[int, int]:
        """The slot that shares the longest beginning with `prompt`, and its length or 0.

        Of those that share nearly as much as the best, the one that began first: in a crowd with
        one long beginning all then wait for one, instead of each for the one before.
        """
        least = min(LEAST, len(prompt))
        ends = (
            self._tokens_SP[:, 0] == prompt[0],
            self._tokens_SP[:, least - 1] == prompt[least - 1],
        )
        own_S = (self._held_S >= least) & (self._salt_S == salt)
        found_R = np.flatnonzero(own_S & ends[0] & ends[1])
        if not len(found_R):
            return 0, 0
        differ_RP = self._tokens_SP[found_R, : len(prompt)] != prompt
        first_R = np.where(differ_RP.any(1), differ_RP.argmax(1), len(prompt))
        shared_R = np.minimum(first_R, self._held_S[found_R])
        best = int(shared_R.max())
        if best < least:
            return 0, 0
        near_R = shared_R > best - LEAST if best < len(prompt) else shared_R == best
        pick = np.where(near_R, self._since_S[found_R], self._clock).argmin()
        return int(found_R[pick]), int(shared_R[pick])
