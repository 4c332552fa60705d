"""Pages hold what slots hold, share what is equal, and lose nothing."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ontogeny.base.errors import NoSpace
from ontogeny.model import varlen
from ontogeny.model.paged import Pages
from ontogeny.model.state import State
from ontogeny.model.transformer import Transformer
from tests.support import flash
from tests.support.families import FAMILIES, made

SMALL = 4
"""Tokens of a page, so that a short sequence has many."""
LONG = replace(FAMILIES["mistral, windows"], context=700, window=270)


def random_tokens(rows: int, width: int, seed: int) -> Tensor:
    return torch.randint(67, (rows, width), generator=torch.Generator().manual_seed(seed))


def states(
    model: Transformer, slots: int, length: int, page: int = SMALL
) -> tuple[State, State, Pages]:
    """The same state in slots and in pages."""
    plain = model.new_state(slots, length)
    model.page = page
    paged = model.new_state(slots, length)
    model.page = None
    assert plain.pages is None and paged.pages is not None
    return plain, paged, paged.pages


def check(state: State) -> None:
    """No page is lost or given twice, and tables are as long as what they hold."""
    pages = state.pages
    assert pages is not None
    standing = Counter(page for table in pages.tables for page in table)
    assert 0 not in standing
    assert pages.used == len(standing)
    assert {page: pages._counts[page] for page in standing} == dict(standing)
    assert sorted([*standing, *pages._idle]) == list(range(1, len(pages._counts)))
    for table, length in zip(pages.tables, state.lengths, strict=True):
        assert len(table) >= -(-length // pages.page)


def check_written(state: State, slots: list[int], counts: list[int]) -> None:
    """Every page that was just written to stands in one table alone."""
    pages = state.pages
    assert pages is not None
    for slot, count in zip(slots, counts, strict=True):
        first = (state.lengths[slot] - count) // pages.page
        assert all(pages._counts[page] == 1 for page in pages.tables[slot][first:])


def live(model: Transformer, pairs: tuple[State, State], rolls: random.Random, turns: int) -> None:
    """Random appends, copies, cuts, releases and growth; both states give the same logits."""
    length = pairs[0].capacity
    for turn in range(turns):
        slots, lengths = len(pairs[0].lengths), pairs[0].lengths
        kind = rolls.choice(["extend", "extend", "decode", "decode", "copy", "free", "cut", "grow"])
        if kind in ("extend", "decode"):
            most = 1 if kind == "decode" else 7
            open_slots = [slot for slot in range(slots) if lengths[slot] + most <= length]
            chosen = rolls.sample(
                open_slots, rolls.randint(1, len(open_slots)) if open_slots else 0
            )
            counts = [rolls.randint(1, most) for _ in chosen]
            if not chosen:
                continue
            tokens = random_tokens(len(chosen), max(counts), turn)
            expected, got = (model.extend(tokens, counts, chosen, each) for each in pairs)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=5e-5)
            check_written(pairs[1], chosen, counts)
        elif kind == "copy":
            source, target = rolls.randrange(slots), rolls.randrange(slots)
            count = rolls.randint(0, lengths[source])
            for each in pairs:
                each.copy_prefix(source, target, count)
        elif kind == "free":
            slot = rolls.randrange(slots)
            for each in pairs:
                each.free(slot)
        elif kind == "cut":  # the engine begins anew behind a prefix of the same slot
            slot = rolls.randrange(slots)
            count = rolls.randint(0, lengths[slot])
            for each in pairs:
                each.lengths[slot] = count
        elif slots < 7:
            plain, paged, _ = states(model, slots + 1, length)
            plain.take_over(pairs[0])
            paged.take_over(pairs[1])
            pairs = plain, paged
        check(pairs[1])
    for slot in range(len(pairs[1].lengths)):
        pairs[1].free(slot)
    assert pairs[1].pages is not None and pairs[1].pages.used == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_pages_give_the_logits_of_slots_whatever_happens_to_them(family: str) -> None:
    model = made(FAMILIES[family])
    for seed in range(2):
        plain, paged, _ = states(model, 3, 30)
        live(model, (plain, paged), random.Random(seed), 40)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "gemma2"])
def test_reading_through_the_table_gives_the_logits_of_slots(family: str) -> None:
    model = made(FAMILIES[family])
    plain, paged, pages = states(model, 3, 30, varlen.PAGE)
    pages.refusal = None
    with flash.written_out():
        live(model, (plain, paged), random.Random(5), 16)


@pytest.mark.parametrize("through_table", [False, True])
def test_a_past_of_several_pages_is_read_as_one(through_table: bool) -> None:
    model = made(LONG)
    plain, paged, pages = states(model, 3, 700, varlen.PAGE)
    pages.refusal = None if through_table else pages.refusal
    with flash.written_out() if through_table else contextlib.nullcontext():
        for counts in ([300, 20], [230, 280], [1, 1], [2, 1], [1, 1]):
            tokens = random_tokens(2, max(counts), sum(counts))
            expected, got = (model.extend(tokens, counts, [2, 0], it) for it in (plain, paged))
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=5e-5)
    assert [len(table) for table in pages.tables] == [2, 0, 3]


def test_log_probs_behind_pages_are_those_behind_slots() -> None:
    model = made(FAMILIES["qwen3"])
    plain, paged, _ = states(model, 2, 30)
    tokens = random_tokens(2, 20, 0)
    for part in (slice(0, 9), slice(9, 10), slice(10, 19)):
        width = part.stop - part.start
        now, targets = tokens[:, part], tokens[:, part.start + 1 : part.stop + 1]
        counts = [width, max(1, width - 3)]
        expected, got = (
            model.extend_log_probs(now, targets, counts, [0, 1], it) for it in (plain, paged)
        )
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=5e-5)


def test_a_shared_prefix_is_held_once_and_copied_by_who_writes() -> None:
    model = made(FAMILIES["smollm2"])
    _, state, pages = states(model, 8, 30)
    model.extend(random_tokens(1, 10, 0), [10], [0], state)
    assert pages.used == 3
    for slot in range(1, 8):
        state.copy_prefix(0, slot, 10)
    assert pages.used == 3  # two full pages and one with two tokens
    model.extend(random_tokens(8, 1, 1), [1] * 8, list(range(8)), state)
    assert pages.used == 2 + 8
    model.extend(random_tokens(8, 2, 2), [2] * 8, list(range(8)), state)
    assert pages.used == 2 + 8 + 8
    for slot in range(7):
        state.free(slot)
    assert pages.used == 4


def test_memory_follows_what_is_held_and_growing_moves_no_byte() -> None:
    model = made(FAMILIES["smollm2"])
    _, state, pages = states(model, 2, 30)
    assert all(cache.numel() == 0 for cache in pages.caches())
    model.extend(random_tokens(1, 10, 0), [10], [1], state)
    held = pages.caches()
    _, larger, _ = states(model, 64, 40)
    larger.take_over(state)
    assert larger.pages is not None and larger.steps is state.steps
    assert [each.data_ptr() for each in larger.pages.caches()] == [it.data_ptr() for it in held]
    assert len(held[0]) <= 9 and larger.pages.most == 64 * 10 + 1
    model.extend(random_tokens(1, 1, 1), [1], [63], larger)
    check(larger)


def test_a_pool_that_is_full_is_one_line_and_serves_again_when_pages_come_back() -> None:
    model = made(FAMILIES["smollm2"])
    _, state, pages = states(model, 3, 30)
    pages.most = 6
    model.extend(random_tokens(1, 17, 0), [17], [0], state)
    with pytest.raises(NoSpace, match="all 5 pages of the cache are in use") as caught:
        model.extend(random_tokens(1, 3, 0), [3], [1], state)
    assert "\n" not in str(caught.value)
    assert state.lengths == [17, 0, 0]
    check(state)
    state.free(0)
    model.extend(random_tokens(1, 3, 0), [3], [1], state)
    check(state)


def test_who_finds_no_page_spoils_nobody_elses() -> None:
    model = made(FAMILIES["qwen3"])
    plain, paged, pages = states(model, 4, 30)
    pages.most = 6
    for state in (plain, paged):
        model.extend(random_tokens(1, 14, 0), [14], [0], state)  # 4 of 5 pages
        for slot in (1, 2):
            state.copy_prefix(0, slot, 14)
    tokens = random_tokens(3, 1, 1)
    with pytest.raises(NoSpace):  # one copy may be made, two are wanted
        model.extend(tokens, [1] * 3, [0, 1, 2], paged)
    paged.free(2)
    check(paged)
    expected, got = (model.extend(tokens[:2], [1] * 2, [0, 1], state) for state in (plain, paged))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=5e-5)


def test_slots_filled_to_the_brim_and_written_to_again_never_run_out() -> None:
    model = made(FAMILIES["smollm2"])
    _, state, pages = states(model, 3, 12)
    model.extend(random_tokens(1, 11, 0), [11], [0], state)
    state.copy_prefix(0, 1, 11)
    state.copy_prefix(0, 2, 11)
    model.extend(random_tokens(3, 1, 0), [1] * 3, [0, 1, 2], state)
    assert pages.used == 2 + 3 <= pages.most - 1
    for slot in range(3):
        state.free(slot)
        model.extend(random_tokens(1, 12, slot), [12], [slot], state)
    assert pages.used == pages.most - 1
    check(state)


CPU = torch.device("cpu")


def test_the_kernel_is_used_where_it_computes_the_formula() -> None:
    with flash.written_out():
        for window in (0, 5, 4000):
            assert varlen.tried(4, 2, 8, window, torch.float32, CPU) is None


@pytest.mark.parametrize("wrong", ["windows", "tables", "right"])
def test_a_kernel_that_computes_something_else_is_not_used(wrong: str) -> None:
    with flash.written_out(**{wrong: False}):
        assert "is off by" in str(varlen.tried(4, 2, 8, 5, torch.float32, CPU))


def test_what_cannot_be_read_through_the_table_says_why() -> None:
    assert "refuses: Could not run" in str(varlen.tried(4, 2, 8, 5, torch.float32, CPU))
    assert "CUDA only, not on cpu" in str(varlen.refusal(4, 2, 8, 5, torch.float32, CPU))
    assert "multiples of 256 tokens, not 4" in str(states(made(LONG), 1, 8)[2].refusal)
    capped = states(made(FAMILIES["gemma2"]), 1, 8, varlen.PAGE)[2]
    assert capped.refusal == "the kernel for pages knows no capped scores"
