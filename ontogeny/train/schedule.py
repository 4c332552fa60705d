"""The learning rate over a run. Knows no optimizer and no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ontogeny.base.errors import InputError


@dataclass(frozen=True, slots=True)
class WSD:
    """Warmup, stable, decay (MiniCPM; Hu et al. 2024, arXiv:2404.06395, section 4).

    Args:
        steps: optimizer steps of the whole run.
        warmup_steps: linear from 1/warmup_steps to 1.
        decay_fraction: share of the steps, the last ones, over which the rate falls.
        floor: factor reached at the end.
        decay: "linear", or "sqrt" for 1 - sqrt(t) (Haegele et al. 2024, arXiv:2405.18392).

    Raises:
        InputError: the phases do not fit into the run.
    """

    steps: int
    warmup_steps: int = 0
    decay_fraction: float = 0.2
    floor: float = 0.0
    decay: Literal["linear", "sqrt"] = "linear"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0:
            raise InputError(f"schedule of {self.steps} steps, {self.warmup_steps} of warmup")
        if not 0 <= self.decay_fraction <= 1 or not 0 <= self.floor <= 1:
            raise InputError("schedule: decay_fraction and floor lie between 0 and 1")
        if self.warmup_steps + self.decay_steps > self.steps:
            raise InputError(
                f"schedule: {self.warmup_steps} warmup and {self.decay_steps} decay steps do not "
                f"fit into {self.steps}; lower one of them"
            )

    @property
    def decay_steps(self) -> int:
        """Steps over which the rate falls."""
        return math.floor(self.steps * self.decay_fraction)

    def factor(self, step: int) -> float:
        """What the peak rate is multiplied with at 0-based `step`; the floor past the end."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        into_decay = step - (self.steps - self.decay_steps) + 1
        if into_decay <= 0:
            return 1.0
        share = min(into_decay / max(self.decay_steps, 1), 1.0)
        fallen = math.sqrt(share) if self.decay == "sqrt" else share
        return 1.0 - (1.0 - self.floor) * fallen
