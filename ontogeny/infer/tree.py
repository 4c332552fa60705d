"""The prefix tree of token sequences, read depth first, a bounded number of tokens at a time.

Knows no model: it says which tokens are read, in which order, and what each of them may see.

Sorted sequences share prefixes with their neighbours, so each adds one run of new tokens to the
path of the one before it. A pass takes the next tokens in this order; of what earlier passes read,
its tokens see one chain at most, whose keys and values are kept. So no token is read twice. Within
a pass, runs that hang close together make a piece, which is attended to in one call under a mask.

Shape suffixes: D distinct tokens, U tokens of a piece, K tokens that it sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ontogeny.model.layout import Seen

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """New tokens of one sequence, a chain that hangs in the path of the sequence before it.

    Args:
        first: number of its first token.
        depth: place of its first token in the sequence.
        count: how many there are, at least 1.
        alone: it begins a sequence and nothing hangs in it.
    """

    first: int
    depth: int
    count: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """Distinct tokens in the order in which they are read.

    Args:
        ids_D: token ids.
        depths_D: each token's place in its sequences.
        runs: follow one another without a gap.
        ends: for each sequence the numbers of its last tokens, as many as were asked for.
    """

    ids_D: Numbers
    depths_D: Numbers
    runs: list[Run]
    ends: list[Numbers]


def grow(sequences: Sequence[Numbers], tails: Sequence[int]) -> Tree:
    """The tree of `sequences`; `tails` is how many of the last tokens of each `ends` names."""
    order, shared = _sorted(sequences)
    ids: list[Numbers] = []
    depths: list[Numbers] = []
    runs: list[Run] = []
    ends = [np.empty(0, np.int64)] * len(sequences)
    path = np.empty(max(map(len, sequences), default=0), np.int64)
    filled = 0
    for component in _components(sequences, order, shared):
        alone = sum(len(sequences[n]) > depth for n, depth in component) == 1
        for number, depth in component:
            sequence = sequences[number]
            count = len(sequence) - depth
            if count:
                runs.append(Run(filled, depth, count, alone))
                ids.append(sequence[depth:])
                depths.append(np.arange(depth, len(sequence)))
                path[depth : len(sequence)] = np.arange(filled, filled + count)
                filled += count
            ends[number] = path[len(sequence) - tails[number] : len(sequence)].copy()
    if not runs:
        return Tree(path, path, [], ends)
    return Tree(np.concatenate(ids), np.concatenate(depths), runs, ends)


def _sorted(sequences: Sequence[Numbers]) -> tuple[list[int], list[int]]:
    """Numbers of the sequences in the order of their ids, and what each shares with the last."""
    keys = [sequence.astype(">u4").tobytes() for sequence in sequences]  # compare as their ids do
    order = sorted(range(len(sequences)), key=keys.__getitem__)
    shared = [0] * len(order)
    for place in range(1, len(order)):
        one, other = sequences[order[place - 1]], sequences[order[place]]
        common = min(len(one), len(other))
        differ = one[:common] != other[:common]
        shared[place] = int(differ.argmax()) if differ.any() else common
    return order, shared


def _components(
    sequences: Sequence[Numbers], order: list[int], shared: list[int]
) -> list[list[tuple[int, int]]]:
    """(sequence, shared tokens) of those with a first token in common; the longest lone ones first.

    Lone sequences of one length are so read side by side.
    """
    components: list[list[tuple[int, int]]] = []
    for number, depth in zip(order, shared, strict=True):
        if depth == 0:
            components.append([])
        components[-1].append((number, depth))
    return sorted(components, key=lambda each: -len(sequences[each[0][0]]) * (len(each) == 1))


@dataclass(frozen=True, slots=True)
class Cost:
    """What decides how attention is cut into calls.

    Args:
        piece: most tokens of one call that share a mask.
        call: one call's own cost, in products of a query with a key.
        copy: cost of copying one key and value to where a call finds them, in the same unit.
    """

    piece: int
    call: int
    copy: int


@dataclass(frozen=True, slots=True)
class Block:
    """Tokens that attend in one call.

    Args:
        count: chains side by side, each seeing its own past alone; 1 where there is a mask.
        length: tokens of each.
        sight: K tokens, the block's own last, and mask_UK: True where a token may look; or None.
    """

    count: int
    length: int
    sight: tuple[Seen, NDArray[np.bool_]] | None


@dataclass(frozen=True, slots=True)
class Pass:
    """Tokens `first` to `stop` of a tree, block after block.

    Args:
        keep: the chain that later passes see.
    """

    first: int
    stop: int
    blocks: list[Block]
    keep: Seen


def passes(tree: Tree, most_tokens: int, cost: Cost) -> Iterator[Pass]:
    """The whole tree in passes of at most `most_tokens`, each but the last nearly full."""
    assert most_tokens >= 1, most_tokens
    path = np.empty(int(tree.depths_D.max()) + 1 if tree.runs else 0, np.int64)
    begin, pieces = 0, list[_Piece]()
    for run in tree.runs:
        first, depth, left = run.first, run.depth, run.count
        whole = run.alone and run.count <= most_tokens
        while left:
            room = most_tokens - (first - begin)
            if room < (left if whole else 1):
                yield Pass(begin, first, _blocks(pieces), _seen(path[:depth], begin))
                begin, pieces = first, []
                continue
            count = left if whole else min(left, room, cost.piece)
            if whole or not (pieces and pieces[-1].takes(depth, count, cost)):
                pieces.append(_Piece(first - begin, _seen(path[:depth], begin), depth, whole))
            pieces[-1].add(path[:depth] - begin, count)
            path[depth : depth + count] = np.arange(first, first + count)
            first, depth, left = first + count, depth + count, left - count
    if pieces:
        yield Pass(begin, len(tree.ids_D), _blocks(pieces), Seen(0, ()))


class _Piece:
    """Neighbouring runs under construction; all of them hang in or below one chain."""

    def __init__(self, start: int, above: Seen, depth: int, whole: bool) -> None:
        self.start, self.above, self.depth, self.whole = start, above, depth, whole
        self.parts: list[tuple[int, Numbers]] = []
        self.length = 0

    def takes(self, depth: int, count: int, cost: Cost) -> bool:
        """Whether `count` tokens that hang at `depth` are cheaper here than in their own call."""
        if self.whole or depth < self.depth or self.length + count > cost.piece:
            return False
        return count * (self.depth + 2 * self.length - depth) <= cost.call + cost.copy * depth

    def add(self, path: Numbers, count: int) -> None:
        """`count` tokens that hang in `path`, given as places in the pass."""
        self.parts.append((count, path[self.depth :] - self.start))
        self.length += count

    def block(self) -> Block:
        """What it became."""
        if len(self.parts) == 1 and self.depth == 0:
            return Block(1, self.length, None)
        mask_UK = np.ones((self.length, self.depth + self.length), np.bool_)
        own_UU = mask_UK[:, self.depth :]
        own_UU[:] = False
        start = 0
        for count, path in self.parts:
            stop = start + count
            own_UU[start:stop, path] = True
            own_UU[start:stop, start:stop] = np.tri(count, dtype=np.bool_)
            start = stop
        stop = self.start + self.length
        return Block(1, self.length, (_joined(self.above, self.start, stop), mask_UK))


def _joined(seen: Seen, start: int, stop: int) -> Seen:
    """`seen`, and a span of the pass behind it."""
    *spans, last = seen.spans or ((start, start),)
    if last[1] == start:
        return Seen(seen.kept, (*spans, (last[0], stop)))
    return Seen(seen.kept, (*seen.spans, (start, stop)))


def _blocks(pieces: Sequence[_Piece]) -> list[Block]:
    """Of all pieces; lone chains of one length become one block."""
    blocks: list[Block] = []
    for block in (piece.block() for piece in pieces):
        last = blocks[-1] if blocks else None
        if last and not last.sight and not block.sight and last.length == block.length:
            blocks[-1] = Block(last.count + 1, last.length, None)
        else:
            blocks.append(block)
    return blocks


def _seen(path: Numbers, begin: int) -> Seen:
    """`path` in a pass that begins at token `begin`: what was kept, then spans of the pass."""
    kept = int(np.searchsorted(path, begin))  # numbers rise along a path
    inside = path[kept:] - begin
    cuts = np.flatnonzero(np.diff(inside) != 1) + 1
    parts = np.split(inside, cuts) if len(inside) else []
    return Seen(kept, tuple((int(part[0]), int(part[-1]) + 1) for part in parts))
