"""Answers stand whole in their rows, and only they are learnt."""

import math
from itertools import groupby

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.bridge.packing import Said, Told, pack, pieces, row_width

FILL = 999
WIDTH = 12
LENGTHS = st.tuples(st.integers(1, 8), st.integers(1, 5))


def numbered(lengths: list[tuple[int, int]]) -> list[Said]:
    """Answers whose ids count up, so that every token is known by its id."""
    found, first = [], 0
    for prompt, answer in lengths:
        ids = range(first, first + prompt + answer)
        found.append(Said(tuple(ids[:prompt]), tuple(ids[prompt:])))
        first += prompt + answer
    return found


@given(st.lists(LENGTHS, min_size=1, max_size=12))
def test_every_sequence_stands_whole_in_one_row_and_in_order(
    lengths: list[tuple[int, int]],
) -> None:
    said = numbered(lengths)
    packed = pack(said, WIDTH, FILL)
    found = []
    for row, documents in enumerate(packed.documents):
        assert sum(documents) == WIDTH
        start = 0
        for length in documents:
            part = slice(start, start + length)
            start += length
            tokens, targets = packed.tokens_BT[row, part], packed.targets_BT[row, part]
            if int(tokens[0]) == FILL:  # what is left of a row, and only that
                assert start == WIDTH
                assert {*tokens.tolist(), *targets.tolist()} == {FILL}
            else:
                found.append((*tokens.tolist(), int(targets[-1])))
                assert tokens[1:].tolist() == targets[:-1].tolist()
    assert found == [(*each.prompt, *each.answer) for each in said]


@given(st.lists(LENGTHS, min_size=1, max_size=12))
def test_weights_lie_on_answers_alone_and_each_token_knows_its_answer(
    lengths: list[tuple[int, int]],
) -> None:
    said = numbered(lengths)
    packed = pack(said, WIDTH, FILL)
    inside = packed.weights_BT > 0
    assert set(packed.weights_BT.flatten().tolist()) <= {0.0, 1.0}
    learnt = list(
        zip(packed.answer_BT[inside].tolist(), packed.targets_BT[inside].tolist(), strict=True)
    )
    assert learnt == [(number, id_) for number, each in enumerate(said) for id_ in each.answer]
    assert not packed.answer_BT[~inside].any()


@given(st.lists(LENGTHS, min_size=1, max_size=12))
def test_an_episode_of_one_turn_is_packed_as_an_answer(lengths: list[tuple[int, int]]) -> None:
    said = numbered(lengths)
    told = [Told(each.ids, each.chosen) for each in said]
    for each, other in zip(said, told, strict=True):
        assert other.continued() == (each.prompt, each.answer)
        assert other.kept(each.answer) == list(each.answer)
    one, two = pack(said, WIDTH, FILL), pack(told, WIDTH, FILL)
    assert one.documents == two.documents
    assert one.turns == two.turns == len(said)
    assert torch.equal(one.turn_BT, one.answer_BT)
    for name in ("tokens_BT", "targets_BT", "weights_BT", "answer_BT", "turn_BT"):
        assert torch.equal(getattr(one, name), getattr(two, name))


MASKS = st.lists(st.booleans(), min_size=1, max_size=WIDTH).filter(any)


@given(st.lists(MASKS, min_size=1, max_size=8))
def test_of_an_episode_what_was_chosen_is_learnt_turn_by_turn(masks: list[list[bool]]) -> None:
    """Whatever stands between: results of tools, a user's words."""
    told, first = [], 0
    for mask in masks:
        told.append(Told(tuple(range(first, first + 1 + len(mask))), (False, *mask)))
        first += 1 + len(mask)
    packed = pack(told, WIDTH, FILL)
    inside = packed.weights_BT > 0
    pairs = [
        (number, id_)
        for number, each in enumerate(told)
        for id_, own in zip(each.ids, each.chosen, strict=True)
        if own
    ]
    assert packed.targets_BT[inside].tolist() == [id_ for _, id_ in pairs]
    assert packed.answer_BT[inside].tolist() == [number for number, _ in pairs]
    assert not packed.answer_BT[~inside].any()
    assert not packed.turn_BT[~inside].any()
    runs = [sum(1 for _ in run) for each in told for own, run in groupby(each.chosen) if own]
    assert packed.turns == len(runs)
    assert torch.bincount(packed.turn_BT[inside], minlength=packed.turns).tolist() == runs
    kept = [each.kept([float(id_) for id_ in each.continued()[1]]) for each in told]
    assert packed.spread(kept)[inside].tolist() == packed.targets_BT[inside].tolist()


@given(st.lists(LENGTHS, min_size=1, max_size=12))
def test_spread_puts_each_number_at_its_token(lengths: list[tuple[int, int]]) -> None:
    said = numbered(lengths)
    packed = pack(said, WIDTH, FILL)
    values_BT = packed.spread([[float(id_) for id_ in each.answer] for each in said])
    inside = packed.weights_BT > 0
    assert values_BT[inside].tolist() == packed.targets_BT[inside].tolist()
    assert not values_BT[~inside].any()
    assert values_BT.shape == packed.tokens_BT.shape


def test_rows_are_filled_before_a_new_one_begins() -> None:
    packed = pack(numbered([(2, 3), (3, 2), (2, 3), (8, 5)]), WIDTH, FILL)
    assert packed.documents == [[4, 4, 4], [12]]


def test_a_sequence_may_fill_a_row_and_not_exceed_it() -> None:
    assert pack(numbered([(8, 5)]), WIDTH, FILL).tokens_BT.shape == (1, WIDTH)
    with pytest.raises(InputError, match="takes 13 tokens, a row has 12; shorten the answers"):
        pack(numbered([(1, 1), (9, 5)]), WIDTH, FILL)


def test_values_for_other_tokens_are_refused() -> None:
    packed = pack(numbered([(2, 3)]), WIDTH, FILL)
    with pytest.raises(RuntimeError):
        packed.spread([[1.0, 2.0]])


@given(
    st.lists(st.integers(1, WIDTH), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_pieces_are_whole_in_order_and_no_larger_than_told(
    positions: list[int], most_rows: int, together: int
) -> None:
    found = pieces(positions, WIDTH, most_rows, together)
    assert [n for part, _ in found for n in range(part.start, part.stop)] == [
        *range(len(positions))
    ]
    for part, rows in found:
        said = [Said((0,), (0,) * length) for length in positions[part]]
        assert len(pack(said, WIDTH, FILL).documents) == rows
        assert part.start % together == 0
        assert rows <= most_rows or part.stop - part.start <= together


def test_what_fits_into_the_rows_is_one_piece() -> None:
    positions = [5, 7, 4, 4, 12]
    assert pieces(positions, WIDTH, 3) == [(slice(0, 5), 3)]
    assert pieces(positions, WIDTH, 2) == [(slice(0, 4), 2), (slice(4, 5), 1)]


def test_a_row_is_as_wide_as_its_longest_answer_needs() -> None:
    assert row_width(300, 2048, 256) == 300
    assert row_width(30, 2048, 256) == 256
    assert row_width(30, 64, 256) == 64


@pytest.mark.parametrize("unsaid", [math.nan, -math.inf])
def test_answers_without_log_probs_are_not_learnt_from(unsaid: float) -> None:
    packed = pack(numbered([(2, 3), (1, 2)]), WIDTH, FILL)
    with pytest.raises(InputError, match="no log-prob"):
        packed.spread([[-1.0, -2.0, -0.5], [-1.0, unsaid]])
