"""The numbers that every gradient stage has; stages add their own by inheriting these.

Knows no tensor, so a recipe can be traced without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from ontogeny.base.config import execution
from ontogeny.base.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a stage learns.

    Matrices learn by Muon, the rest by AdamW, under one peak learning rate, which
    for embedding, head and norms is multiplied by `embedding_lr`. The schedule is warmup, stable,
    decay; `warmup` and `decay` are shares of the steps. `weight_decay` acts on the
    layers' matrices; the gradient's norm is clipped to `clip`. `tokens` counts every pass over the
    data, `batch_tokens` those of one optimizer step. `micro_rows` rows pass the model at once;
    `device` is auto, cpu, cuda or mps.

    Raises:
        InputError: when the numbers do not fit together.
    """

    tokens: int
    batch_tokens: int
    peak_lr: float
    embedding_lr: float = 8.0
    weight_decay: float = 0.1
    warmup: float = 0.02
    decay: float = 0.4
    clip: float = 1.0
    micro_rows: int = execution(32)
    checkpoint_seconds: float = execution(20.0)
    device: str = execution("auto")

    def __post_init__(self) -> None:
        if self.batch_tokens < 1 or self.tokens < self.batch_tokens:
            raise InputError(
                f"tokens ({self.tokens}) is less than one batch ({self.batch_tokens}); "
                "raise the budget or lower batch_tokens"
            )
        if not 0 < self.peak_lr < 1:
            raise InputError(f"peak_lr is {self.peak_lr}; give more than 0 and less than 1")
        if min(self.warmup, self.decay) < 0 or self.warmup + self.decay > 1:
            raise InputError("warmup and decay are shares of the run and add up to 1 at most")
        for name in ("weight_decay", "embedding_lr", "checkpoint_seconds"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.clip <= 0:
            raise InputError(f"clip is {self.clip}; give a norm above 0")
        if self.micro_rows < 1:
            raise InputError(f"micro_rows is {self.micro_rows}; give at least 1")

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.tokens // self.batch_tokens
