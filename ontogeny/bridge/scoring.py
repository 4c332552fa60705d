"""Documents -> nats: how surprised a model is by held-out text, document by document."""

from __future__ import annotations

from collections.abc import Callable

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

ROWS = 32


def score_shard(
    artifact: Artifact, shard: Shard, work: Work
) -> tuple[npt.NDArray[np.float64], float]:
    """`score_documents` with the model in `artifact`; also the FLOPs it took."""
    model, tokenizer = load_model(artifact)
    windows = 0

    def progress(done: int, total: int) -> None:
        nonlocal windows
        windows = total
        work.progress(done, total, "windows")

    nats_D = score_documents(model, shard, tokenizer.end_of_text, progress)
    context = model.shape.context
    return nats_D, windows * context * model.shape.forward_flops_per_token()


def score_documents(
    model: Transformer,
    shard: Shard,
    end_of_text: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> npt.NDArray[np.float64]:
    """nats_D: the negative log-likelihood of each whole document, its end included.

    Windows of the model's context slide by half of it and count only tokens not counted before,
    so every token but those near a document's beginning is seen with at least half a context.

    Args:
        model: in evaluation mode.
        shard: the documents.
        end_of_text: stands before each document and is its last target.
        progress: called with (windows done, windows in all).
    """
    windows = [
        (index, first)
        for index in range(len(shard))
        for first in _window_starts(len(shard.document(index)) + 1, model.shape.context)
    ]
    # Windows of like length share a batch, so that little of it is padding.
    windows.sort(key=lambda window: _width(shard, window, model.shape.context))
    nats_D = np.zeros(len(shard))
    with torch.inference_mode():
        for start in range(0, len(windows), ROWS):
            group = windows[start : start + ROWS]
            batch = _batch(shard, group, model.shape.context, end_of_text)
            outputs = model(batch, Needs(weighted_log_prob=True))
            assert outputs.log_probs_BT is not None
            sums_B = -outputs.log_probs_BT.double().sum(1)
            np.add.at(nats_D, [index for index, _ in group], sums_B.cpu().numpy())
            progress(start + len(group), len(windows))
    return nats_D


def _window_starts(targets: int, context: int) -> range:
    """Where windows begin so that they cover `targets` positions, each new half a context."""
    half = max(1, context // 2)
    return range(0, max(1, targets - context + half), half)


def _width(shard: Shard, window: tuple[int, int], context: int) -> int:
    index, first = window
    return min(context, len(shard.document(index)) + 1 - first)


def _batch(shard: Shard, windows: list[tuple[int, int]], context: int, end_of_text: int) -> Batch:
    width = max(_width(shard, window, context) for window in windows)
    tokens_BT = np.full((len(windows), width), end_of_text, np.int64)
    targets_BT = np.full((len(windows), width), end_of_text, np.int64)
    weights_BT = np.zeros((len(windows), width), np.float32)
    for row, (index, first) in enumerate(windows):
        ids = shard.document(index)
        here = _width(shard, (index, first), context)
        sequence = np.concatenate([[end_of_text], ids, [end_of_text]])[first : first + here + 1]
        tokens_BT[row, :here], targets_BT[row, :here] = sequence[:-1], sequence[1:]
        counted = 0 if first == 0 else context - max(1, context // 2)
        weights_BT[row, counted:here] = 1.0
    return Batch(
        torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT), torch.from_numpy(weights_BT)
    )
