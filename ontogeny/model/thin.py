"""The arithmetic of a decode step: few rows against large weights. Knows no layer, no gradient.

On a CPU a step is bound by reading the weights, and the library's usual product for `F.linear`
reads them badly from memory when rows are few: all 25 matrices of a 13.8M-parameter model (55 MB)
take 3.5 ms at one row and 5-13 ms at two to eight rows, on one thread or two. The forms below
take 0.9 (one thread: 1.7) and 1.3-2.8 ms (2.2-5.3). Weights that stay in a core's cache gain
nothing from them, and on other devices they are `F.linear`.

Shape suffixes: N rows, I and O widths of a weight's input and output, A heads, D width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 1 << 17
"""Fewest elements of a weight for which the detour pays."""
FEW = 64
"""Most rows that are multiplied as columns; beyond, transposing the result costs what it gains."""


def linear(x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    """x @ weight^T, (N, O); in few rows on a CPU its columns may be contiguous, not its rows."""
    rows, width = len(x_NI), len(weight_OI)
    if x_NI.device.type != "cpu" or rows > FEW or weight_OI.numel() < LARGE:
        return F.linear(x_NI, weight_OI)
    if rows == 1 and width % 2 == 0:
        # two products in one batch take another kernel, and a thread each
        halves = torch.bmm(weight_OI.view(2, width // 2, -1), x_NI.t().expand(2, -1, 1))
        return halves.view(1, width)
    return torch.mm(weight_OI, x_NI.t()).t()


def norm(x_NAD: Tensor, norm_AD: Tensor, eps: float) -> None:
    """RMS-norm over D, times `norm_AD`, in place."""
    scale_NA1 = torch.linalg.vector_norm(x_NAD, dim=-1, keepdim=True)
    x_NAD *= scale_NA1.square_().div_(x_NAD.shape[-1]).add_(eps).rsqrt_()
    x_NAD *= norm_AD


def rotate(x_NAD: Tensor, cos_ND: Tensor, sin_ND: Tensor) -> None:
    """Turned by the positions' angles, in place; `cos_ND` and `sin_ND` are those of `wide`."""
    turned_NAD = x_NAD.roll(x_NAD.shape[-1] // 2, -1)
    x_NAD.mul_(cos_ND[:, None]).addcmul_(turned_NAD, sin_ND[:, None])


def wide(cos_NE: Tensor, sin_NE: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) tables with which a rotation is x * cos + roll(x, D / 2) * sin."""
    return torch.cat([cos_NE, cos_NE], -1), torch.cat([-sin_NE, sin_NE], -1)
