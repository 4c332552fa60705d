"""A model with an adapter: it starts as the model, learns beside frozen weights, and folds in."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from support.adapters import stir
from torch import Tensor

from ontogeny.base.errors import CorruptArtifact
from ontogeny.model.adapted import (
    adapter_of,
    attach,
    load_learnt,
    merge,
    named_adapter,
    save_adapter,
)
from ontogeny.model.initial import initialise
from ontogeny.model.tensor_file import read_tensors, write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.plan.adapter import TARGETS, AdapterKind, LoRA
from ontogeny.plan.family import FAMILIES
from ontogeny.plan.shape import Shape

KINDS = get_args(AdapterKind)
SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
TOKENS = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(0))
BATCH = Batch(TOKENS, TOKENS.roll(-1, 1), torch.ones(3, 24))


def model(shape: Shape = SHAPE) -> Transformer:
    made = Transformer(shape)
    initialise(made, 3)
    return made


def adapted(config: LoRA, shape: Shape = SHAPE) -> Transformer:
    """With a B, and a magnitude, as after some training."""
    made = model(shape)
    attach(made, config, seed=1)
    return stir(made)


def values(made: Transformer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in made.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_no_bit(kind: AdapterKind) -> None:
    made = model()
    before = made.logits(BATCH)
    attach(made, LoRA(rank=4, kind=kind), seed=1)
    assert torch.equal(made.logits(BATCH), before)
    assert adapter_of(made) == LoRA(rank=4, kind=kind)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_adapter_computes_what_it_did_beside(kind: AdapterKind, family: str) -> None:
    """In every family, and generation with it."""
    made = adapted(LoRA(rank=4, kind=kind), Shape(61, 32, 2, 4, 2, 8, 48, 24, family=family))
    plain = model(made.shape).logits(BATCH)
    beside = made.logits(BATCH)
    generated = made.extend(TOKENS, [24] * 3, [0, 1, 2], made.new_state(3, 24))
    torch.testing.assert_close(generated, beside[:, -1], rtol=1e-5, atol=1e-5)
    merge(made)
    assert adapter_of(made) is None
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert values(made).keys() == values(model(made.shape)).keys()
    torch.testing.assert_close(made.logits(BATCH), beside, rtol=1e-5, atol=1e-5)
    assert float((beside - plain).abs().max()) > 1e-2


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_gets_gradients(kind: AdapterKind, recompute: bool) -> None:
    made = adapted(LoRA(rank=4, kind=kind, targets=("v_proj", "up_proj")))
    made.recompute = recompute
    outputs = made(BATCH, Needs(weighted_log_prob=True))
    assert outputs.weighted_log_prob is not None
    outputs.weighted_log_prob.backward()
    for name, parameter in made.named_parameters():
        learns = ".adapters." in name
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) == learns, name
        assert not learns or bool(parameter.grad.any()), name  # type: ignore[union-attr]


def test_starts_have_seeds_of_their_own_names() -> None:
    few, many, other = model(), model(), model()
    attach(few, LoRA(rank=4, targets=("v_proj",)), seed=1)
    attach(many, LoRA(rank=4), seed=1)
    attach(other, LoRA(rank=4), seed=2)
    whole = named_adapter(many)
    for name, value in named_adapter(few).items():
        assert torch.equal(whole[name], value)
    starts = [value for name, value in whole.items() if "lora_A" in name]
    assert len(starts) == 2 * len(TARGETS)
    assert all(0 < float(value.abs().max()) <= value.shape[1] ** -0.5 for value in starts)
    assert len({tuple(value.flatten().tolist()) for value in starts}) == len(starts)
    for name, value in named_adapter(other).items():
        assert torch.equal(value, whole[name]) == ("lora_B" in name)


def test_saving_and_loading_keeps_every_bit(tmp_path: Path) -> None:
    made, again = adapted(LoRA(rank=4, kind="dora")), model()
    save_adapter(made, tmp_path / "a")
    attach(again, LoRA(rank=4, kind="dora"), seed=9)
    load_learnt(again, tmp_path / "a")
    assert all(torch.equal(value, values(again)[name]) for name, value in values(made).items())
    assert torch.equal(again.logits(BATCH), made.logits(BATCH))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.popitem(), "is missing"),
        (lambda t: t.update(more=torch.ones(2)), "'more' does not belong here"),
        (lambda t: t.update({next(iter(t)): torch.ones(3, 32)}), "expected torch.float32"),
        (lambda t: t.update({next(iter(t)): torch.ones(4, 32, dtype=torch.int8)}), "int8"),
        (lambda t: next(iter(t.values())).fill_(torch.nan), "NaN"),
    ],
)
def test_tensors_that_do_not_belong_change_nothing(
    change: object, reason: str, tmp_path: Path
) -> None:
    made = adapted(LoRA(rank=4))
    tensors = {name: value.clone() for name, value in named_adapter(made).items()}
    change(tensors)  # type: ignore[operator]
    write_tensors(tmp_path / "a", tensors)
    before = values(made)
    with pytest.raises(CorruptArtifact, match=reason):
        load_learnt(made, tmp_path / "a")
    assert all(torch.equal(before[name], value) for name, value in values(made).items())
    assert read_tensors(tmp_path / "a").keys() == tensors.keys()
