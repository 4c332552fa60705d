"""Scoring counts every token once, whatever the windows, and agrees with one long forward."""

import numpy as np
import pytest
import torch

from ontogeny.bridge.scoring import score_documents
from ontogeny.corpus.shards import Shard
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape

END = 0


def model(context: int) -> Transformer:
    made = Transformer(Shape(50, 16, 2, 2, 1, 8, 32, context))
    initialise(made, seed=1)
    return made.eval()


def documents(lengths: list[int]) -> Shard:
    draw = np.random.default_rng(0)
    ids = draw.integers(1, 50, sum(lengths)).astype(np.uint16)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Shard(ids, starts, np.array(lengths, np.int64))


def direct(made: Transformer, ids: np.ndarray, context: int) -> float:  # type: ignore[type-arg]
    """Every token alone, with the context that the windows give it."""
    sequence = np.concatenate([[END], ids, [END]]).astype(np.int64)
    half, nats = context // 2, 0.0
    for position in range(1, len(sequence)):
        first = 0 if position <= context else (position - context + half - 1) // half * half
        state = made.new_state(1, context)
        window = torch.from_numpy(sequence[first:position])[None]
        logits = made.extend(window, [position - first], [0], state)
        nats -= float(torch.log_softmax(logits.double(), -1)[0, sequence[position]])
    return nats


@pytest.mark.parametrize("context", [4, 8, 32])
def test_windows_count_every_token_once_with_its_context(context: int) -> None:
    made, shard = model(context), documents([0, 1, 3, 4, 7, 8, 9, 21])
    expected = [direct(made, shard.document(i), context) for i in range(len(shard))]
    assert score_documents(made, shard, END) == pytest.approx(expected, rel=1e-5)


def test_a_longer_context_changes_only_long_documents() -> None:
    short = documents([3, 5])
    torch.manual_seed(0)
    assert score_documents(model(8), short, END) == pytest.approx(
        score_documents(model(32), short, END), rel=1e-5
    )
