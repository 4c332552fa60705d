"""Which places of the cache are taken. Knows nothing of what lies in them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush


class Slots:
    """`count` numbered places; the lowest free one is given first, so admission is repeatable."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count))
        self._taken: set[int] = set()
        heapify(self._free)

    def __len__(self) -> int:
        """How many are free."""
        return len(self._free)

    def take(self) -> int:
        """The lowest free place; one must be free."""
        slot = heappop(self._free)
        self._taken.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Free a taken place; freeing one twice is our own mistake."""
        self._taken.remove(slot)
        heappush(self._free, slot)
