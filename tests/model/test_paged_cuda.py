"""On a CUDA device: the CPU's numbers, and replayed steps that are the steps themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ontogeny.infer.engine import Engine
from ontogeny.model import adapted, varlen
from ontogeny.model.state import State
from ontogeny.model.transformer import Transformer
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.sampling import Sampling
from tests.support.families import FAMILIES, made

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
LONG = {
    "grouped": replace(FAMILIES["qwen3"], context=1024, head_dim=64),
    "windows": replace(FAMILIES["mistral, windows"], context=1024, head_dim=64, window=300),
}


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def random_tokens(rows: int, width: int, seed: int) -> Tensor:
    return torch.randint(67, (rows, width), generator=torch.Generator().manual_seed(seed))


def replayed(state: State, wanted: bool) -> State:
    assert state.steps is not None
    state.steps.captured = wanted
    return state


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_cpus(family: str) -> None:
    here, there = made(FAMILIES[family]), made(FAMILIES[family]).to(CUDA)
    ours, theirs = here.new_state(4, 40), there.new_state(4, 40)
    assert ours.pages is None and theirs.pages is not None
    rounds = [([5, 9, 1], [3, 0, 2]), ([1, 1], [0, 2]), ([1], [3]), ([7, 2, 4], [2, 0, 3])]
    for turn, (counts, slots) in enumerate([*rounds, ([1] * 3, [0, 2, 3])]):
        tokens = random_tokens(len(counts), max(counts), turn)
        expected = here.extend(tokens, counts, slots, ours)
        got = there.extend(tokens.to(CUDA), counts, slots, theirs)
        torch.testing.assert_close(got.cpu(), expected, rtol=0, atol=1e-4)
        ours.copy_prefix(0, 1, ours.lengths[0])
        theirs.copy_prefix(0, 1, theirs.lengths[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_the_cpus(family: str) -> None:
    draw = random.Random(1)
    prompts = [[draw.randrange(67) for _ in range(draw.randint(1, 20))] for _ in range(6)]
    answers = []
    for device in ("cpu", "cuda"):
        engine = Engine(made(FAMILIES[family]).to(device), 4, 40)
        handles = [engine.submit(prompt, 16, Sampling(temperature=0.0)) for prompt in prompts]
        while engine.busy:
            engine.step()
        answers.append([handle.ids for handle in handles])
    assert answers[0] == answers[1]


def halves(model: Transformer) -> tuple[Transformer, State, State]:
    """A model in bfloat16, and states that read through the table and that gather."""
    model = model.to(CUDA, torch.bfloat16)
    by_table, gathering = model.new_state(5, 1024), model.new_state(5, 1024)
    assert by_table.pages is not None and gathering.pages is not None
    if by_table.pages.refusal is not None:
        pytest.skip(by_table.pages.refusal)
    gathering.pages.refusal = "the other path"
    return model, by_table, gathering


@pytest.mark.parametrize("long", LONG)
def test_the_kernel_reads_what_gathering_reads(long: str) -> None:
    model, by_table, gathering = halves(made(LONG[long]))
    exact = made(LONG[long])
    plain = exact.new_state(5, 1024)
    for turn, counts in enumerate(([300, 20, 1], [230, 280, 3], [1, 1, 1], [5, 2, 513], [1] * 3)):
        tokens = random_tokens(3, max(counts), turn)
        expected = exact.extend(tokens, counts, [4, 0, 2], plain)
        got, dense = (
            model.extend(tokens.to(CUDA), counts, [4, 0, 2], state).float().cpu()
            for state in (by_table, gathering)
        )
        # both round to bfloat16; the kernel must not be farther from float32 than the other is
        error, usual = ((each - expected).abs().max() for each in (got, dense))
        assert error < 2 * usual + 1e-3, (turn, error, usual)


def test_where_the_kernel_serves_is_found_by_trying() -> None:
    assert "refuses" in str(varlen.refusal(4, 2, 64, 0, torch.float32, CUDA))
    told = varlen.refusal(4, 2, 64, 100, torch.bfloat16, CUDA)
    if told is not None:
        pytest.skip(told)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("long", LONG)
def test_a_replayed_step_is_the_step_bit_for_bit(long: str, dtype: torch.dtype) -> None:
    model = made(LONG[long]).to(CUDA, dtype)
    states = [replayed(model.new_state(6, 1024), wanted) for wanted in (True, False)]
    for state in states:
        tokens = random_tokens(3, 255, 0).to(CUDA)
        model.extend(tokens, [255, 3, 90], [5, 0, 2], state)
    slots = [[5, 0, 2], [0, 5], [2], [5, 0, 2], [2, 5, 0], [2]]
    for turn, chosen in enumerate(slots):  # slot 5 comes to its second page
        tokens = random_tokens(len(chosen), 1, turn).to(CUDA)
        got, expected = (model.extend(tokens, [1] * len(chosen), chosen, it) for it in states)
        assert torch.equal(got, expected), turn
    for state, graphs in zip(states, (True, False), strict=True):
        assert state.steps is not None
        held = list(state.steps.buckets.values())
        assert held and all((bucket.graph is not None) == graphs for bucket in held)


def test_replays_follow_weights_adapters_and_growth() -> None:
    model = made(FAMILIES["qwen3"]).to(CUDA)
    states = [replayed(model.new_state(3, 40), wanted) for wanted in (True, False)]
    tokens = random_tokens(2, 9, 0).to(CUDA)
    for state in states:
        model.extend(tokens, [9, 4], [0, 1], state)

    def same() -> None:
        got, expected = (model.extend(tokens[:, :1], [1, 1], [0, 1], it) for it in states)
        assert torch.equal(got, expected)

    same()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    same()
    for kind in ("lora", "dora"):
        adapted.attach(model, LoRA(rank=2, kind=kind), seed=0)
        with torch.no_grad():
            for name, value in adapted.named_adapter(model).items():
                if "lora_B" in name:
                    value.fill_(0.05)
        same()
        adapted.merge(model)
        same()
    for number, state in enumerate(states):
        larger = replayed(model.new_state(40, 40), number == 0)
        larger.take_over(state)
        model.extend(random_tokens(30, 3, 1).to(CUDA), [3] * 30, list(range(5, 35)), larger)
        states[number] = larger
    same()
