"""Whole token sequences -> packed rows: what learns from answers reads.

Knows no objective's formula. Sequences are laid side by side, each sees only itself, none is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ontogeny.base.errors import InputError


@dataclass(frozen=True, slots=True)
class Said:
    """A prompt and what was said after it, as they were read and sampled."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.prompt
        assert self.answer

    @property
    def ids(self) -> tuple[int, ...]:
        """Of both."""
        return (*self.prompt, *self.answer)

    @property
    def chosen(self) -> tuple[bool, ...]:
        """Which of `ids` are the answer's."""
        return (*(False,) * len(self.prompt), *(True,) * len(self.answer))

    @property
    def positions(self) -> int:
        """Tokens that the model reads: all but the last one."""
        return len(self.prompt) + len(self.answer) - 1


@dataclass(frozen=True, slots=True)
class Told:
    """A whole episode: turns that were read and turns that were sampled, one after the other.

    Attributes:
        ids: as they were read and sampled.
        chosen: which of them the policy chose; the first one is read, at least one is chosen.
    """

    ids: tuple[int, ...]
    chosen: tuple[bool, ...]

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.chosen)
        assert any(self.chosen)
        assert not self.chosen[0]

    @property
    def positions(self) -> int:
        """Tokens that the model reads: all but the last one."""
        return len(self.ids) - 1

    def continued(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What stands before the first chosen token, and all from there."""
        first = self.chosen.index(True)
        return self.ids[:first], self.ids[first:]

    def kept(self, values: Sequence[float]) -> list[float]:
        """Those of the chosen ones, of one value for each token of the second of `continued`."""
        first = self.chosen.index(True)
        return [each for each, own in zip(values, self.chosen[first:], strict=True) if own]


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of the answers `said[first], said[first + 1] ...` in order.

    Attributes:
        tokens_BT, targets_BT, weights_BT, documents: as in `objectives.batch.Batch`; the weight
            is 1 where the target belongs to an answer.
        answer_BT: which answer, counted from 0.
        turn_BT: which run of weighted tokens of an answer, counted from 0 over all answers.
        turns: how many such runs there are.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor
    documents: list[list[int]]
    answer_BT: Tensor
    turn_BT: Tensor
    turns: int

    def spread(self, values: Sequence[Sequence[float]]) -> Tensor:
        """values_BT: one log-prob for each weighted token of each answer, 0 elsewhere.

        Raises:
            InputError: one is not finite: a policy did not tell it.
        """
        flat_M = torch.zeros(self.tokens_BT.numel())
        inside_M = self.weights_BT.flatten() > 0
        numbers = torch.tensor([number for answer in values for number in answer])
        if not numbers.isfinite().all():
            raise InputError(
                "a token of a rollout has no log-prob, so it cannot be learnt from; "
                "sample with a policy that tells them"
            )
        flat_M[inside_M] = numbers.float()
        return flat_M.view_as(self.weights_BT)


def pieces(
    positions: Sequence[int], width: int, most_rows: int, together: int = 1
) -> list[tuple[slice, int]]:
    """Micro-batches of at most `most_rows` rows of `width`: which sequences, and their rows.

    The sequences stay in order; each run of `together` of them stays in one micro-batch, even
    where it alone takes more rows.

    Args:
        positions: tokens of each sequence, none above `width`.
    """
    found: list[tuple[slice, int]] = []
    first, rows, filled = 0, 1, 0
    for start in range(0, len(positions), together):
        unit = positions[start : start + together]
        taken, room = _laid(unit, width, rows, filled)
        if taken > most_rows and start > first:
            found.append((slice(first, start), rows))
            first = start
            taken, room = _laid(unit, width, 1, 0)
        rows, filled = taken, room
    return [*found, (slice(first, len(positions)), rows)]


def _laid(positions: Iterable[int], width: int, rows: int, filled: int) -> tuple[int, int]:
    """(rows begun, tokens in the last one) when `positions` stand behind what is there."""
    for length in positions:
        if filled + length > width:
            rows, filled = rows + 1, 0
        filled += length
    return rows, filled


def row_width(longest: int, context: int, least: int) -> int:
    """Tokens of a row that holds the longest sequence, and others: `least` where that suffices.

    The number of rows is no result, their padding costs time and memory.
    """
    return min(context, max(least, longest))


def pack(said: Sequence[Said | Told], width: int, fill: int) -> Packed:
    """Lays answers into rows of `width` tokens, as many rows as it takes, in their order.

    Args:
        fill: id in the places behind the last sequence of a row.

    Raises:
        InputError: a sequence does not fit into a row.
    """
    places, documents = _places([each.positions for each in said], width)
    shape = (len(documents), width)
    tokens, targets = np.full(shape, fill), np.full(shape, fill)
    weights = np.zeros(shape, np.float32)
    answers, numbers, turns = np.zeros(shape, np.int64), np.zeros(shape, np.int64), 0
    for number, (each, (row, start)) in enumerate(zip(said, places, strict=True)):
        here = slice(start, start + each.positions)
        ids, chosen = each.ids, np.array(each.chosen)
        begins = chosen[1:] & ~chosen[:-1]
        tokens[row, here], targets[row, here] = ids[:-1], ids[1:]
        weights[row, here] = chosen[1:]
        answers[row, here] = chosen[1:] * number
        numbers[row, here] = chosen[1:] * (turns - 1 + np.cumsum(begins))
        turns += int(begins.sum())
    for lengths in documents:
        if sum(lengths) < width:
            lengths.append(width - sum(lengths))
    return Packed(
        torch.from_numpy(tokens),
        torch.from_numpy(targets),
        torch.from_numpy(weights),
        documents,
        torch.from_numpy(answers),
        torch.from_numpy(numbers),
        turns,
    )


def _places(positions: Sequence[int], width: int) -> tuple[list[tuple[int, int]], list[list[int]]]:
    """(row, first token) of each sequence, and the lengths that stand in each row."""
    places: list[tuple[int, int]] = []
    documents: list[list[int]] = [[]]
    for length in positions:
        if length > width:
            raise InputError(
                f"a prompt with its answer takes {length} tokens, a row has {width}; "
                "shorten the answers or lengthen the context"
            )
        if sum(documents[-1]) + length > width:
            documents.append([])
        places.append((len(documents) - 1, sum(documents[-1])))
        documents[-1].append(length)
    return places, documents
