"""Changes of known size, rank and direction are found as they are."""

import math
from dataclasses import astuple
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ontogeny.anatomy.weights import (
    LEADING,
    Change,
    Spectrum,
    by_kind,
    by_layer,
    together,
    weight_changes,
)
from ontogeny.base.errors import InputError
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.plan.shape import Shape

NAME = "model.layers.3.mlp.up_proj.weight"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def change(before: Tensor, after: Tensor) -> Change:
    (found,) = weight_changes({NAME: before}, {NAME: after})
    return found


def spectrum(before: Tensor, after: Tensor) -> Spectrum:
    found = change(before, after).spectrum
    assert found is not None
    return found


def weights(seed: int, tied: bool = True) -> dict[str, Tensor]:
    shape = Shape(50, 16, 2, 2, 1, 8, 32, 16, tied=tied)
    model = Transformer(shape)
    initialise(model, seed)
    return named_weights(model)


@pytest.mark.parametrize("weight", [normal(6, 4), torch.zeros(6, 4), normal(5)])
def test_equal_weights_give_zero_and_no_nan(weight: Tensor) -> None:
    found = change(weight, weight.clone())
    assert (found.relative, found.moved, found.changed, found.visible) == (0.0, 0.0, 0, 0)
    if weight.ndim == 2:
        assert found.spectrum is not None
        assert found.spectrum.chance == pytest.approx(0 if not weight.any() else 4 / 6)
        assert astuple(found.spectrum)[:4] == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("rows", "columns"), [(12, 20), (40, 12), (16, 16)])
def test_a_change_of_rank_one_has_rank_one_by_every_measure(rows: int, columns: int) -> None:
    before = normal(rows, columns).double()
    outer = torch.outer(normal(rows, seed=1).double(), normal(columns, seed=2).double())
    found = spectrum(before, before + outer)
    assert found.stable_rank == pytest.approx(1, abs=1e-9)
    assert found.effective_rank == pytest.approx(1, abs=1e-9)
    assert found.spectral == pytest.approx(float(outer.norm()), rel=1e-9)


def test_a_change_of_rank_one_in_fp32_is_still_nearly_one() -> None:
    before = normal(64, 48)
    after = before + torch.outer(normal(64, seed=1), normal(48, seed=2))
    assert spectrum(before, after).effective_rank == pytest.approx(1, abs=1e-3)


def test_equal_singular_values_have_the_width_as_rank() -> None:
    turned = torch.linalg.qr(normal(12, 7).double())[0]
    found = spectrum(torch.zeros(12, 7).double(), 3 * turned)
    assert found.spectral == pytest.approx(3)
    assert found.stable_rank == pytest.approx(7)
    assert found.effective_rank == pytest.approx(7)


def test_ranks_follow_their_formulas_on_known_singular_values() -> None:
    left, _ = torch.linalg.qr(normal(9, 3).double())
    right, _ = torch.linalg.qr(normal(5, 3, seed=1).double())
    values = torch.tensor([4.0, 2.0, 2.0]).double()
    found = spectrum(torch.zeros(9, 5).double(), left @ values.diag() @ right.T)
    assert found.stable_rank == pytest.approx((16 + 4 + 4) / 16)
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert found.effective_rank == pytest.approx(math.exp(entropy))


@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_ranks_are_ordered_and_what_is_relative_ignores_scale(
    rows: int, columns: int, scale: float, size: float, seed: int
) -> None:
    before, moved = normal(rows, columns).double(), normal(rows, columns, seed=seed).double()
    first = change(before, before + size * moved)
    second = change(scale * before, scale * (before + size * moved))
    assert second.relative == pytest.approx(first.relative)
    assert first.spectrum is not None
    assert second.spectrum is not None
    for one, other in zip(astuple(first.spectrum)[1:], astuple(second.spectrum)[1:], strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    ranks = (1, first.spectrum.stable_rank, first.spectrum.effective_rank, min(rows, columns))
    assert all(low <= high + 1e-9 for low, high in pairwise(ranks))
    assert 0 <= first.spectrum.overlap <= 1 + 1e-9


def test_relative_change_is_the_share_of_the_norm() -> None:
    before = normal(30, 20)
    assert change(before, 1.25 * before).relative == pytest.approx(0.25)
    assert change(torch.zeros(3, 3), torch.ones(3, 3)).relative == math.inf


def test_scaling_a_weight_moves_it_within_its_own_leading_directions() -> None:
    before = normal(40, 30)
    assert spectrum(before, 2 * before).overlap == pytest.approx(1)


def test_a_change_outside_the_leading_directions_does_not_overlap() -> None:
    before, after = torch.zeros(30, 30), torch.zeros(30, 30)
    before[:LEADING, :LEADING] = torch.diag(torch.arange(1.0, LEADING + 1))
    after.copy_(before)
    after[LEADING:, LEADING:] = normal(30 - LEADING, 30 - LEADING)
    assert spectrum(before, after).overlap == pytest.approx(0, abs=1e-12)


def test_random_directions_overlap_by_chance() -> None:
    before = [normal(64, 64, seed=seed) for seed in range(20)]
    found = [spectrum(w, w + normal(64, 64, seed=50 + s)) for s, w in enumerate(before)]
    assert found[0].chance == LEADING / 64
    assert sum(each.overlap for each in found) / 20 == pytest.approx(LEADING / 64, rel=0.15)


def test_the_two_thresholds_tell_a_change_from_a_visible_one() -> None:
    before = torch.ones(1000)
    after = before.clone()
    after[:100] += 1e-6  # below 1e-5 of the rms, but not the same bits
    after[100:130] += 1e-3
    found = change(before, after)
    assert (found.changed, found.visible) == (130, 30)
    scaled = change(1e-4 * before, 1e-4 * after)
    assert scaled.visible == 30


def test_layers_and_kinds_each_hold_every_weight_once() -> None:
    changes = weight_changes(weights(1, tied=False), weights(2, tied=False))
    layers, kinds = by_layer(changes), by_kind(changes)
    assert [group.name for group in layers] == [
        "embedding",
        "layer 0",
        "layer 1",
        "final norm",
        "head",
    ]
    assert [group.name for group in kinds] == ["embeddings", "attention", "feed-forward", "norms"]
    total = sum(weight.numel() for weight in weights(1, tied=False).values())
    for groups in (layers, kinds):
        assert sum(group.elements for group in groups) == total
    assert {group.name for group in layers if group.spectrum is None} == {"final norm"}
    assert kinds[3].relative == 0  # norms start as 1 under every seed
    assert kinds[1].changed > 0.9


def test_a_group_is_relative_to_all_its_weights_together() -> None:
    before, after = weights(1), weights(2)
    found = together("all", weight_changes(before, after))
    first = torch.cat([weight.flatten() for weight in before.values()]).double()
    second = torch.cat([weight.flatten() for weight in after.values()]).double()
    assert found.relative == pytest.approx(float((second - first).norm() / first.norm()))
    assert found.changed == pytest.approx(float((second != first).double().mean()))


def test_models_of_other_shapes_are_refused() -> None:
    before = weights(1)
    wider = before | {"model.norm.weight": torch.ones(17)}
    with pytest.raises(InputError, match=r"'model\.norm\.weight' is \[16\].*\[17\]"):
        weight_changes(before, wider)
    with pytest.raises(InputError, match=r"first model has no weight 'lm_head\.weight'"):
        weight_changes(before, weights(1, tied=False))
