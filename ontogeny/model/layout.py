"""How packed rows are laid out for attention. Knows no weights.

The model works on one stream of tokens. Here documents of nearly equal length are put side by
side, so that attention is a few batched causal calls without any mask: what a token may see is
its block's own past, and padding stands at the end where causality hides it. Reordering costs one
gather of integers at the entrance and nothing inside the layers.

Shape suffixes: B rows, T tokens of a row, N tokens of the stream (padding included), n documents
of a block, L tokens of its longest document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SLACK = 0.1
"""Share of a block's length that a document in it may lack; more saves calls, costs padding."""


Fork = tuple[int, int]
"""(tokens of the stem, tokens of the first branch) of a document; the second branch is the rest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A chain of tokens, the first of them in an earlier stream.

    Args:
        kept: how many of the tokens that the stem keeps, from its first on.
        spans: (start, stop) of those that follow, in the stream itself.
    """

    kept: int
    spans: tuple[tuple[int, int], ...]

    def of(self, kept_PJD: Tensor | None, new_NJD: Tensor) -> Tensor:
        """Their rows (K, J, D); a view where they are neighbours."""
        parts = [new_NJD[start:stop] for start, stop in self.spans]
        if self.kept:
            assert kept_PJD is not None, "an earlier stream keeps nothing"
            parts.insert(0, kept_PJD[: self.kept])
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the L tokens of a block of one document see.

    Args:
        seen: K tokens, the block's own last.
        mask_LK: True where a token may look; or 0 there and -inf elsewhere, to be added to scores.
        window_mask_LK: the same in layers with a window.
    """

    seen: Seen
    mask_LK: Tensor
    window_mask_LK: Tensor


class Stem:
    """Keys and values of a chain of tokens, layer by layer, from one stream to the next.

    It holds as much as a cache of one sequence of the chain's length.

    Args:
        keep: the chain that the stream under way leaves behind.
    """

    def __init__(self) -> None:
        self.keep = Seen(0, ())
        self._layers: dict[object, tuple[Tensor, Tensor]] = {}

    def exchange(
        self, layer: object, keys_NJD: Tensor, values_NJD: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """What `layer` had kept; from now on it keeps `keep` of that and of these."""
        old = self._layers.pop(layer, (None, None))
        if self.keep.kept or self.keep.spans:
            new = self.keep.of(old[0], keys_NJD), self.keep.of(old[1], values_NJD)
            # a view would hold the whole stream
            self._layers[layer] = new[0].clone(), new[1].clone()
        return old


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each token of a batch stands in the stream.

    Args:
        blocks: (n, L) of each block; block after block they make up the stream, N = sum(n * L).
        source_N: flat position in (B, T) of each stream token (0 for padding), or None: identity.
        stream_M: stream position of each flat token of (B, T), M = B * T, or None: identity.
        positions_N: place of each stream token in its own document, or None where the stream is
            one block and positions are simply 0..L-1 in each of its n documents.
        sights: what each block sees, None where that is its documents' own past; or None: so
            everywhere, and nothing is kept.
        stem: what earlier streams keep for this one, and this one for later ones.
    """

    blocks: tuple[tuple[int, int], ...]
    source_N: Tensor | None
    stream_M: Tensor | None
    positions_N: Tensor | None
    sights: tuple[Sight | None, ...] | None = None
    stem: Stem | None = None


def layout(
    rows: int,
    length: int,
    documents: Sequence[Sequence[int]] | None,
    device: torch.device,
    forks: Sequence[Sequence[Fork | None]] | None = None,
    window: int = 0,
) -> Layout:
    """The layout of (rows, length) tokens whose documents have these lengths (None: one a row).

    Args:
        forks: for each row, of each document: how it divides, or None; see `Batch.forks`.
        window: of the layers that have one, or 0.
    """
    if forks is None and (documents is None or all(len(row) == 1 for row in documents)):
        return Layout(((rows, length),), None, None, None)
    assert documents is not None
    starts, lengths = _documents(documents, length)
    divided = _divided(documents, forks)
    order = sorted(range(len(lengths)), key=lambda d: -lengths[d])
    blocks, source, positions, stream = [], [], [], torch.empty(rows * length, dtype=torch.int64)
    sights: list[Sight | None] = []
    filled = 0
    for group in _groups(order, lengths, divided):
        longest, fork = lengths[group[0]], divided[group[0]]
        place_L = torch.arange(longest)
        start_n = torch.tensor([starts[d] for d in group])
        length_n = torch.tensor([lengths[d] for d in group])
        inside_nL = place_L < length_n[:, None]
        source_nL = (start_n[:, None] + place_L) * inside_nL
        stream_nL = filled + torch.arange(len(group) * longest).view(len(group), longest)
        stream[source_nL[inside_nL]] = stream_nL[inside_nL]
        blocks.append((len(group), longest))
        source.append(source_nL.flatten())
        positions.append(_positions(place_L, fork).repeat(len(group)))
        sights.append(_sight(filled, positions[-1], fork, window, device) if fork else None)
        filled += len(group) * longest
    return Layout(
        tuple(blocks),
        torch.cat(source).to(device),
        stream.to(device),
        torch.cat(positions).to(device),
        tuple(sights) if any(sights) else None,
        Stem() if any(sights) else None,
    )


def _divided(
    documents: Sequence[Sequence[int]], forks: Sequence[Sequence[Fork | None]] | None
) -> list[Fork | None]:
    """How each document that holds a token divides."""
    if forks is None:
        return [None for row in documents for part in row if part]
    pairs = zip(documents, forks, strict=True)
    return [fork for row, own in pairs for part, fork in zip(row, own, strict=True) if part]


def _positions(place_L: Tensor, fork: Fork | None) -> Tensor:
    """place_L, begun again behind the stem where the second branch begins."""
    if fork is None:
        return place_L
    stem, first = fork
    return place_L - first * (place_L >= stem + first)


def _sight(start: int, positions_L: Tensor, fork: Fork, window: int, device: torch.device) -> Sight:
    """What the tokens of a document that divides see: their own branch and the stem."""
    stem, first = fork
    place_L = torch.arange(len(positions_L))
    second_L = place_L >= stem + first
    between_L = (place_L >= stem) & ~second_L
    mask_LK = (place_L <= place_L[:, None]) & ~(second_L[:, None] & between_L)
    near_LK = mask_LK
    if 0 < window <= int(positions_L.max()):
        near_LK = mask_LK & (positions_L[:, None] - positions_L < window)
    seen = Seen(0, ((start, start + len(positions_L)),))
    return Sight(seen, mask_LK.to(device), near_LK.to(device))


def _documents(documents: Sequence[Sequence[int]], length: int) -> tuple[list[int], list[int]]:
    """Flat starts and lengths of all documents that hold a token."""
    starts, lengths = [], []
    for row, parts in enumerate(documents):
        start = row * length
        for part in parts:
            if part:
                starts.append(start)
                lengths.append(part)
            start += part
    return starts, lengths


def _groups(
    order: list[int], lengths: list[int], divided: list[Fork | None]
) -> Iterator[list[int]]:
    """Documents, longest first, in groups that lack at most `SLACK` of their longest.

    One that divides stands alone.
    """
    group: list[int] = []
    for document in order:
        if divided[document]:
            yield [document]
            continue
        if group and lengths[document] < (1 - SLACK) * lengths[group[0]]:
            yield group
            group = []
        group.append(document)
    if group:
        yield group
