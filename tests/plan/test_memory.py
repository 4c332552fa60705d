"""Memory before the run: parts follow from shape and settings, and the remedy fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ontogeny.bridge.adapters import adapter_parameters
from ontogeny.model import head
from ontogeny.model.adapted import attach
from ontogeny.model.transformer import Transformer
from ontogeny.plan import memory
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.memory import Load, Memory, predict
from ontogeny.plan.optimization import OverTokens
from ontogeny.plan.shape import Shape
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD

SHAPE = Shape(49152, 576, 30, 9, 3, 64, 1536, 8192, family="llama")
TINY = Shape(60, 32, 2, 4, 2, 8, 48, 64)
LOAD = Load(rows=32, width=1024)


def settings(**changes: Any) -> OverTokens:
    return OverTokens(peak_lr=1e-3, tokens=32768, batch_tokens=32768, **changes)


def of(load: Load = LOAD, **changes: Any) -> Memory:
    return predict(SHAPE, settings(**changes), load)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("adapter", [None, LoRA(rank=4), LoRA(rank=2, kind="dora")])
def test_weights_gradients_and_moments_are_those_of_the_model(
    optimizer: Any, adapter: LoRA | None
) -> None:
    model = Transformer(TINY)
    if adapter is not None:
        attach(model, adapter, 0)
    chosen = "adamw" if adapter is not None else optimizer
    trained = Optimizer(model, OptimizerSettings(matrices=chosen), WSD(9))
    for gradient in trained.gradients():
        gradient.fill_(1.0)
    trained.apply(0, 1.0)
    found = predict(TINY, settings(optimizer=optimizer, adapter=adapter, micro_rows=1), LOAD)
    assert found.weights == 4 * sum(each.numel() for each in model.parameters())
    assert found.gradients == 4 * sum(each.numel() for each in trained.gradients())
    moments = {n: each for n, each in trained.state().items() if not n.endswith(".step")}
    assert found.moments == 4 * sum(each.numel() for each in moments.values())


def test_an_adapter_has_as_many_numbers_as_elsewhere() -> None:
    for adapter in (LoRA(), LoRA(kind="dora", targets=("q_proj", "down_proj"))):
        counted = memory.learnt_parameters(SHAPE, adapter)
        assert counted == sum(adapter_parameters(SHAPE, adapter))


def test_the_head_works_in_chunks_of_the_same_rows() -> None:
    assert memory.HEAD_ROWS == head.ROWS
    assert memory.HEAD_ROWS_ON_DEVICE == head.ROWS_ON_DEVICE


def test_each_setting_moves_its_own_part() -> None:
    whole, fewer = of(), of(micro_rows=4)
    assert fewer.activations == pytest.approx(whole.activations / 8)
    assert (fewer.weights, fewer.moments) == (whole.weights, whole.moments)
    assert of(recompute=True).activations < 0.2 * whole.activations
    adapted = of(adapter=LoRA())
    assert adapted.gradients < 0.05 * whole.gradients
    assert adapted.muon == of(optimizer="adamw").muon == 0
    assert of(optimizer="adamw").moments == 2 * fewer.gradients
    assert of(replace(LOAD, cached=1000)).cache > whole.cache == 0
    assert of(replace(LOAD, reference=True)).weights == 2 * whole.weights
    assert whole.total == sum(vars(whole).values())
    assert all(size >= 0 for size in vars(whole).values())


def test_more_rows_never_need_less() -> None:
    for changes in ({}, {"optimizer": "adamw"}, {"adapter": LoRA()}, {"recompute": True}):
        sizes = [of(micro_rows=rows, **changes).total for rows in range(1, 32)]
        assert sizes == sorted(sizes)


def test_a_pair_is_two_rows_at_least() -> None:
    load = replace(LOAD, together=2)
    assert predict(SHAPE, settings(micro_rows=1), load) == of(load, micro_rows=2)
