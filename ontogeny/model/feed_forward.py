"""Gated feed-forward (Shazeer 2020, arXiv:2002.05202). Knows no position and no neighbour.

Shape suffixes: N tokens, C channels, F inner width, G = 2 F gate and up side by side.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ontogeny.model import adapter
from ontogeny.plan.family import Activation


class FeedForward(nn.Module):
    """down(f(gate(x)) * up(x)); gate and up are one matrix, so one product."""

    def __init__(self, hidden: int, ff: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.gate_up = nn.Parameter(torch.empty(2 * ff, hidden))
        self.down = nn.Parameter(torch.empty(hidden, ff))

        self.adapters = nn.ModuleDict()

    def forward(self, x_NC: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        gate_up_NG = adapter.linear(x_NC, self.gate_up, None, self.adapters, "gate_up")
        if self.activation == "silu":
            inner_NF: Tensor = _SwiGLU.apply(gate_up_NG)  # type: ignore[no-untyped-call]
        else:
            gate_NF, up_NF = gate_up_NG.chunk(2, dim=-1)
            inner_NF = F.gelu(gate_NF, approximate="tanh") * up_NF
        return adapter.linear(inner_NF, self.down, None, self.adapters, "down")

    def extend(self, x_NC: Tensor) -> Tensor:
        """The same for generation: few rows, no gradient."""
        gate_up_NG = adapter.thin_linear(x_NC, self.gate_up, None, self.adapters, "gate_up")
        gate_NF, up_NF = gate_up_NG.chunk(2, dim=-1)
        silu = self.activation == "silu"
        active_NF = F.silu(gate_NF) if silu else F.gelu(gate_NF, approximate="tanh")
        return adapter.thin_linear(active_NF.mul_(up_NF), self.down, None, self.adapters, "down")


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up from one (N, 2F) tensor; backward writes both halves of one buffer.

    Autograd's own chunk / silu / mul keep two more activations and join the halves by a copy.
    """

    @staticmethod
    def forward(ctx: Any, gate_up_NG: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_NG)
        gate_NF, up_NF = gate_up_NG.chunk(2, dim=-1)
        return F.silu(gate_NF).mul_(up_NF)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NF: Tensor) -> Tensor:
        (gate_up_NG,) = ctx.saved_tensors
        gate_NF, up_NF = gate_up_NG.chunk(2, dim=-1)
        grad_NG = torch.empty_like(gate_up_NG)
        gate_grad_NF, up_grad_NF = grad_NG.chunk(2, dim=-1)
        sigmoid_NF = gate_NF.sigmoid()
        silu_NF = gate_NF * sigmoid_NF
        torch.mul(grad_NF, silu_NF, out=up_grad_NF)
        # silu'(g) = s + silu(g) (1 - s) = silu + s (1 - silu)
        slope_NF = silu_NF.addcmul_(sigmoid_NF, 1 - silu_NF)
        torch.mul(slope_NF.mul_(up_NF), grad_NF, out=gate_grad_NF)
        return grad_NG
