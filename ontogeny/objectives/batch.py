"""One micro-batch of tokens. Knows no model, no tokenizer and no file.

Shape suffixes: B rows, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor
    documents: Sequence[Sequence[int]] | None = None
    name: str = ""

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

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        if self.tokens_BT.device == device:
            return self
        return Batch(
            self.tokens_BT.to(device, non_blocking=True),
            self.targets_BT.to(device, non_blocking=True),
            self.weights_BT.to(device, non_blocking=True),
            self.documents,
            self.name,
        )
