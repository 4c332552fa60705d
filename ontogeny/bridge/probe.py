"""A second of this machine's torch: what it was built for and how fast its products are.

Measures for `ontogeny doctor`; decides nothing and changes no state of torch that it does not
put back. Knows no model.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import torch

from ontogeny.bridge.device import device

FIRST_SQUARE, LAST_SQUARE = 128, 2048
LONG_ENOUGH = 0.04
"""Seconds of one product after which no larger one is tried: eight times as long would be much."""
REPEATS = 3


@dataclass(frozen=True)
class TorchProbe:
    """What torch is here.

    Args:
        version: as torch says it, with its local part (+cpu).
        cuda: the CUDA or ROCm that it was built for, None for a build that knows none.
        threads: how many threads a product runs on.
        device: where runs compute.
        accelerators: one line each: name and memory, Apple's included.
        fp32: FLOP/s of a square product on `device`.
        bf16: the same in bfloat16; None where it is refused.
        deterministic: whether the backward passes that a run needs have deterministic algorithms.
        warnings: what torch had to say meanwhile.
    """

    version: str
    cuda: str | None
    threads: int
    device: str
    accelerators: tuple[str, ...]
    fp32: float
    bf16: float | None
    deterministic: bool
    warnings: tuple[str, ...]


def probe_torch() -> TorchProbe:
    """Looks at torch; below two seconds on a processor that does 1 GFLOP/s or more.

    Raises:
        RuntimeError: torch cannot compute on its own device.
    """
    with warnings.catch_warnings(record=True) as told, torch.no_grad():
        warnings.simplefilter("always")
        where = device()
        return TorchProbe(
            version=torch.__version__,
            cuda=torch.version.cuda or getattr(torch.version, "hip", None),
            threads=torch.get_num_threads(),
            device=where.type,
            accelerators=_accelerators(),
            fp32=_rate(where, torch.float32),
            bf16=_rate_or_none(where, torch.bfloat16),
            deterministic=_deterministic(where),
            warnings=tuple(dict.fromkeys(str(warning.message) for warning in told)),
        )


def _accelerators() -> tuple[str, ...]:
    found = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(number)
        found.append(f"{about.name}, {about.total_memory / 1e9:.0f} GB")
    if torch.backends.mps.is_available():
        found.append("Apple GPU (mps), taken only by name: its kernels are not deterministic")
    return tuple(found)


def _rate(where: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the largest square product that is quick; the best of a few."""
    size = FIRST_SQUARE
    while True:
        square = torch.full((size, size), 0.5, device=where, dtype=dtype)
        seconds = min(_seconds(square) for _ in range(REPEATS))
        if seconds > LONG_ENOUGH / REPEATS or size == LAST_SQUARE:
            return 2 * size**3 / seconds
        size *= 2


def _rate_or_none(where: torch.device, dtype: torch.dtype) -> float | None:
    try:
        return _rate(where, dtype)
    except RuntimeError:
        return None  # this device has no such product, which is the answer


def _seconds(square: torch.Tensor) -> float:
    began = time.perf_counter()
    square @ square
    if square.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _deterministic(where: torch.device) -> bool:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(True)
        values = torch.ones(8, 4, device=where)
        rows = torch.tensor([0, 1, 1, 3], device=where)
        torch.zeros(8, 4, device=where).index_add_(0, rows, values[rows])  # embedding's backward
        values @ values.T
    except RuntimeError:
        return False  # cuBLAS without its workspace setting, or a kernel without such an algorithm
    finally:
        torch.use_deterministic_algorithms(before)
    return True
