"""Tokens -> base model: next-token prediction on a mixture of domains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.plan.optimization import OverTokens
from ontogeny.plan.room import refuse_planned
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Pretrain(OverTokens):
    """Trains a decoder from random weights; `mixture` is the weight of each domain.

    Raises:
        InputError: when the numbers do not fit together or the corpus lacks a domain.
    """

    shape: Shape
    mixture: Mapping[str, float] = field(default_factory=lambda: {"english": 1.0})

    stage: ClassVar[str] = "pretrain"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokens+", "tokenizer")
    makes: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapter is not None:
            raise InputError(
                "pretraining has no weights that an adapter could stand beside; leave adapter out"
            )
        if not self.row_tokens and self.batch_tokens % self.shape.context:
            raise InputError(
                f"batch_tokens ({self.batch_tokens}) is no multiple of shape.context "
                f"({self.shape.context}); change one of them"
            )

    def flops(self) -> float:
        """FLOPs of the whole stage, for the plan's estimate of time."""
        return (
            self.steps
            * self.batch_tokens
            * self.shape.train_flops_per_token(self.row_tokens or None)
        )

    def check_room(self, name: str) -> None:
        """Raises NoSpace where the stage called `name` will not fit into memory."""
        refuse_planned(name, self.shape, self)

    def disk_bytes(self, *_: Artifact) -> int:
        """Room for the model and three checkpoints of weights and moments, in fp32."""
        return 4 * self.shape.parameters() * (1 + 3 * 3)

    def __call__(self, work: Work, *parents: Artifact) -> Made:
        """Writes the model with its tokenizer; stock transformers loads it."""
        made: Made = bridge.pretrain(self, self.shape, self.mixture, work, *parents)
        return made
