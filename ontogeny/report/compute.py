"""Where the compute of a life goes, beside what others have published.

Knows no store. Shares are of FLOPs (ours) or of GPU hours (where a paper gives only those).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ontogeny.plan.published import PublishedRun, find
from ontogeny.plan.spending import FLOP, OPERATIONS, spending
from ontogeny.plan.spending import POST_TRAINING as LATER

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


PETAFLOP_DAYS = "PF-days"
SHOWN = ("deepseek-v3", "instructgpt", "deepseek-r1")
"""Published lives (`plan/published.json`) whose labs print the compute of more than one stage."""


@dataclass(frozen=True)
class Paper:
    """Where figures stand: the model, the paper, and what its shares are shares of."""

    model: str
    source: str
    whole: str


@dataclass(frozen=True)
class Published:
    """One share that follows from figures that papers print.

    `group` is one of GROUPS or "post_training" (SFT, preferences and RL together); `standing` says
    whether a paper prints the share or we derive it, `how` from what.
    """

    paper: Paper
    group: str
    share: float
    standing: Literal["published", "derived"]
    how: str


def _published(run: PublishedRun) -> Iterator[Published]:
    """A row for each group whose compute is printed, and one for post-training if that is whole."""
    spent = spending(run)
    hours = spent.unit != FLOP
    others = sorted({stage.of for stage in run.stages if stage.of})
    unit = "GPU hours" if hours else "FLOPs"
    whole = f"the {unit} of {others[0]} and its own" if others else f"its own {unit}"
    paper = Paper(run.name, run.paper, whole)
    groups: list[tuple[str, tuple[str, ...]]] = [(group, (group,)) for group in GROUPS]
    known = {part.stage.group for part in spent.parts if part.spent is not None}
    later = {part.stage.group for part in spent.parts if part.stage.group in LATER}
    if "post_training" in known or later <= known:
        groups.append(("post_training", LATER))
    for name, members in groups:
        share = spent.share_of(*members)
        if share is not None:
            amounts = [_amount(value, hours) for value in (share * spent.total, spent.total)]
            how = f"{amounts[0]} of {amounts[1]} {spent.unit if hours else PETAFLOP_DAYS}"
            yield Published(paper, name, share, "derived", how)


def _amount(value: float, hours: bool) -> str:
    """Thousands of hours, or FLOPs in the unit that the papers print."""
    if hours:
        return f"{value / 1e3:,.0f} K"
    return f"{round(value / OPERATIONS[PETAFLOP_DAYS], 1):,g}"


PUBLISHED = tuple(row for name in SHOWN for row in _published(find(name)))
"""What the report shows beside a life's own shares."""


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
