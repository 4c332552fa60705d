"""Model + tokens -> model: pretraining goes on with another mixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.plan.optimization import OverTokens
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class ContinuePretrain(OverTokens):
    """Learns a new domain with a fresh optimizer and a re-warmed learning rate.

    What the model knew is replayed by its weight in the `mixture` (Ibrahim et al. 2024,
    arXiv:2403.08763: re-warm, re-decay, replay).

    Raises:
        InputError: when the numbers do not fit together or the corpus lacks a domain.
    """

    mixture: Mapping[str, float] = field(
        default_factory=lambda: {"code": 0.75, "english": 0.225, "tasks": 0.025}
    )

    stage: ClassVar[str] = "continue_pretrain"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens+")
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, model: Artifact, *tokens: Artifact) -> Made:
        """Writes the model with its tokenizer."""
        made: Made = bridge.continue_training(self, self.mixture, work, model, tokens)
        return made
