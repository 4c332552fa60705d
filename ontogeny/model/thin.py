"""The arithmetic of a decode step: few rows against large weights. Knows no layer, no gradient.

On a CPU a step is bound by reading the weights, and which of the library's products reads them well
is a matter of the processor. All 25 matrices of a 13.8M-parameter model (55 MB), two threads, ms:

    rows                        1     2     4     8    16    32    64
    with matrix units (AMX)
      F.linear               1.09  1.14  1.80  2.35  2.91  4.34  5.91
      weights x columns      1.05  2.16  2.17  2.17  2.08  2.83  6.18
      two halves in a batch  2.29
    without
      F.linear                3.5    5 to 13
      weights x columns             1.3 to 2.8
      two halves in a batch   0.9

Beside that a step is bound by the number of its operations, since each finds its code and its data
outside the nearest caches: hence few of them, in place. On other devices they are the usual ones.

Shape suffixes: N rows, I and O widths of a weight's input and output, A heads, D width of a head,
C channels.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 1 << 17
"""Fewest elements of a weight for which the detour pays; smaller ones stay in a core's cache."""
FEW = 32
"""Most rows that are multiplied as columns; beyond, the usual product is as fast and its rows are
contiguous."""
FEWER = 4
"""Most rows for which the usual product is the best on processors with matrix units."""
PACKED = "packed"
"""Attribute of a weight under which a product with a smaller copy of it lies
(`ontogeny.model.int8`)."""


class Packed(Protocol):
    """A product with a copy of a weight, made when the weight was at `version`."""

    version: int

    def __call__(self, x_NI: Tensor) -> Tensor:
        """(N, I) -> (N, O), fresh memory."""


def linear(x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    """x @ weight^T, (N, O); in few rows on a CPU its columns may be contiguous, not its rows."""
    packed: Packed | None = getattr(weight_OI, PACKED, None)
    if packed is None:
        return exact(x_NI, weight_OI)
    assert packed.version == weight_OI._version, "the weight has changed since it was packed"
    return packed(x_NI)


def exact(x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    """The same by the weight itself."""
    rows, width = len(x_NI), len(weight_OI)
    if x_NI.device.type != "cpu" or rows > FEW or weight_OI.numel() < LARGE:
        return F.linear(x_NI, weight_OI)
    if matrix_units():
        if rows <= FEWER:
            return F.linear(x_NI, weight_OI)
    elif rows == 1 and width % 2 == 0:
        # two products in one batch take another kernel, and a thread each
        halves = torch.bmm(weight_OI.view(2, width // 2, -1), x_NI.t().expand(2, -1, 1))
        return halves.view(1, width)
    return torch.mm(weight_OI, x_NI.t()).t()


@cache
def matrix_units() -> bool:
    """Whether the processor has tiles (AMX): a fact of the machine, so it repeats bitwise."""
    return bool(torch.cpu.get_capabilities().get("amx_tile", False))


def rms(x_NC: Tensor, weight_C: Tensor, eps: float) -> Tensor:
    """RMS-norm over C, times `weight_C`."""
    if x_NC.device.type != "cpu":
        return F.rms_norm(x_NC, weight_C.shape, weight_C, eps)
    root = weight_C.shape[0] ** 0.5
    zero = _constant(0.0, x_NC.dtype)
    return torch.addcmul(zero, x_NC, weight_C, value=root).div_(_length(x_NC, eps))


def norm(x_NAD: Tensor, eps: float) -> None:
    """RMS-norm over D, in place."""
    if x_NAD.device.type != "cpu":
        x_NAD.copy_(F.rms_norm(x_NAD, x_NAD.shape[-1:], None, eps))
    else:
        x_NAD /= _length(x_NAD, eps).mul_(x_NAD.shape[-1] ** -0.5)


def rotate(x_NAD: Tensor, cos_N1D: Tensor, sin_N1D: Tensor) -> None:
    """Turned by the positions' angles, in place; `cos_N1D` and `sin_N1D` are those of `wide`."""
    turned_NAD = x_NAD.roll(x_NAD.shape[-1] // 2, -1)
    x_NAD.mul_(cos_N1D).addcmul_(turned_NAD, sin_N1D)


def wide(cos_NE: Tensor, sin_NE: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 1, D) tables with which a rotation is x * cos + roll(x, D / 2) * sin."""
    cos_ND, sin_ND = torch.cat([cos_NE, cos_NE], -1), torch.cat([-sin_NE, sin_NE], -1)
    return cos_ND[:, None], sin_ND[:, None]


def _length(x: Tensor, eps: float) -> Tensor:
    """sqrt(sum(x^2 + eps)) over the last dimension, which stays."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.hypot_(_constant((x.shape[-1] * eps) ** 0.5, x.dtype))


@cache
def _constant(value: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=dtype)
