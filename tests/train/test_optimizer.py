"""Claims about Muon, AdamW's share, clipping and the schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from ontogeny.base.errors import InputError
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape
from ontogeny.train.muon import MATCHED_RMS, Muon, orthogonalise
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)


def model() -> Transformer:
    made = Transformer(SHAPE)
    initialise(made, 3)
    return made


def fill_gradients(made: Transformer, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(("short", "long"), [(32, 32), (16, 64)])
def test_muon_moves_singular_values_near_one(short: int, long: int) -> None:
    x = torch.randn(3, short, long, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(x))
    assert float(values.max()) < 1.3
    assert float(values[:, : short * 3 // 4].min()) > 0.6
    left, _, right = torch.linalg.svd(x, full_matrices=False)
    cosine = torch.cosine_similarity(orthogonalise(x).flatten(1), (left @ right).flatten(1))
    assert float(cosine.min()) > 0.95


def test_the_fused_parts_are_orthogonalised_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    fused = torch.zeros(8 + 4 + 4, 8)
    fused.grad = torch.randn(16, 8, generator=generator)
    alone = [torch.zeros(rows, 8) for rows in (8, 4, 4)]
    for part, gradient in zip(alone, fused.grad.split([8, 4, 4]), strict=True):
        part.grad = gradient.clone()
    Muon({"w": fused}, {"w": (8, 4, 4)}, 0.9, 0.0).step(0.1)
    Muon({str(i): part for i, part in enumerate(alone)}, {}, 0.9, 0.0).step(0.1)
    torch.testing.assert_close(fused, torch.cat(alone))


def test_muon_equals_its_formula_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 10, generator=generator)
    moment, expected = torch.zeros(6, 10), weight.clone()
    muon = Muon({"w": weight}, {}, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        gradient = torch.randn(6, 10, generator=generator)
        weight.grad = gradient.clone()
        muon.step(0.02)
        moment = 0.9 * moment + 0.1 * gradient
        update = orthogonalise((0.1 * gradient + 0.9 * moment)[None])[0]
        expected = expected * (1 - 0.02 * 0.1) - 0.02 * MATCHED_RMS * 10**0.5 * update
    torch.testing.assert_close(weight, expected)


def test_updates_of_muon_have_the_size_of_adamw() -> None:
    weight = torch.zeros(64, 256)
    weight.grad = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    Muon({"w": weight}, {}, 0.95, 0.0).step(1.0)
    assert float(weight.square().mean().sqrt()) == pytest.approx(MATCHED_RMS, rel=0.15)


def test_embeddings_and_norms_do_not_decay() -> None:
    made = model()
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    settings = OptimizerSettings(peak_lr=0.1, weight_decay=0.5)
    optimizer = Optimizer(made, settings, WSD(10))
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.apply(0, 0.0)
    for name, parameter in made.named_parameters():
        decays = parameter.ndim == 2 and name.startswith("layers.")
        torch.testing.assert_close(parameter, before[name] * (0.95 if decays else 1.0))


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_restored_optimizer_goes_on_bit_by_bit(kind: str) -> None:
    settings = OptimizerSettings(matrices=kind)
    one, two = model(), model()
    first, second = (Optimizer(made, settings, WSD(10)) for made in (one, two))
    for step in range(3):
        fill_gradients(one, step)
        first.apply(step, first.gradient_norm())
    two.load_state_dict(one.state_dict())
    second.restore({name: value.clone() for name, value in first.state().items()})
    for made, optimizer in ((one, first), (two, second)):
        fill_gradients(made, 9)
        optimizer.apply(3, optimizer.gradient_norm())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert first.state().keys() == second.state().keys()


def test_a_foreign_optimizer_state_is_refused() -> None:
    optimizer = Optimizer(model(), OptimizerSettings(), WSD(10))
    state = optimizer.state()
    with pytest.raises(KeyError, match="alien"):
        optimizer.restore({**state, "alien": torch.ones(1)})
    with pytest.raises(KeyError, match="muon"):
        optimizer.restore({})


def test_gradients_are_clipped_to_the_norm() -> None:
    made = model()
    optimizer = Optimizer(made, OptimizerSettings(clip=1.0, matrices="adamw"), WSD(10))
    fill_gradients(made)
    norm = optimizer.gradient_norm()
    flat = torch.cat([p.grad.flatten() for p in made.parameters()])
    assert norm == pytest.approx(float(flat.norm()))
    optimizer.apply(0, norm)
    assert optimizer.gradient_norm() == pytest.approx(1.0, rel=1e-5)


def test_the_schedule_warms_up_stays_and_falls() -> None:
    schedule = WSD(100, warmup_steps=10, decay_fraction=0.2, floor=0.1)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9:80] == [1.0] * 71
    assert factors[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(factors[79:]))
    assert schedule.factor(1000) == pytest.approx(0.1)
    assert WSD(4, decay_fraction=1.0).factor(3) == 0.0
    assert WSD(100, decay="sqrt").factor(84) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WSD(0),
        lambda: WSD(10, warmup_steps=9, decay_fraction=0.2),
        lambda: WSD(10, floor=2.0),
        lambda: OptimizerSettings(peak_lr=0.0),
        lambda: OptimizerSettings(peak_lr=float("nan")),
        lambda: OptimizerSettings(clip=0.0),
    ],
)
def test_settings_that_make_no_sense_are_one_line(wrong: object) -> None:
    with pytest.raises(InputError) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_muon_counts_the_products_of_its_iterations() -> None:
    tall, fused = torch.zeros(8, 4), torch.zeros(12, 4)
    muon = Muon({"tall": tall, "fused": fused}, {"fused": (4, 8)}, 0.95, 0.0)
    wide, square = 4 * 4 * 4 * 8 + 2 * 4**3, 4 * 4 * 4 * 4 + 2 * 4**3
    assert muon.flops() == 5 * (2 * wide + square)
