"""Model + conversations -> model that answers: supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.plan.optimization import OverTokens
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class SFT(OverTokens):
    """Likelihood of what the assistant says; prompts are read and not learnt.

    Whole conversations are packed into rows and see only themselves.

    Raises:
        InputError: when the numbers do not fit together or a conversation exceeds the context.
    """

    mixture: Mapping[str, float] = field(default_factory=lambda: {"chat": 1.0})

    stage: ClassVar[str] = "sft"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "conversations+")
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, model: Artifact, *conversations: Artifact) -> Made:
        """Writes the model; its config.json ends a generation at the end of a turn."""
        made: Made = bridge.continue_training(
            self, self.mixture, work, model, conversations, teaches_chat=True
        )
        return made
