"""The numbers that reward models and PPO have beside those of every gradient stage.

Knows no tensor, so a recipe can be traced without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ontogeny.base.errors import InputError
from ontogeny.plan.optimization import Optimization, OverEpisodes


@dataclass(frozen=True, kw_only=True)
class OverComparisons(Optimization):
    """A stage that reads preference pairs `epochs` times, `pairs_a_step` at once.

    `margin` and `centring` are those of `ontogeny.objectives.reward.BradleyTerry`. `heldout` is
    the share of pairs, chosen by their prompts, that is not learnt from but asked at the end; pairs
    that hold out some of their own are asked these instead.

    Raises:
        InputError: when the numbers do not fit together.
    """

    margin: float = 0.0
    centring: float = 0.01
    heldout: float = 0.1
    pairs_a_step: int = 32
    epochs: int = 1
    weight_decay: float = 0.0
    warmup: float = 0.1
    decay: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.margin, self.centring) < 0 or not 0 <= self.heldout < 1:
            raise InputError("margin and centring are 0 or more; heldout is a share below 1")
        if self.pairs_a_step < 1 or self.epochs < 1:
            raise InputError("pairs_a_step and epochs are at least 1")


@dataclass(frozen=True, kw_only=True)
class OverExperience(OverEpisodes):
    """One whose credit is a learnt value's; a round is learnt from `epochs` times `minibatches`.

    What an episode is worth is its environment's score, or a reward model's where the stage gets
    one, less `missing_end` where the last turn does not end by itself; each token costs `kl` times
    its log-ratio to the parent. `gamma` and `lam` are those of generalised advantages, and
    `ratio_clip`, `value_clip`, `value_weight` and `entropy` are those of
    `ontogeny.objectives.proximal.PPO`. With `whiten_rewards` rewards are scaled to variance 1. The
    value starts at 0, or with `value_start` "reward" as the reward model's head. Ratios are those
    of the plain distribution, so a `temperature` other than 1, or turns that are `forced`, are
    off-policy. `shuffled` deals the scores of a round out at random.

    Raises:
        InputError: when the numbers do not fit together.
    """

    group: int = 1
    epochs: int = 4
    minibatches: int = 1
    kl: float = 0.05
    gamma: float = 1.0
    lam: float = 0.95
    missing_end: float = 1.0
    whiten_rewards: bool = False
    ratio_clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    value_start: Literal["zero", "reward"] = "zero"
    entropy: float = 0.0
    decay: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1 or not 1 <= self.minibatches <= self.prompts * self.group:
            raise InputError(
                f"a round of {self.prompts * self.group} episodes is learnt from {self.epochs} "
                f"times in {self.minibatches} parts; give epochs of 1 or more, and from 1 part to "
                "as many as episodes"
            )
        if not (0 <= self.gamma <= 1 and 0 <= self.lam <= 1):
            raise InputError("gamma and lam lie between 0 and 1")
        if min(self.kl, self.missing_end, self.entropy) < 0:
            raise InputError("kl, missing_end and entropy are 0 or more")
        if min(self.ratio_clip, self.value_clip, self.value_weight) < 0:
            raise InputError("ratio_clip, value_clip and value_weight are 0 or more")

    @property
    def updates(self) -> int:
        """Optimizer steps in all."""
        return self.steps * self.epochs * self.minibatches
