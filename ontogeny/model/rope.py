"""Rotary positions (Su et al. 2021, arXiv:2104.09864), half-split as in Llama and Qwen.

Knows no attention. Channel d is rotated together with channel d + D by the angle
position * base^(-d/D); `Rope` says how the angles are slowed for a longer context. Shape
suffixes: P positions, D half the width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ontogeny.plan.shape import Rope

PLAIN = Rope()

BETA_FAST, BETA_SLOW = 32, 1
"""YaRN: channels that turn more often than FAST over the original context keep their speed, those
that turn less often than SLOW are slowed by the whole factor (Peng et al. 2023, section 3.2)."""


def rope_tables(
    head_dim: int, theta: float, positions: int, rope: Rope = PLAIN
) -> tuple[Tensor, Tensor]:
    """cos_PD and sin_PD in float32, computed in float64 so that long positions stay exact.

    Both carry YaRN's factor, so a product of a query and a key carries its square.
    """
    angles_PD = torch.outer(
        torch.arange(positions, dtype=torch.float64), frequencies(head_dim, theta, rope)
    )
    scale = magnitude(rope)
    return (angles_PD.cos() * scale).float(), (angles_PD.sin() * scale).float()


def frequencies(head_dim: int, theta: float, rope: Rope) -> Tensor:
    """(D,) float64: radians a position by which each pair of channels turns.

    A factor of 1 gives the plain frequencies bit for bit.
    """
    base = rope.base(theta, head_dim)
    half_D = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    plain_D = base**-half_D
    if rope.method == "linear":
        return plain_D / rope.factor
    if rope.method == "yarn":
        slowed_D = _ramp(head_dim, base, rope.original_context)
        return plain_D * (1 - slowed_D * (1 - 1 / rope.factor))
    return plain_D


def magnitude(rope: Rope) -> float:
    """What cos and sin are multiplied with: YaRN's 0.1 ln s + 1 (its section 3.4)."""
    return 0.1 * math.log(rope.factor) + 1 if rope.method == "yarn" else 1.0


def _ramp(head_dim: int, base: float, context: int) -> Tensor:
    """(D,) share of the slowing each channel takes: 0 for fast ones, 1 for slow ones.

    Linear in the channel between whole channels, as in the authors' code and in transformers; the
    paper's own ramp is linear in the number of turns.
    """

    def channel(turns: float) -> float:
        return head_dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(channel(BETA_FAST)), 0)
    high = min(math.ceil(channel(BETA_SLOW)), head_dim - 1)
    width = high - low or 0.001  # one channel: a step
    return ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / width).clamp(0, 1)
