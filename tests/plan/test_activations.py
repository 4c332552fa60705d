"""What is counted for the backward pass is what autograd keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ontogeny.model.adapted import attach
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.activations import Learning, kept
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.shape import Shape

ROWS, WIDTH = 2, 64
FORMS: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "llama": {},
    "qwen2": {},
    "smollm3": {"pattern": "ggn"},
    "olmo2": {},
    "gemma2": {"pattern": "ggg", "attention_cap": 50.0, "logit_cap": 30.0},
    "gemma3_text": {},
}


def held_by_autograd(shape: Shape, adapter: LoRA | None, *, packed: bool, recompute: bool) -> float:
    """Floats a token in the distinct buffers that a forward pass saves, weights left out."""
    model = Transformer(shape)
    initialise(model, 0)
    if adapter is not None:
        attach(model, adapter, 0)
    model.recompute = recompute
    ours = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    tokens_BT = torch.zeros(ROWS, WIDTH, dtype=torch.int64)
    documents = [[WIDTH // 2] * 2, [WIDTH // 3, WIDTH - WIDTH // 3]] if packed else None
    batch = Batch(tokens_BT, tokens_BT, torch.ones(ROWS, WIDTH), documents)
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is given twice

    def see(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in ours:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(see, lambda saved: saved):
        model(batch, NextToken().needs)
    return sum(sizes.values()) / 4 / (ROWS * WIDTH)


@pytest.mark.parametrize("adapter", [None, LoRA(rank=4), LoRA(rank=4, kind="dora")])
@pytest.mark.parametrize("family", FORMS)
def test_what_is_counted_is_what_autograd_keeps(family: str, adapter: LoRA | None) -> None:
    shape = Shape(24, 64, 3, 6, 2, 16, 192, WIDTH, family=family, **FORMS[family])
    found = held_by_autograd(shape, adapter, packed=False, recompute=False)
    counted = kept(shape, Learning(adapter, WIDTH, packed=False))
    # the first layer under an adapter has no gradient to pass on and keeps less
    assert counted == pytest.approx(found, rel=0.015 if adapter is None else 0.06)


def test_packed_rows_keep_what_attention_joins() -> None:
    shape = Shape(24, 64, 3, 6, 2, 16, 192, WIDTH, family="llama")
    found = held_by_autograd(shape, None, packed=True, recompute=False)
    padded = kept(shape, Learning(None, WIDTH))
    assert found == pytest.approx(padded, rel=0.05)
    assert padded > kept(shape, Learning(None, WIDTH, packed=False))


def test_recomputed_layers_keep_their_input() -> None:
    shape = Shape(24, 64, 9, 6, 2, 16, 192, WIDTH, family="llama")
    found = held_by_autograd(shape, None, packed=False, recompute=True)
    whole = kept(shape, Learning(None, WIDTH, packed=False))
    counted = kept(shape, Learning(None, WIDTH, packed=False), recompute=True)
    layer = whole / shape.layers
    # the layer that is computed again is not there before the backward pass
    assert found == pytest.approx(counted - layer, rel=0.1)
    assert counted < 0.3 * whole
