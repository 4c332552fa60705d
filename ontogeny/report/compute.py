"""Where the compute of a life goes, beside what others have published.

Knows no store. Shares are of FLOPs (ours) or of GPU hours (where a paper gives only those).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

GROUPS = {
    "pretrain": "pretraining",
    "continue_pretrain": "continued pretraining",
    "extend_context": "context extension",
    "sft": "supervised fine-tuning",
    "preference": "preferences",
    "rl": "reinforcement learning",
    "measuring": "measuring and the rest",
}
"""Group -> what a person calls it, in the order of a life."""

STAGES = {
    "pretrain": "pretrain",
    "continue_pretrain": "continue_pretrain",
    "wash": "continue_pretrain",
    "extend_context": "extend_context",
    "sft": "sft",
    "pairs": "preference",
    "dpo": "preference",
    "grpo": "rl",
}
"""Stage kind -> group; whatever is not named here is measuring and the rest."""

POST_TRAINING = ("sft", "preference", "rl")


@dataclass(frozen=True)
class Paper:
    """Where figures stand: the model, the paper, and what its shares are shares of."""

    model: str
    source: str
    whole: str


@dataclass(frozen=True)
class Published:
    """One share that a paper states, or that follows from figures it states.

    `group` is one of GROUPS or "post_training" (SFT, preferences and RL together); `standing` says
    whether the paper prints the share or we derive it, `how` from what.
    """

    paper: Paper
    group: str
    share: float
    standing: Literal["published", "derived"]
    how: str


V3 = Paper("DeepSeek-V3", "arXiv:2412.19437", "its own GPU hours")
INSTRUCT = Paper("InstructGPT", "arXiv:2203.02155", "GPT-3's pretraining")
R1 = Paper("DeepSeek-R1", "arXiv:2501.12948", "DeepSeek-V3's GPU hours, on top of them")
R1_HOURS = "147 K (R1-Zero 101 K, R1 41 K, SFT data 5 K) on top of 2,788 K H800 hours"

PUBLISHED = (
    Published(V3, "pretrain", 2664 / 2788, "derived", "2,664 K of 2,788 K H800 hours"),
    Published(V3, "extend_context", 119 / 2788, "derived", "119 K of 2,788 K H800 hours"),
    Published(V3, "post_training", 5 / 2788, "derived", "5 K of 2,788 K H800 hours"),
    Published(INSTRUCT, "sft", 4.9 / 3640, "derived", "4.9 beside 3,640 petaflop/s-days"),
    Published(INSTRUCT, "rl", 60 / 3640, "derived", "60 (PPO-ptx) beside 3,640 petaflop/s-days"),
    Published(R1, "post_training", 147 / 2788, "derived", R1_HOURS),
)


def group_of(stage: str) -> str:
    """The group that a stage kind belongs to."""
    return STAGES.get(stage, "measuring")


def shares(spendings: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Share of the FLOPs of each group, 0 for all when nothing was spent.

    Args:
        spendings: (stage kind, FLOPs) of each artifact.
    """
    spent = dict.fromkeys(GROUPS, 0.0)
    for stage, amount in spendings:
        spent[group_of(stage)] += amount
    total = sum(spent.values())
    return {group: flops / total if total else 0.0 for group, flops in spent.items()}
