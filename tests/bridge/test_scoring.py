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


def direct(made: Transformer, sequence: np.ndarray, context: int) -> float:  # type: ignore[type-arg]
    """Every token but the first alone, with the context that the windows give it."""
    half, nats = context // 2, 0.0
    for position in range(1, len(sequence)):
        first = 0 if position <= context else (position - context + half - 1) // half * half
        state = made.new_state(1, context)
        window = torch.from_numpy(sequence[first:position])[None]
        logits = made.extend(window, [position - first], [0], state)
        nats -= float(torch.log_softmax(logits.double(), -1)[0, sequence[position]])
    return nats


def whole(shard: Shard, number: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.concatenate([[END], shard.document(number), [END]]).astype(np.int64)


LENGTHS = [0, 1, 3, 4, 7, 8, 9, 21]


@pytest.mark.parametrize("context", [4, 8, 32])
def test_windows_count_every_token_once_with_its_context(context: int) -> None:
    made, shard = model(context), documents(LENGTHS)
    expected = [direct(made, whole(shard, i), context) for i in range(len(shard))]
    nats, tokens = score_documents(made, shard, END)
    assert nats == pytest.approx(expected, rel=1e-5)
    assert tokens.tolist() == [length + 1 for length in LENGTHS]


def test_a_longer_context_changes_only_long_documents() -> None:
    short = documents([3, 5])
    expected, _ = score_documents(model(32), short, END)
    assert score_documents(model(8), short, END)[0] == pytest.approx(expected, rel=1e-5)


def test_a_window_is_the_context_of_a_shorter_model() -> None:
    """So models of different context are compared on what both could see."""
    shard = documents(LENGTHS)
    expected, _ = score_documents(model(8), shard, END)
    assert score_documents(model(32), shard, END, window=8)[0] == pytest.approx(expected, rel=1e-5)
    assert score_documents(model(32), shard, END)[0] != pytest.approx(expected, rel=1e-5)


def test_most_tokens_counts_beginnings_and_no_end_of_a_document_that_was_cut() -> None:
    made, shard = model(8), documents(LENGTHS)
    nats, tokens = score_documents(made, shard, END, most_tokens=8)
    beginnings = [whole(shard, number)[:9] for number in range(len(shard))]
    assert nats == pytest.approx([direct(made, part, 8) for part in beginnings], rel=1e-5)
    assert tokens.tolist() == [min(length + 1, 8) for length in LENGTHS]


def test_progress_ends_with_all_windows() -> None:
    told: list[tuple[int, int]] = []
    score_documents(model(4), documents(LENGTHS), END, progress=lambda *at: told.append(at))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == told[-1][1]
