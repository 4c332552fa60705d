"""The forms for few rows compute what the plain ones do."""

import pytest
import torch
import torch.nn.functional as F

from ontogeny.model import thin
from ontogeny.model.rope import rope_tables
from ontogeny.model.thin import FEW, FEWER, LARGE, linear, matrix_units, norm, rms, rotate, wide


@pytest.mark.parametrize("units", [True, False])
@pytest.mark.parametrize("rows", [1, 2, FEWER, FEWER + 1, FEW, FEW + 1])
@pytest.mark.parametrize("width", [LARGE // 64, LARGE // 64 + 1, 8])
def test_few_rows_are_multiplied_as_many_are(monkeypatch, units, rows, width):
    """Whatever the processor: both of its kinds are computed here."""
    monkeypatch.setattr(thin, "matrix_units", lambda: units)
    made = torch.Generator().manual_seed(rows)
    x_NI, weight_OI = torch.randn(rows, 64, generator=made), torch.randn(width, 64, generator=made)
    expected_NO = F.linear(x_NI.double(), weight_OI.double())
    assert (linear(x_NI, weight_OI) - expected_NO).abs().max() < 1e-4


def test_the_kind_of_the_processor_is_the_one_it_tells():
    assert matrix_units() == bool(torch.cpu.get_capabilities().get("amx_tile", False))


@pytest.mark.parametrize("scale", [1e-20, 1e-4, 1.0, 1e4])
def test_a_norm_is_that_of_the_library(scale):
    """eps counts where a row is small, and sums of squares may neither vanish nor overflow."""
    made = torch.Generator().manual_seed(0)
    x_NC = torch.randn(5, 48, generator=made) * scale
    x_NC[2] = 0.0
    weight_C = torch.randn(48, generator=made)
    expected_NC = F.rms_norm(x_NC.double(), (48,), weight_C.double(), 1e-6).float()
    torch.testing.assert_close(rms(x_NC, weight_C, 1e-6), expected_NC, rtol=2e-6, atol=1e-30)
    norm(x_NC, 1e-6)
    torch.testing.assert_close(x_NC * weight_C, expected_NC, rtol=2e-6, atol=1e-30)


def test_norm_and_rotation_turn_pairs_of_channels_by_their_angle():
    made = torch.Generator().manual_seed(0)
    x_NAD = torch.randn(5, 3, 8, generator=made)
    norm_AD = torch.rand(3, 8, generator=made)
    cos_PE, sin_PE = rope_tables(8, 10_000.0, 5)
    got_NAD = x_NAD.clone()
    norm(got_NAD, 1e-6)
    got_NAD *= norm_AD
    rotate(got_NAD, *wide(cos_PE, sin_PE))
    normed_NAD = F.rms_norm(x_NAD, (8,), None, 1e-6) * norm_AD
    pairs = torch.complex(normed_NAD[..., :4], normed_NAD[..., 4:])
    turned = pairs * torch.complex(cos_PE, sin_PE)[:, None]
    torch.testing.assert_close(got_NAD, torch.cat([turned.real, turned.imag], -1))
