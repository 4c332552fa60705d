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
    targets = np.concatenate([stream.row().targets for _ in range(-(-total // context))])[:total]
    assert sorted(targets) == sorted([*range(1, sum(lengths) + 1), *[END] * len(lengths)])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(2, 9))
def test_a_target_is_the_next_token_of_the_same_document(lengths: list[int], context: int) -> None:
    stream = Stream("x", shard(lengths), packing(context))
    ends = set(np.cumsum(lengths).tolist()) | {0}
    for _ in range(10):
        row = stream.row()
        assert sum(row.documents) == len(row.inputs) == len(row.targets) == context
        assert row.weights.tolist() == [1.0] * context
        for before, after in zip(row.inputs.tolist(), row.targets.tolist(), strict=True):
            if before == END:
                assert after == END or after - 1 in ends
            else:
                assert after == before + 1 or (after == END and before in ends)


def test_a_document_begins_with_the_end_token_and_restarts_there() -> None:
    row = Stream("x", shard([3, 3]), packing(8)).row()
    assert row.documents == [4, 4]
    assert row.inputs[0] == END
    assert row.inputs[4] == END


def test_epochs_have_different_orders() -> None:
    stream = Stream("x", shard([1] * 50), packing(100))
    first, second = stream.row().targets, stream.row().targets
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


def talks(lengths: list[int], first: int = 1) -> Shard:
    """Conversations whose second half is learnt."""
    plain = shard(lengths, first)
    weights = [int(i >= length // 2) for length in lengths for i in range(length)]
    return Shard(plain.ids, plain.starts, plain.bytes, np.array(weights, np.uint8))


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(8, 20), st.integers(0, 3))
def test_conversations_are_never_cut_and_padding_carries_no_weight(
    lengths: list[int], context: int, seed: int
) -> None:
    source = talks(lengths)
    known = {tuple(source.document(i).tolist()): i for i in range(len(source))}
    stream = Stream("chat", source, packing(context, seed=seed))
    seen: list[int] = []
    for _ in range(3 * len(lengths)):  # a row holds at least one
        row = stream.row()
        assert sum(row.documents) == context == len(row.inputs)
        start = 0
        for length in row.documents:
            part = slice(start, start + length)
            start += length
            ids = (*row.inputs[part].tolist(), int(row.targets[part][-1]))
            if ids in known:
                seen.append(known[ids])
                assert row.inputs[part][1:].tolist() == row.targets[part][:-1].tolist()
                learnt = source.document_weights(known[ids])[1:].tolist()
                assert row.weights[part].tolist() == learnt
            else:  # what is left of a row, and only that
                assert start == context
                assert set(row.inputs[part]) == set(row.targets[part]) == {END}
                assert not row.weights[part].any()
    assert len(seen) >= 3 * len(lengths)
    for epoch in range(3):
        part = seen[epoch * len(lengths) : (epoch + 1) * len(lengths)]
        assert sorted(part) == list(range(len(lengths)))


def test_a_row_takes_conversations_while_they_fit() -> None:
    row = Stream("chat", talks([4] * 5), packing(10)).row()
    assert row.documents == [3, 3, 3, 1]


def test_a_conversation_may_fill_a_row_and_not_exceed_it() -> None:
    assert Stream("chat", talks([9]), packing(8)).row().documents == [8]
    with pytest.raises(InputError, match="domain 'chat' has 10 tokens, a row 8"):
        Stream("chat", talks([3, 10]), packing(8))
    long = shard([10])
    assert Stream("text", long, packing(8)).row().documents == [8]


def mixed(count: int = 30) -> PackedSteps:
    shards = {"text": shard([5, 9, 2]), "chat": talks([4, 7, 3, 6], first=1000)}
    return PackedSteps(shards, {"text": 1.0, "chat": 1.0}, packing(rows=4, micro_rows=3), count)


def everything(batches: list) -> list:  # type: ignore[type-arg]
    return [
        (b.tokens_BT.tolist(), b.targets_BT.tolist(), b.weights_BT.tolist(), b.documents)
        for b in batches
    ]


def test_text_is_learnt_whole_and_conversations_where_they_say_so() -> None:
    kinds = {"text": 0, "chat": 0}
    for batches in mixed():
        for batch in batches:
            for tokens, weights in zip(batch.tokens_BT, batch.weights_BT, strict=True):
                chat = bool((tokens >= 1000).any())
                kinds["chat" if chat else "text"] += 1
                assert bool((weights == 1).all()) is not chat
    assert min(kinds.values()) > 40


def test_a_mixture_of_text_and_conversations_goes_on_from_its_middle() -> None:
    source, other = mixed(), mixed()
    for _ in range(11):
        next(source)
    other.restore(source.state())
    rest = [everything(batches) for batches in source]
    assert len(rest) == 19
    assert [everything(batches) for batches in other] == rest
    assert rest != [everything(batches) for batches in mixed(19)]
