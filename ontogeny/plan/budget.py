"""Reads a budget: `10m`, `2e18flops`, `8xh100:4h`, `$50`.

Knows no machine but the published peaks of a few accelerators.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ontogeny.base.errors import InputError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
FORMS = "10m, 2h, 2e18flops, 8xh100:4h or $50"


@dataclass(frozen=True)
class Accelerator:
    """Dense bf16 peak in FLOP/s (vendor data sheets) and dollars an hour."""

    peak: float
    dollars_an_hour: float


ACCELERATORS = {
    "a100": Accelerator(312e12, 1.5),
    "h100": Accelerator(989e12, 2.0),
    "h200": Accelerator(989e12, 2.5),
}
"""Prices are planning figures; $2 an hour is what DeepSeek-V3's report counts for an H800."""

MFU = 0.35
"""Share of the peak that long public runs sustain (median of dense A100 and H100 runs)."""


@dataclass(frozen=True)
class Budget:
    """What may be spent: wall seconds on this machine, or FLOPs wherever they run."""

    text: str
    seconds: float | None = None
    flops: float | None = None

    def total_flops(self, flops_per_second: float) -> float:
        """FLOPs that the budget buys on a machine that sustains `flops_per_second`."""
        if self.flops is not None:
            return self.flops
        assert self.seconds is not None
        return self.seconds * flops_per_second


def parse(text: str) -> Budget:
    """The budget that `text` names.

    Raises:
        InputError: when it has none of the known forms or is not positive.
    """
    plain = text.strip().lower()
    number = r"(\d+(?:\.\d+)?(?:e\d+)?)"
    if match := re.fullmatch(number + r"\s*([smhd])", plain):
        return Budget(plain, seconds=_positive(match[1], text) * UNITS[match[2]])
    if match := re.fullmatch(number + r"\s*flops", plain):
        return Budget(plain, flops=_positive(match[1], text))
    if match := re.fullmatch(r"(\d+)x([a-z0-9]+):" + number + "([smhd])", plain):
        seconds = _positive(match[1], text) * _positive(match[3], text) * UNITS[match[4]]
        return Budget(plain, flops=seconds * _accelerator(match[2]).peak * MFU)
    if match := re.fullmatch(r"\$" + number, plain):
        device = ACCELERATORS["h100"]
        hours = _positive(match[1], text) / device.dollars_an_hour
        return Budget(plain, flops=hours * 3600 * device.peak * MFU)
    raise InputError(f"--budget '{text}' is no budget; give something like {FORMS}")


def _positive(number: str, text: str) -> float:
    value = float(number)
    if not 0 < value < 1e40:
        raise InputError(f"--budget '{text}' is not positive and finite; give {FORMS}")
    return value


def _accelerator(name: str) -> Accelerator:
    if name not in ACCELERATORS:
        raise InputError(f"no accelerator '{name}'; known are {', '.join(ACCELERATORS)}")
    return ACCELERATORS[name]
