"""Model + tokens + conversations -> model: a round of pretraining that repairs what SFT cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.plan.optimization import OverTokens
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Wash(OverTokens):
    """Goes on with text, some conversations among it so that what SFT taught stays.

    Raises:
        InputError: when the numbers do not fit together or a domain is missing.
    """

    mixture: Mapping[str, float] = field(
        default_factory=lambda: {"english": 0.6, "code": 0.1, "chat": 0.3}
    )

    stage: ClassVar[str] = "wash"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens+", "conversations+")
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, model: Artifact, *sources: Artifact) -> Made:
        """Writes the model with its tokenizer."""
        made: Made = bridge.continue_training(self, self.mixture, work, model, sources)
        return made
