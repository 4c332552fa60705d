"""Model + preference pairs -> model: direct preference optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.plan.optimization import OverPairs
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class DPO(OverPairs):
    """Raises the chosen answers above the rejected ones; the parent is the frozen reference.

    Raises:
        InputError: when the numbers do not fit together or there are too few pairs.
    """

    stage: ClassVar[str] = "dpo"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "pairs")
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, model: Artifact, pairs: Artifact) -> Made:
        """Writes the model with its tokenizer."""
        made: Made = bridge.prefer(self, work, model, pairs)
        return made
