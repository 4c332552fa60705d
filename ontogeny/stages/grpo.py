"""Model (+ own tasks) -> model: reinforcement learning on verified problems, without a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.environments.playable import check_playable
from ontogeny.plan.optimization import OverRollouts
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class GRPO(OverRollouts):
    """Plays groups of episodes of training tasks and makes the better ones likelier.

    Raises:
        InputError: when the numbers do not fit together or an environment is unknown.
    """

    stage: ClassVar[str] = "grpo"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tasks*")
    makes: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_playable(self.environments)

    def __call__(self, work: Work, model: Artifact, *tasks: Artifact) -> Made:
        """Writes the model with its tokenizer, and what was rolled out."""
        made: Made = bridge.reinforce(self, work, model, tasks)
        return made
