"""Model (+ reward model, + own tasks) -> model: reinforcement learning with a learnt value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.environments.playable import check_playable
from ontogeny.plan.rewards import OverExperience
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class PPO(OverExperience):
    """Plays episodes of training tasks and makes what turned out better than foretold likelier.

    With a reward model this judges the answers, and the tasks' own verdict is only written down.

    Raises:
        InputError: when the numbers do not fit together or an environment is unknown.
    """

    stage: ClassVar[str] = "ppo"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "reward_model?", "tasks*")
    makes: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_playable(self.environments)

    def __call__(self, work: Work, model: Artifact, *others: Artifact) -> Made:
        """Writes the model with its tokenizer, and what was rolled out."""
        judges = [each for each in others if each.record.kind == "reward_model"]
        tasks = [each for each in others if each.record.kind == "tasks"]
        made: Made = bridge.improve(self, work, model, judges[0] if judges else None, tasks)
        return made
