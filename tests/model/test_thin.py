"""The forms for few rows compute what the plain ones do."""

import pytest
import torch
import torch.nn.functional as F

from ontogeny.model.rope import rope_tables
from ontogeny.model.thin import FEW, LARGE, linear, norm, rotate, wide


@pytest.mark.parametrize("rows", [1, 2, 7, FEW, FEW + 1])
@pytest.mark.parametrize("width", [LARGE // 64, LARGE // 64 + 1, 8])
def test_few_rows_are_multiplied_as_many_are(rows, width):
    made = torch.Generator().manual_seed(rows)
    x_NI, weight_OI = torch.randn(rows, 64, generator=made), torch.randn(width, 64, generator=made)
    expected_NO = F.linear(x_NI.double(), weight_OI.double())
    assert (linear(x_NI, weight_OI) - expected_NO).abs().max() < 1e-4


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
