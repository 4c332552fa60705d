"""Smaller copies of weights compute what their numbers say, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from support.families import FAMILIES, made

from ontogeny.base.errors import InputError
from ontogeny.model import int8, thin
from ontogeny.model.adapted import attach
from ontogeny.model.int8 import LEVELS, ROWS, packed_bytes, quantise, quantised
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.plan.adapter import LoRA

KINDS: tuple[int8.Kind, ...] = ("int8", "bf16")
HALF = 2**-9
"""Largest relative error of rounding to bfloat16."""


def drawn(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)))


def packed(weight_OI: torch.Tensor, kind: int8.Kind) -> thin.Packed:
    return (int8._Int8 if kind == "int8" else int8._BFloat16)(weight_OI)


def numbers(weight_OI: torch.Tensor, kind: int8.Kind) -> torch.Tensor:
    """What the copy stands for, read from its product with the unit vectors, in float64."""
    return packed(weight_OI, kind)(torch.eye(weight_OI.shape[1])).t().double()


@pytest.mark.parametrize("rows", [1, 2, ROWS, ROWS + 1, 70])
@pytest.mark.parametrize("kind", KINDS)
def test_a_product_is_that_of_the_rounded_numbers(rows: int, kind: int8.Kind) -> None:
    weight_OI, x_NI = drawn(600, 512), drawn(rows, 512)
    exact_NO = x_NI.bfloat16().double() @ numbers(weight_OI, kind).t()
    got_NO = packed(weight_OI, kind)(x_NI)
    assert got_NO.dtype == torch.float32 and got_NO.shape == (rows, 600)
    # float32 sums of 512 terms, then one rounding to bfloat16; x is not rounded in every case
    bound_NO = HALF * exact_NO.abs() + HALF * (x_NI.abs().double() @ weight_OI.abs().double().t())
    assert ((got_NO - exact_NO).abs() <= bound_NO).all()
    relative = (got_NO - exact_NO).norm() / exact_NO.norm()
    assert relative < 1.5 * HALF


def test_int8_is_within_half_a_level_of_the_weight_and_uses_them_all() -> None:
    weight_OI = drawn(300, 256) * torch.logspace(-6, 6, 300)[:, None]
    weight_OI[7] = 0.0
    found = int8._Int8(weight_OI)
    assert found.whole_OI.abs().amax(1).min() == 0  # the row of zeros
    others = torch.arange(300) != 7
    assert (found.whole_OI.abs().amax(1)[others] >= LEVELS - 1).all()
    values_OI = found.whole_OI.double() * found.scale_O.double()[:, None]
    # half a level; the largest number of a row may be cut by rounding of the scale
    assert ((values_OI - weight_OI).abs() <= 0.501 * found.scale_O.double()[:, None]).all()


def test_bfloat16_is_the_nearest() -> None:
    weight_OI = drawn(300, 256)
    assert torch.equal(numbers(weight_OI, "bf16"), weight_OI.bfloat16().double())


def read(model: Transformer, steps: int = 12) -> torch.Tensor:
    """log_probs of every step of three rows, the first of which reads five tokens."""
    seeded = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.shape.vocab_size, (3, steps + 4), generator=seeded)
    state = model.new_state(3, model.shape.context)
    found = [model.extend(tokens[:, :5], [5] * 3, [0, 1, 2], state)]
    for place in range(5, steps + 4):
        found.append(model.extend(tokens[:, place : place + 1], [1] * 3, [0, 1, 2], state))
    return torch.stack(found).log_softmax(-1)


def shaken(model: Transformer, kind: int8.Kind) -> Transformer:
    """The model with noise of the size of the rounding: even, half a step each way."""
    other = copy.deepcopy(model)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight_OI in int8._matrices(other):
            step_OI = 2 * HALF * weight_OI.abs()
            if kind == "int8":
                step_OI = weight_OI.abs().amax(1, keepdim=True).expand_as(weight_OI) / LEVELS
            weight_OI.add_((torch.rand_like(weight_OI) - 0.5) * step_OI)
    return other


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_log_probs_move_as_by_noise_of_the_size_of_the_rounding(name: str, kind: int8.Kind) -> None:
    """What noise does is a model's own matter: these random ones magnify it, trained ones less."""
    model = made(FAMILIES[name])
    exact = read(model)
    noise = float((read(shaken(model, kind)) - exact).abs().mean())
    quantise(model, kind)
    moved = float((read(model) - exact).abs().mean())
    # bfloat16 rounds a product's input and output as much as its weight: the root of 3, at least
    assert 0.3 * noise < moved < {"int8": 2.0, "bf16": 4.0}[kind] * noise


@pytest.mark.parametrize("keep", [True, False])
def test_training_and_scoring_see_the_same_weights(keep: bool) -> None:
    model = made(FAMILIES["qwen2"])
    tokens = torch.randint(model.shape.vocab_size, (2, 9))
    batch = Batch(tokens, tokens, torch.ones(tokens.shape))
    before, other = model.logits(batch), copy.deepcopy(model)
    quantise(model, keep=keep)
    assert quantised(copy.deepcopy(other)) is None
    if keep:
        assert torch.equal(model.logits(batch), before)
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two)
    else:
        with pytest.raises(InputError, match="only generates"):
            model.logits(batch)
        with pytest.raises(InputError, match="were freed"):
            quantise(model)


@pytest.mark.parametrize("name", ["qwen3", "llama2"])  # a tied head, and one of its own
def test_freed_weights_generate_the_same_from_less_memory(name: str) -> None:
    kept, freed = made(FAMILIES[name]), made(FAMILIES[name])
    quantise(kept)
    quantise(freed, keep=False)
    expected = read(kept)
    assert torch.equal(read(freed), expected)
    assert {id(weight) for weight in freed.parameters() if weight.numel() and weight.ndim == 2} == {
        id(freed.embedding)
    }
    rounded = list(int8._matrices(kept))
    assert packed_bytes(freed) == sum(weight.numel() + 6 * len(weight) for weight in rounded)


def test_adapters_are_added_to_rounded_weights() -> None:
    model = made(FAMILIES["qwen3"])
    attach(model, LoRA(rank=4), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".B"):
                parameter.copy_(0.3 * drawn(*parameter.shape))
    exact = read(model)
    quantise(model)
    assert 0 < float((read(model) - exact).abs().mean()) < 0.06 * float(exact.std())
    with pytest.raises(InputError, match="merge"):
        quantise(model, keep=False)


def test_what_cannot_be_made_smaller_says_why() -> None:
    model = made(FAMILIES["qwen3"])
    with pytest.raises(InputError, match="int8, bf16"):
        quantise(model, "int3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="float32 on a CPU"):
        quantise(model.double())


def test_a_weight_that_changed_since_is_noticed() -> None:
    model = made(FAMILIES["qwen3"])
    quantise(model)
    with torch.no_grad():
        model.stack[0].mixer.out.mul_(2.0)
    with pytest.raises(AssertionError, match="has changed"):
        read(model, 2)
    quantise(model)
    read(model, 2)
