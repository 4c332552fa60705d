"""Rotary positions (Su et al. 2021, arXiv:2104.09864), half-split as in Llama and Qwen.

Knows no attention. Channel d is rotated together with channel d + D by the angle
position * base^(-d/D); `Rope` says how the angles are slowed for a longer context. Shape
suffixes: P positions, D half the width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ontogeny.plan.shape import Rope, Shape

PLAIN = Rope()

BETA_FAST, BETA_SLOW = 32, 1
"""YaRN: channels that turn more often than FAST over the original context keep their speed, those
that turn less often than SLOW are slowed by the whole factor (Peng et al. 2023, section 3.2)."""


def rope_tables(
    head_dim: int, theta: float, positions: int, rope: Rope = PLAIN
) -> tuple[Tensor, Tensor]:
    """cos_PD and sin_PD, computed in float32 as every other implementation does.

    An angle of thousands of radians is off by 1e-4 in float32, and trained weights have that error
    in them: exact tables would move their logits by more than 1e-4 beyond a few hundred tokens.
    Both tables carry YaRN's factor, so a product of a query and a key carries its square.
    """
    places_P = torch.arange(positions, dtype=torch.float32)
    angles_PD = places_P[:, None] * frequencies(head_dim, theta, rope)
    scale = magnitude(rope)
    return angles_PD.cos() * scale, angles_PD.sin() * scale


class Tables(nn.Module):
    """The tables of a model; no weights.

    There are two where windowed layers have plain positions of their own (Gemma 3, OLMo 3).
    """

    cos_PE: Tensor
    sin_PE: Tensor
    local_cos_PE: Tensor
    local_sin_PE: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.two = shape.form.own_local_rope and "l" in shape.pattern
        bases = {"": (shape.rope_theta, shape.rope)}
        if self.two:
            bases["local_"] = (shape.local_theta or shape.rope_base, PLAIN)
        for prefix, (theta, rope) in bases.items():
            cos_PE, sin_PE = rope_tables(shape.head_dim, theta, shape.context, rope)
            self.register_buffer(f"{prefix}cos_PE", cos_PE, persistent=False)
            self.register_buffer(f"{prefix}sin_PE", sin_PE, persistent=False)

    def at(
        self, positions_N: Tensor | None, rows: int = 1, length: int = 0
    ) -> list[tuple[Tensor, Tensor]]:
        """cos_NE and sin_NE at these positions, or (None) at 0..length-1 in each of the rows."""
        pairs = [(self.cos_PE, self.sin_PE)]
        if self.two:
            pairs.append((self.local_cos_PE, self.local_sin_PE))
        if positions_N is None:
            return [
                (cos[:length].repeat(rows, 1), sin[:length].repeat(rows, 1)) for cos, sin in pairs
            ]
        return [(cos[positions_N], sin[positions_N]) for cos, sin in pairs]


def frequencies(head_dim: int, theta: float, rope: Rope) -> Tensor:
    """(D,) float32: radians a position by which each pair of channels turns.

    The order of operations is transformers', so that the tables have the same bits.
    """
    base = rope.base(theta, head_dim)
    turns_D = base ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    plain_D = 1.0 / turns_D
    if rope.method == "linear":
        return plain_D / rope.factor
    if rope.method == "yarn":
        kept_D = 1 - _ramp(head_dim, base, rope.original_context)
        return 1.0 / (rope.factor * turns_D) * (1 - kept_D) + plain_D * kept_D
    if rope.method == "llama3":
        return _llama3(plain_D, rope)
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
    return ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)


def _llama3(plain_D: Tensor, rope: Rope) -> Tensor:
    """(D,) slowed by turns over the original context: few by the factor, many not, a ramp between.

    The order of operations is transformers'.
    """
    waves_D = 2 * math.pi / plain_D
    slowed_D = torch.where(
        waves_D > rope.original_context / rope.slow_turns, plain_D / rope.factor, plain_D
    )
    kept_D = (rope.original_context / waves_D - rope.slow_turns) / (
        rope.fast_turns - rope.slow_turns
    )
    between_D = (1 - kept_D) * slowed_D / rope.factor + kept_D * slowed_D
    fast_D = waves_D < rope.original_context / rope.fast_turns
    slow_D = waves_D > rope.original_context / rope.slow_turns
    return torch.where(~fast_D & ~slow_D, between_D, slowed_D)
