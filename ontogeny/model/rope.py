"""Rotary positions (Su et al. 2021, arXiv:2104.09864), half-split as in Llama and Qwen.

Knows no attention. Channel d is rotated together with channel d + D/2 by the angle
position * theta^(-2d/D). Shape suffixes: P positions, D half the width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rope_tables(head_dim: int, theta: float, positions: int) -> tuple[Tensor, Tensor]:
    """cos_PD and sin_PD in float32, computed in float64 so that long positions stay exact."""
    half_D = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    angles_PD = torch.outer(torch.arange(positions, dtype=torch.float64), theta**-half_D)
    return angles_PD.cos().float(), angles_PD.sin().float()
