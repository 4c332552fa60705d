"""Which pages hold which sequence. Knows no attention, no layer's inside and no request.

Every slot has a table of pages, the same for all layers; a page is counted once for each table it
stands in. A shared prefix shares its pages, and whoever writes into a shared one first gets a copy
of it (Kwon et al. 2023, arXiv:2309.06180, section 4). Page 0 is spare: padding is written there
and no token reads it.

Shape suffixes: B rows, T new tokens of the longest, N new tokens without padding, U pages of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ontogeny.base.errors import NoSpace
from ontogeny.model import varlen
from ontogeny.model.attention import Append, AttentionState
from ontogeny.model.varlen import PAGE
from ontogeny.plan.shape import Shape

FIRST = 8
"""Pages of a pool when its first token comes; it doubles when it is full."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What an `extend` appends to: a row's slot, the tokens it holds and those it gains."""

    slots_B: Sequence[int]
    starts_B: Sequence[int]
    counts_B: Sequence[int]


class Pages:
    """The page tables of `slots` sequences and the pool that the pages come from.

    Args:
        layers: keys and values of each layer, a page where a state of slots has a slot; no pages
            at first.
        slots, length: sequences, and tokens of each at most.
        page: tokens of a page.
        shape: of the model.

    Attributes:
        most: pages that the pool may grow to, the spare one included.
        refusal: why pages cannot be read by the CUDA kernel and are gathered, or None: they can.
    """

    def __init__(
        self, layers: list[AttentionState], slots: int, length: int, page: int, shape: Shape
    ) -> None:
        self.layers, self.page, self.window = layers, page, shape.window
        self.most = slots * -(-length // page) + 1
        self.refusal = refusal(shape, page, layers[0].keys_SJPD)
        self.tables: list[list[int]] = [[] for _ in range(slots)]
        self._counts: list[int] = []
        self._idle: list[int] = []

    @property
    def used(self) -> int:
        """Pages that stand in a table."""
        return max(len(self._counts) - 1, 0) - len(self._idle)

    @property
    def _device(self) -> torch.device:
        return self.layers[0].keys_SJPD.device

    def caches(self) -> list[Tensor]:
        """The tensors that hold the pages; growing replaces them."""
        return [each for layer in self.layers for each in (layer.keys_SJPD, layer.values_SJPD)]

    def share(self, source: int, target: int, length: int) -> None:
        """Slot `target` becomes the first `length` tokens of slot `source`; nothing is copied."""
        table = self.tables[source][: -(-length // self.page)]
        for page in table:
            self._counts[page] += 1
        self.free(target)
        self.tables[target] = table

    def free(self, slot: int) -> None:
        """Gives back the pages of slot `slot` that no other slot has."""
        self._release(slot, 0)

    def widen(self, larger: Pages) -> None:
        """Takes on the slots and the limit of a larger, unused one; no byte is moved."""
        assert not larger.used and len(larger.tables) >= len(self.tables)
        self.tables += larger.tables[len(self.tables) :]
        self.most = max(self.most, larger.most)

    def append(self, rows: Rows, width: int) -> Append:
        """Where the new tokens of an `extend` go, and what they read.

        Raises:
            NoSpace: there are no more pages.
        """
        self._make_room(rows)
        assert max(rows.counts_B) <= width, (rows.counts_B, width)
        device = self._device
        starts, counts = torch.tensor(rows.starts_B), torch.tensor(rows.counts_B)
        used, causal = (starts + counts).max().item(), not any(rows.starts_B)
        inside_BT = torch.arange(width) < counts[:, None]
        at_N = None if bool(inside_BT.all()) else inside_BT.flatten().nonzero()[:, 0]
        tables = [self.tables[slot] for slot in rows.slots_B]
        return append(
            varlen.reading(
                starts.to(device),
                counts.to(device),
                torch.tensor(padded(tables), dtype=torch.int32, device=device),
                width=width,
                page=self.page,
                window=self.window,
                kernel=self.refusal is None,
                reach=width if causal else int(used),
                at_N=None if at_N is None else at_N.to(device),
                causal=causal,
            )
        )

    def step(self, rows: Rows) -> list[list[int]]:
        """Makes room for one token a row; position and table of each row, for `one_each`.

        Raises:
            NoSpace: there are no more pages.
        """
        self._make_room(rows)
        tables = padded([self.tables[slot] for slot in rows.slots_B])
        return [[start, *table] for start, table in zip(rows.starts_B, tables, strict=True)]

    def one_each(self, plan_BQ: Tensor) -> Append:
        """The same as `append` for one new token a row, from what `step` returned.

        Shapes follow from the shape of `plan_BQ` (B, 1 + U), int32, and nothing asks the device,
        so this may be captured. A row of zeros writes to the spare page.
        """
        starts_B, table_BU = plan_BQ[:, 0].long(), plan_BQ[:, 1:]
        return append(
            varlen.reading(
                starts_B,
                torch.ones_like(starts_B),
                table_BU,
                width=1,
                page=self.page,
                window=self.window,
                kernel=self.refusal is None,
                reach=table_BU.shape[1] * self.page,
            )
        )

    def _make_room(self, rows: Rows) -> None:
        """Pages for the new tokens; those that would be written and are shared become copies."""
        copies: list[tuple[int, int]] = []
        try:
            for slot, start, count in zip(rows.slots_B, rows.starts_B, rows.counts_B, strict=True):
                # whoever made the sequence shorter left its pages standing
                self._release(slot, -(-start // self.page))
                table = self.tables[slot]
                if start % self.page and self._counts[table[-1]] > 1:
                    copies.append((table[-1], self._take()))
                    self._counts[table[-1]] -= 1
                    table[-1] = copies[-1][1]
                while len(table) * self.page < start + count:
                    table.append(self._take())
        finally:  # all of them at once; those of earlier rows even if a later one finds no page
            if copies:
                sources, targets = torch.tensor(copies, device=self._device).unbind(1)
                for layer in self.layers:
                    layer.copy_slots(sources, targets)

    def _release(self, slot: int, kept: int) -> None:
        table = self.tables[slot]
        for page in table[kept:]:
            self._counts[page] -= 1
            if not self._counts[page]:
                self._idle.append(page)
        del table[kept:]

    def _take(self) -> int:
        if not self._idle:
            self._grow()
        page = self._idle.pop()
        self._counts[page] = 1
        return page

    def _grow(self) -> None:
        before, after = len(self._counts), min(max(2 * len(self._counts), FIRST), self.most)
        remedy = "give fewer slots or a shorter length"
        if after <= max(before, 1):
            raise NoSpace(f"all {max(before - 1, 0)} pages of the cache are in use; {remedy}")
        try:
            for layer in self.layers:
                layer.grow(after)
        except torch.OutOfMemoryError as error:
            raise NoSpace(
                f"no memory for a cache of {after} pages of {self.page} tokens; {remedy}"
            ) from error
        self._counts += [0] * (after - before)
        self._idle += range(after - 1, max(before, 1) - 1, -1)


def refusal(shape: Shape, page: int, cache: Tensor) -> str | None:
    """Why such a model's pages cannot be read by the CUDA kernel, one line, or None: they can."""
    if shape.attention_cap is not None:
        return "the kernel for pages knows no capped scores"
    if page % PAGE:
        return f"the kernel for pages wants multiples of {PAGE} tokens, not {page}"
    sizes = shape.heads, shape.kv_heads, shape.head_dim, shape.window
    return varlen.refusal(*sizes, cache.dtype, cache.device)


def append(reading: varlen.Reading) -> Append:
    """Each new token is a row of its own, which writes to its place of its page."""
    pages_N1, places_N1 = reading.places()
    return Append(slice(0), pages_N1, places_N1, 0, None, None, False, reading)


def padded(tables: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tables of one length: behind a shorter one stands the spare page."""
    longest = max(len(table) for table in tables)
    return [[*table, *(0,) * (longest - len(table))] for table in tables]
