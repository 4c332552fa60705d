"""A decode step of fixed shape is the step, whatever pads it, and asks the device nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ontogeny.model import adapted
from ontogeny.model.graph import Steps
from ontogeny.model.state import State
from ontogeny.model.transformer import Transformer
from ontogeny.model.varlen import PAGE
from ontogeny.plan.adapter import LoRA
from tests.support.families import FAMILIES, made

SMALL = 4
STARTS = [5, 13, 1, 9, 4]


def random_tokens(rows: int, width: int, seed: int) -> Tensor:
    return torch.randint(67, (rows, width), generator=torch.Generator().manual_seed(seed))


def state_of(model: Transformer, page: int, rows: int = len(STARTS)) -> State:
    """Slots 0, 1, ... hold 5, 13, ... tokens."""
    model.page = page
    state = model.new_state(rows, 40)
    for slot, count in enumerate(STARTS[:rows]):
        model.extend(random_tokens(1, count, slot), [count], [slot], state)
    return state


def buckets(state: State) -> dict[tuple[int, int], object]:
    assert state.steps is not None
    return dict(state.steps.buckets)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_step_is_a_step(family: str) -> None:
    model = made(FAMILIES[family])
    plain, paged = state_of(model, 0), state_of(model, SMALL)
    for seed, slots in enumerate([[3, 0, 4], [1], [4, 3, 2, 1, 0], [0, 1], [1, 2, 3], [3]]):
        tokens = random_tokens(len(slots), 1, seed)
        expected = model.extend(tokens, [1] * len(slots), slots, plain)
        got = model.extend(tokens, [1] * len(slots), slots, paged)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=5e-5)
    assert paged.lengths == plain.lengths
    # rows: 3 -> 4, 1, 5 -> 8, 2; the longest of them holds 3, 4 or 5 pages -> 4 or 8
    assert {rows for rows, _ in buckets(paged)} == {1, 2, 4, 8}


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_neither_padding_nor_the_spare_page_changes_a_row(family: str) -> None:
    model = made(FAMILIES[family])
    tokens = random_tokens(4, 1, 1)
    full, short, spoilt = (state_of(model, SMALL) for _ in range(3))
    expected = model.extend(tokens, [1] * 4, [0, 1, 2, 3], full)
    assert spoilt.pages is not None
    for cache in spoilt.pages.caches():
        cache[0] = 1e4
    for state in (short, spoilt):  # three rows of the four, in the bucket of four
        got = model.extend(tokens[:3], [1] * 3, [0, 1, 2], state)
        assert set(buckets(state)) == set(buckets(full)) and torch.equal(got, expected[:3])


def test_padding_writes_to_no_page_that_is_held() -> None:
    model = made(FAMILIES["qwen3"])
    state = state_of(model, SMALL)
    assert state.pages is not None
    before = [cache.clone() for cache in state.pages.caches()]
    model.extend(random_tokens(3, 1, 1), [1] * 3, [0, 2, 4], state)
    written = {(state.pages.tables[slot][-1], STARTS[slot] % SMALL) for slot in (0, 2, 4)}
    for old, new in zip(before, state.pages.caches(), strict=True):
        changed = (old != new[: len(old)]).any(-1).any(1)
        assert {tuple(each) for each in changed.nonzero().tolist()} - {(0, 0)} == {
            each for each in written if each[0] < len(old)
        }


@pytest.mark.parametrize("through_table", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_asks_the_device_nothing(family: str, through_table: bool) -> None:
    """On the meta device there is nothing to ask: shapes are all there is."""
    model = made(FAMILIES[family]).to("meta")
    model.page = PAGE
    state = model.new_state(3, 40)
    assert state.pages is not None and state.steps is not None
    state.pages.refusal = None if through_table and model.shape.attention_cap is None else "none"
    tokens = torch.zeros(3, dtype=torch.int64, device="meta")
    got = model.extend(tokens[:, None], [1] * 3, [0, 1, 2], state)
    assert got.shape == (3, 67) and got.device.type == "meta"


def test_weights_updated_in_place_keep_their_graphs_and_others_lose_them() -> None:
    model = made(FAMILIES["qwen3"])
    state = state_of(model, SMALL)
    assert state.steps is not None and state.pages is not None

    def step() -> object:
        """The bucket that a step of slot 2 ran in."""
        model.extend(random_tokens(1, 1, 0), [1], [2], state)
        state.lengths[2] = 1
        (bucket,) = buckets(state).values()
        return bucket

    first = step()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    assert step() is first
    adapted.attach(model, LoRA(rank=2), seed=0)
    second = step()
    assert second is not first and step() is second
    adapted.merge(model)
    third = step()
    assert third is not second
    state.pages._grow()
    fourth = step()
    assert fourth is not third
    model.norm.weight = torch.nn.Parameter(model.norm.weight.detach().clone())
    assert step() is not fourth


def test_steps_are_run_in_the_smallest_bucket_that_holds_them() -> None:
    seen: list[tuple[int, int]] = []

    def step(tokens_B: Tensor, plan_BQ: Tensor) -> Tensor:
        seen.append((len(tokens_B), plan_BQ.shape[1]))
        assert not tokens_B[plan_BQ[:, 0] == 0].any()
        return torch.stack([tokens_B, plan_BQ.sum(1)], 1)

    cache = torch.zeros(1)
    steps = Steps(step, torch.nn.Linear(1, 1), lambda: [cache])
    for rows, width in [(1, 2), (2, 3), (3, 4), (4, 6), (5, 2), (1, 10)]:
        plan = [[row + 1, *range(width - 1)] for row in range(rows)]
        got = steps(torch.arange(rows) + 7, plan)
        assert got.tolist() == [[row + 7, sum(plan[row])] for row in range(rows)]
    assert seen == [(1, 2), (2, 3), (4, 5), (4, 9), (8, 2), (1, 17)]
