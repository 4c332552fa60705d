"""The processes that train together. Knows no model; one process is the plain case.

Sums only: every count and every gradient is added up over ranks and divided once, by the count of
the whole step, so two processes make the same step as one, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

BUCKET = 16 << 20
"""Elements of gradient that travel together."""


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_values(values: Sequence[float]) -> list[float]:
    """Each value summed over the processes, in float64."""
    if world()[1] == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return [float(value) for value in total]


def anywhere(flag: bool) -> bool:
    """Whether `flag` holds in at least one process; all get the same answer."""
    return sum_values([float(flag)])[0] > 0


def meet() -> None:
    """Returns when every process is here."""
    if world()[1] > 1:
        dist.barrier()


def sum_gradients(gradients: Sequence[Tensor]) -> None:
    """Adds the gradients up over the processes, in place."""
    if world()[1] == 1:
        return
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(tensor.numel() for tensor in bucket) >= BUCKET:
            _sum_bucket(bucket)
            bucket = []
    if bucket:
        _sum_bucket(bucket)


def _sum_bucket(bucket: list[Tensor]) -> None:
    flat = torch.cat([tensor.flatten() for tensor in bucket])
    dist.all_reduce(flat)
    pieces = torch.split(flat, [tensor.numel() for tensor in bucket])
    for tensor, piece in zip(bucket, pieces, strict=True):
        tensor.copy_(piece.view_as(tensor))
