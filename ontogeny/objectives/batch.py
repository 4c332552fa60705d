"""One micro-batch of tokens. Knows no model, no tokenizer and no file.

Shape suffixes: B rows, T tokens of a row, S sequences (answers) in the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of packed documents with a target and a loss weight for each token.

    Args:
        tokens_BT: int64 inputs.
        targets_BT: int64, the token that each input should predict.
        weights_BT: float32, 0 where no loss is taken (prompts, ends, padding).
        documents: for each row the lengths of its documents, which add up to T; a token attends
            to its own document only and positions restart with it. None: each row is one document.
        name: where the rows come from; written to the log when the step is skipped.
        forks: for each row, of each document: (tokens of a stem, tokens of a first branch) where
            what follows is a second branch, which continues the stem and sees nothing of the
            first; None where it is one chain. So two answers read their prompt once.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor
    documents: Sequence[Sequence[int]] | None = None
    name: str = ""
    forks: Sequence[Sequence[tuple[int, int] | None]] | None = None

    def __post_init__(self) -> None:
        shape = self.tokens_BT.shape
        assert len(shape) == 2, shape
        assert self.targets_BT.shape == shape
        assert self.weights_BT.shape == shape
        assert self.tokens_BT.dtype == self.targets_BT.dtype == torch.int64
        assert self.weights_BT.dtype == torch.float32
        if self.documents is not None:
            assert len(self.documents) == shape[0], "one list of lengths for each row"
            assert all(sum(row) == shape[1] for row in self.documents), "lengths add up to T"

    @property
    def tokens(self) -> int:
        """Tokens in the batch, weighted or not."""
        return self.tokens_BT.numel()

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        if self.tokens_BT.device == device:
            return self
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Batch):
    """Rows that hold whole answers, whose tokens are the weighted ones.

    Args:
        answer_BT: int64, which of the S answers a token belongs to; 0 where the weight is 0.
        answers: S.
    """

    answer_BT: Tensor
    answers: int

    def sums(self, values_BT: Tensor) -> Tensor:
        """values_S: the weighted sum of `values_BT` over the tokens of each answer."""
        weighted = (values_BT * self.weights_BT).flatten()
        return weighted.new_zeros(self.answers).index_add(0, self.answer_BT.flatten(), weighted)

    def lengths(self) -> Tensor:
        """lengths_S: weighted tokens of each answer."""
        return self.sums(torch.ones_like(self.weights_BT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Answers):
    """Preference pairs: answer 2 p is the chosen one of pair p, answer 2 p + 1 the rejected one.

    Args:
        reference_S: log-prob of each answer under the frozen reference, summed, nats.
    """

    reference_S: Tensor

    def __post_init__(self) -> None:
        Batch.__post_init__(self)
        assert self.answers == len(self.reference_S)
        assert self.answers % 2 == 0, self.answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts(Answers):
    """Sampled answers with their credit; the turns of one episode are one answer.

    Args:
        advantage_S: of each answer; every token of it gets the same.
        reward_S: as scored, for the log; 0 where the score is no finite number.
        sampled_BT: log-prob of each token as it was sampled, nats, 0 where the weight is 0.
        reference_BT: the same under a frozen reference, or None where no KL term is taken.
        turn_BT: int64, which turn a token belongs to, counted over all answers; 0 where the weight
            is 0. None where nothing is normalised by turn.
        turns: how many turns there are.
    """

    advantage_S: Tensor
    reward_S: Tensor
    sampled_BT: Tensor
    reference_BT: Tensor | None = None
    turn_BT: Tensor | None = None
    turns: int = 0

    def __post_init__(self) -> None:
        Batch.__post_init__(self)
        assert self.answers == len(self.advantage_S) == len(self.reward_S)
        assert self.sampled_BT.shape == self.tokens_BT.shape
