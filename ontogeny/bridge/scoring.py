"""Documents -> nats: how surprised a model is by held-out text, document by document, or by what
the assistant says in conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ontogeny.base.artifact import Artifact
from ontogeny.bridge.models import load_model
from ontogeny.corpus.shards import Shard
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.run.work import Work

Sequences = list[npt.NDArray[np.int64]]
TOKENS = 8192
"""Tokens of one forward pass."""


def score_shard(
    artifact: Artifact, shard: Shard, work: Work, window: int = 0, most_tokens: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], float]:
    """`score_documents` with the model in `artifact`, or `score_conversations` where the shard
    says what is learnt; also the FLOPs it took."""
    model, tokenizer = load_model(artifact)
    if shard.weights is not None:
        nats_D, tokens_D, read = score_conversations(model, shard, window)
        return nats_D, tokens_D, read * model.shape.forward_flops_per_token(window or None)
    windows = 0

    def progress(done: int, total: int) -> None:
        nonlocal windows
        windows = total
        work.progress(done, total, "windows")

    nats_D, tokens_D = score_documents(
        model, shard, tokenizer.end_of_text, window, most_tokens, progress, tokenizer.begin
    )
    context = window or model.shape.context
    return nats_D, tokens_D, windows * context * model.shape.forward_flops_per_token(context)


def score_documents(
    model: Transformer,
    shard: Shard,
    end_of_text: int,
    window: int = 0,
    most_tokens: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
    begin: int | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """nats_D, the negative log-likelihood of each document, and tokens_D that were counted.

    Windows slide by half of themselves and count only tokens not counted before, so every token
    but those near a document's beginning is seen with at least half a window before it.

    Args:
        model: in evaluation mode.
        shard: the documents.
        end_of_text: the last target of each document.
        window: tokens seen at once, at most the model's context; 0 is the context.
        most_tokens: count only so many tokens of each document, from its beginning; 0 is all,
            its end included.
        progress: called with (windows done, windows in all).
        begin: stands before each document; `end_of_text` unless told.
    """
    context = window or model.shape.context
    assert context <= model.shape.context, (context, model.shape.context)
    ends = end_of_text if begin is None else begin, end_of_text
    sequences = [_sequence(shard.document(d), ends, most_tokens) for d in range(len(shard))]
    windows = [
        (index, first)
        for index, sequence in enumerate(sequences)
        for first in _window_starts(len(sequence) - 1, context)
    ]
    # Windows of like length share a batch, so that little of it is padding.
    windows.sort(key=lambda each: _width(sequences, each, context))
    nats_D = np.zeros(len(shard))
    rows = max(1, TOKENS // context)
    with torch.inference_mode():
        for start in range(0, len(windows), rows):
            group = windows[start : start + rows]
            batch = _batch(sequences, group, context, end_of_text)
            outputs = model(batch, Needs(weighted_log_prob=True))
            assert outputs.log_probs_BT is not None
            sums_B = -outputs.log_probs_BT.double().sum(1)
            np.add.at(nats_D, [index for index, _ in group], sums_B.cpu().numpy())
            progress(start + len(group), len(windows))
    return nats_D, np.array([len(sequence) - 1 for sequence in sequences], np.int64)


def score_conversations(
    model: Transformer, shard: Shard, window: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
    """nats_D of what the assistant says in each conversation, its tokens_D, and all tokens read.

    Args:
        model: in evaluation mode.
        shard: conversations with weights.
        window: tokens of each conversation that are read, from its beginning; 0 is the context.
    """
    context = window or model.shape.context
    assert context <= model.shape.context, (context, model.shape.context)
    ids = [np.asarray(shard.document(d)[: context + 1], np.int64) for d in range(len(shard))]
    said = [shard.document_weights(d)[: context + 1] for d in range(len(shard))]
    order = sorted(range(len(shard)), key=lambda d: len(ids[d]))
    nats_D, tokens_D = np.zeros(len(shard)), np.array([int(each[1:].sum()) for each in said])
    rows = max(1, TOKENS // context)
    with torch.inference_mode():
        for start in range(0, len(order), rows):
            group = order[start : start + rows]
            width = max(1, max(len(ids[d]) for d in group) - 1)
            tokens_BT = np.zeros((len(group), width), np.int64)
            targets_BT = np.zeros((len(group), width), np.int64)
            weights_BT = np.zeros((len(group), width), np.float32)
            for row, d in enumerate(group):
                read = len(ids[d]) - 1
                tokens_BT[row, :read], targets_BT[row, :read] = ids[d][:-1], ids[d][1:]
                weights_BT[row, :read] = said[d][1:]
            batch = Batch(
                torch.from_numpy(tokens_BT),
                torch.from_numpy(targets_BT),
                torch.from_numpy(weights_BT),
            )
            outputs = model(batch, Needs(weighted_log_prob=True))
            assert outputs.log_probs_BT is not None
            nats_D[group] = -outputs.log_probs_BT.double().sum(1).cpu().numpy()
    return nats_D, tokens_D, sum(len(each) for each in ids)


def _sequence(
    ids: npt.NDArray[Any], ends: tuple[int, int], most_tokens: int
) -> npt.NDArray[np.int64]:
    """The ids to read and to predict: the last one is predicted only."""
    whole = np.concatenate([ends[:1], ids, ends[1:]]).astype(np.int64)
    return whole[: most_tokens + 1] if most_tokens else whole


def _window_starts(targets: int, context: int) -> range:
    """Where windows begin so that they cover `targets` positions, each new half a context."""
    half = max(1, context // 2)
    return range(0, max(1, targets - context + half), half)


def _width(sequences: Sequences, window: tuple[int, int], context: int) -> int:
    index, first = window
    return min(context, len(sequences[index]) - 1 - first)


def _batch(
    sequences: Sequences, windows: list[tuple[int, int]], context: int, end_of_text: int
) -> Batch:
    width = max(_width(sequences, window, context) for window in windows)
    tokens_BT = np.full((len(windows), width), end_of_text, np.int64)
    targets_BT = np.full((len(windows), width), end_of_text, np.int64)
    weights_BT = np.zeros((len(windows), width), np.float32)
    for row, (index, first) in enumerate(windows):
        here = _width(sequences, (index, first), context)
        sequence = sequences[index][first : first + here + 1]
        tokens_BT[row, :here], targets_BT[row, :here] = sequence[:-1], sequence[1:]
        counted = 0 if first == 0 else context - max(1, context // 2)
        weights_BT[row, counted:here] = 1.0
    return Batch(
        torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT), torch.from_numpy(weights_BT)
    )
