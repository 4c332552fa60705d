"""Token shards -> steps of packed batches; what a gradient stage reads.

A text of n ids is the sequence [begin, id_1 .. id_n, end]: the token in front stands for "nothing
before" (the end-of-text token where a tokenizer has no other), the one behind is learnt. Rows are
filled with texts one after the other; a text that does not fit goes on in the next row, without
the context before the cut.

A conversation is the sequence of its own ids, of which only the weighted ones are learnt. A row
takes conversations while they fit and is padded behind; none is ever cut.

Everything follows from the seed and the number of steps taken, so the state is a few integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.corpus.shards import Shard
from ontogeny.objectives.batch import Batch
from ontogeny.plan.memory import Load

Ids = npt.NDArray[np.int64]


class Row(NamedTuple):
    """Inputs, targets and weights, each of shape (context,), and the documents' lengths."""

    inputs: Ids
    targets: Ids
    weights: npt.NDArray[np.float32]
    documents: list[int]


@dataclass(frozen=True)
class Packing:
    """How rows are made: `context` tokens a row, `batch_tokens` a step, `micro_rows` at a time."""

    context: int
    batch_tokens: int
    micro_rows: int
    end_of_text: int
    seed: int
    begin: int | None = None
    """Stands before a text; `end_of_text` unless told."""

    def __post_init__(self) -> None:
        assert self.batch_tokens % self.context == 0, (self.batch_tokens, self.context)

    @property
    def rows(self) -> int:
        """Rows in one optimizer step."""
        return self.batch_tokens // self.context


@dataclass
class Stream:
    """Endless passes over the documents of one domain, in a new order each epoch.

    Raises:
        InputError: when the domain is empty, or a conversation is longer than a row.
    """

    name: str
    shard: Shard
    packing: Packing
    epoch: int = 0
    place: int = 0
    offset: int = 0
    _order: Ids = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.shard):
            raise InputError(f"domain '{self.name}' has no documents; leave it out of the mixture")
        longest = int(np.diff(self.shard.starts).max())
        if self.shard.weights is not None and longest > self.packing.context + 1:
            raise InputError(
                f"a conversation of domain '{self.name}' has {longest} tokens, a row "
                f"{self.packing.context}; shorten it or train with a longer context"
            )
        self._order = self._shuffled()

    def _shuffled(self) -> Ids:
        seed = named_seed(self.packing.seed, "order", self.name, self.epoch)
        return np.random.default_rng(seed).permutation(len(self.shard))

    def state(self) -> dict[str, int]:
        """Where the stream stands."""
        return {"epoch": self.epoch, "place": self.place, "offset": self.offset}

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes back to where `state` was taken."""
        self.epoch, self.place, self.offset = state["epoch"], state["place"], state["offset"]
        self._order = self._shuffled()

    def row(self) -> Row:
        """The next row."""
        return self._text_row() if self.shard.weights is None else self._chat_row()

    def _text_row(self) -> Row:
        inputs: list[Ids] = []
        targets: list[Ids] = []
        room = self.packing.context
        while room:
            ids = self.shard.document(int(self._order[self.place]))
            stop = min(self.offset + room, len(ids) + 1)
            inputs.append(self._between(ids, self.offset - 1, stop - 1))
            targets.append(self._between(ids, self.offset, stop))
            room -= stop - self.offset
            self.offset = stop
            if stop == len(ids) + 1:
                self._next_document()
        weights = np.ones(self.packing.context, np.float32)
        lengths = [len(part) for part in inputs]
        return Row(np.concatenate(inputs), np.concatenate(targets), weights, lengths)

    def _chat_row(self) -> Row:
        width = self.packing.context
        row = Row(
            np.full(width, self.packing.end_of_text, np.int64),
            np.full(width, self.packing.end_of_text, np.int64),
            np.zeros(width, np.float32),
            [],
        )
        filled = 0
        while True:
            index = int(self._order[self.place])
            ids = self.shard.document(index)
            stop = filled + len(ids) - 1
            if stop > width:
                break
            row.inputs[filled:stop], row.targets[filled:stop] = ids[:-1], ids[1:]
            row.weights[filled:stop] = self.shard.document_weights(index)[1:]
            row.documents.append(stop - filled)
            filled = stop
            self._next_document()
        if filled < width:
            row.documents.append(width - filled)
        return row

    def _between(self, ids: npt.NDArray[Any], first: int, stop: int) -> Ids:
        """`ids[first:stop]` with the beginning at -1 and the end of the text at len(ids)."""
        end = [self.packing.end_of_text]
        begin = end if self.packing.begin is None else [self.packing.begin]
        parts = (begin[: first < 0], ids[max(first, 0) : stop], end[: stop > len(ids)])
        return np.concatenate(parts).astype(np.int64)

    def _next_document(self) -> None:
        self.offset = 0
        self.place += 1
        if self.place == len(self.shard):
            self.place = 0
            self.epoch += 1
            self._order = self._shuffled()


class PackedSteps:
    """`count` optimizer steps drawn from a mixture of domains.

    Each row comes from one domain, chosen with the mixture's weight by a draw that depends on the
    seed, the step and the row alone.

    Args:
        shards: the documents of each domain.
        mixture: weight of each domain; they need not add up to 1.
        packing: how rows are made.
        count: optimizer steps in all.

    Raises:
        InputError: when the mixture names a domain that is not there, or its weights are useless.
    """

    def __init__(
        self,
        shards: Mapping[str, Shard],
        mixture: Mapping[str, float],
        packing: Packing,
        count: int,
    ) -> None:
        missing = sorted(set(mixture) - set(shards))
        if missing:
            known = ", ".join(sorted(shards))
            raise InputError(f"the mixture names '{missing[0]}'; the corpus has {known}")
        total = sum(mixture.values())
        if not mixture or min(mixture.values()) < 0 or not 0 < total < float("inf"):
            raise InputError("the mixture's weights must be 0 or more, and one of them above 0")
        self.count = count
        self.taken = 0
        self.packing = packing
        self._names = sorted(name for name in mixture if mixture[name] > 0)
        self._shares = np.array([mixture[name] / total for name in self._names])
        self._streams = {name: Stream(name, shards[name], packing) for name in self._names}

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __len__(self) -> int:
        return self.count

    def __next__(self) -> list[Batch]:
        if self.taken == self.count:
            raise StopIteration
        seed = named_seed(self.packing.seed, "mixture", self.taken)
        draws = np.random.default_rng(seed).choice(
            len(self._names), self.packing.rows, p=self._shares
        )
        rows = [self._streams[self._names[draw]].row() for draw in draws]
        self.taken += 1
        size = self.packing.micro_rows
        return [
            _batch(rows[first : first + size], f"step {self.taken} rows {first}+")
            for first in range(0, len(rows), size)
        ]

    def load(self) -> Load:
        """Every step has as many rows."""
        return Load(rows=self.packing.rows, width=self.packing.context)

    def state(self) -> dict[str, Any]:
        """Where the mixture stands after the last step taken."""
        streams = {name: stream.state() for name, stream in self._streams.items()}
        return {"taken": self.taken, "streams": streams}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to where `state` was taken."""
        self.taken = int(state["taken"])
        for name, stream in self._streams.items():
            stream.restore(state["streams"][name])


def _batch(rows: list[Row], name: str) -> Batch:
    tokens_BT, targets_BT, weights_BT = (
        torch.from_numpy(np.stack([row[part] for row in rows])) for part in range(3)
    )
    return Batch(tokens_BT, targets_BT, weights_BT, [row.documents for row in rows], name)
