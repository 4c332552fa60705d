"""Rows hold every token once an epoch, mixtures keep their shares, and state is a place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.bridge.feed import PackedSteps, Packing, Stream
from ontogeny.corpus.shards import Shard

END = 0


def shard(lengths: list[int], first: int = 1) -> Shard:
    """Documents whose ids count up from `first`, so that every token is known by its id."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.arange(first, first + starts[-1], dtype=np.uint16)
    return Shard(ids, starts, np.array(lengths, np.int64) * 3)


def packing(context: int = 8, rows: int = 2, micro_rows: int = 2, seed: int = 0) -> Packing:
    return Packing(context, context * rows, micro_rows, END, seed)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(2, 9), st.integers(0, 3))
def test_an_epoch_predicts_every_token_and_every_end_once(
    lengths: list[int], context: int, seed: int
) -> None:
    stream = Stream("x", shard(lengths), packing(context, seed=seed))
    total = sum(lengths) + len(lengths)
    targets = np.concatenate([stream.row()[1] for _ in range(-(-total // context))])[:total]
    assert sorted(targets) == sorted([*range(1, sum(lengths) + 1), *[END] * len(lengths)])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(2, 9))
def test_a_target_is_the_next_token_of_the_same_document(lengths: list[int], context: int) -> None:
    stream = Stream("x", shard(lengths), packing(context))
    ends = set(np.cumsum(lengths).tolist()) | {0}
    for _ in range(10):
        inputs, targets, parts = stream.row()
        assert sum(parts) == len(inputs) == len(targets) == context
        for before, after in zip(inputs.tolist(), targets.tolist(), strict=True):
            if before == END:
                assert after == END or after - 1 in ends
            else:
                assert after == before + 1 or (after == END and before in ends)


def test_a_document_begins_with_the_end_token_and_restarts_there() -> None:
    inputs, _, parts = Stream("x", shard([3, 3]), packing(8)).row()
    assert parts == [4, 4]
    assert inputs[0] == END
    assert inputs[4] == END


def test_epochs_have_different_orders() -> None:
    stream = Stream("x", shard([1] * 50), packing(100))
    first, second = stream.row()[1], stream.row()[1]
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()


def steps(seed: int = 0, count: int = 40, micro_rows: int = 2) -> PackedSteps:
    shards = {"a": shard([5, 9, 2]), "b": shard([30], first=1000)}
    mixture = {"a": 3.0, "b": 1.0}
    return PackedSteps(shards, mixture, packing(rows=8, micro_rows=micro_rows, seed=seed), count)


def flat(batches: list) -> list:  # type: ignore[type-arg]
    return [row for batch in batches for row in batch.tokens_BT.tolist()]


def test_a_mixture_keeps_its_shares() -> None:
    rows = [row for batches in steps(count=200) for row in flat(batches)]
    share = np.mean([max(row) >= 1000 for row in rows])
    assert share == pytest.approx(0.25, abs=0.035)


def test_restoring_goes_on_as_if_nothing_had_happened() -> None:
    for taken in (0, 1, 7, 39):
        source, other = steps(), steps()
        for _ in range(taken):
            next(source)
        other.restore(source.state())
        assert [flat(batches) for batches in source] == [flat(batches) for batches in other]


@pytest.mark.interrupt
def test_leaving_out_any_part_of_the_state_changes_what_comes() -> None:
    source = steps()
    for _ in range(7):
        next(source)
    state = source.state()
    rest = [flat(batches) for batches in source]

    def after(change: dict) -> list:  # type: ignore[type-arg]
        other = steps()
        other.restore(change)
        return [flat(batches) for batches in other]

    assert after(state) == rest
    assert after(state | {"taken": 0})[: len(rest)] != rest
    for part in ("epoch", "place", "offset"):
        streams = {name: dict(stream) for name, stream in state["streams"].items()}
        for stream in streams.values():
            stream[part] = 0
        assert after(state | {"streams": streams}) != rest, part


def test_micro_rows_cut_the_same_rows_differently() -> None:
    whole, halves = steps(micro_rows=8), steps(micro_rows=3)
    for one, several in zip(whole, halves, strict=True):
        assert flat(one) == flat(several)
        assert (len(one), len(several)) == (1, 3)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"c": 1.0}, "the mixture names 'c'; the corpus has a, b"),
        ({"a": -1.0}, "weights must be 0 or more"),
        ({"a": 0.0}, "weights must be 0 or more"),
        ({}, "weights must be 0 or more"),
    ],
)
def test_a_useless_mixture_is_one_line(mixture: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PackedSteps({"a": shard([1]), "b": shard([1])}, mixture, packing(), 1)
