"""How differently two models continue the same tokens. Knows no text and no weights.

The logits of a whole batch never exist: a few hundred rows of both models stand side by side.

Shape suffixes: B rows, T tokens of a row, M = B * T, R selected tokens, K rows of one chunk,
C channels, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ontogeny.base.errors import InputError
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch

ROWS = 256
"""Rows of a chunk, each of V float64 numbers a few times over."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Sums over the selected tokens of each row, so that a row can be a unit of an interval.

    Args:
        forward_B: float64, KL(first || second) in nats.
        reverse_B: float64, KL(second || first) in nats.
        agreed_B: int64, tokens after which both find the same token likeliest.
        tokens_B: int64, tokens selected.
    """

    forward_B: Tensor
    reverse_B: Tensor
    agreed_B: Tensor
    tokens_B: Tensor


@torch.inference_mode()
def divergence(
    first: Transformer, second: Transformer, batch: Batch, rows: int = ROWS
) -> Divergence:
    """The divergences of the two next-token distributions, over the whole vocabulary.

    Exact: sum_v p(v) (log p(v) - log q(v)), the log-softmax and the sum in float64, since the
    terms of a small divergence nearly cancel. Same model, same 0.

    Args:
        first: p of `forward_B`.
        second: q of `forward_B`; of the same vocabulary, else of any shape.
        batch: tokens whose weight is not 0 are selected, whatever the weight; no target is read.
        rows: tokens whose logits exist at once.

    Raises:
        InputError: the vocabularies differ in size.
    """
    if first.shape.vocab_size != second.shape.vocab_size:
        raise InputError(
            f"the models have {first.shape.vocab_size} and {second.shape.vocab_size} tokens; "
            "compare models of one vocabulary"
        )
    selected_R = batch.weights_BT.flatten().nonzero()[:, 0].to(first.device)
    row_R = selected_R // batch.tokens_BT.shape[1]
    p_RC, q_RC = (model.states(batch)[selected_R] for model in (first, second))
    size = len(batch.tokens_BT)
    forward_B = torch.zeros(size, dtype=torch.float64, device=first.device)
    reverse_B, agreed_B = torch.zeros_like(forward_B), forward_B.long()
    for start in range(0, len(selected_R), rows):
        chunk = slice(start, start + rows)
        p_KV = torch.log_softmax(first.project(p_RC[chunk]).double(), 1)
        q_KV = torch.log_softmax(second.project(q_RC[chunk]).double(), 1)
        same_K = p_KV.argmax(1) == q_KV.argmax(1)
        gap_KV = p_KV - q_KV
        forward_B.index_add_(0, row_R[chunk], p_KV.exp_().mul_(gap_KV).sum(1))
        reverse_B.index_add_(0, row_R[chunk], q_KV.exp_().mul_(gap_KV).sum(1).neg_())
        agreed_B.index_add_(0, row_R[chunk], same_K.long())
    return Divergence(forward_B, reverse_B, agreed_B, row_R.bincount(minlength=size))
