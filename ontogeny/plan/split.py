"""A plan's FLOPs split over its stages as we do, and as a published life did.

Knows no terminal. Tokens are those that the FLOPs buy at the plan's shape and contexts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ontogeny.plan.plan import CONTEXT_FACTOR, Plan
from ontogeny.plan.published import PublishedRun
from ontogeny.plan.shape import Shape
from ontogeny.plan.spending import POST_TRAINING, Spending, spending

GROUP_OF = {
    "pretrain": "pretrain",
    "continue": "continue_pretrain",
    "context": "extend_context",
    "sft": "sft",
    "wash": "",
    "dpo": "preference",
    "grpo": "rl",
}
"""Stage of our plan -> group of a published life; "" where nobody publishes such a stage."""

TOGETHER = "post-training"


@dataclass(frozen=True)
class Slice:
    """One stage of our plan under a split of its FLOPs: tokens are those that the FLOPs buy."""

    stage: str
    context: int
    share: float
    flops: float
    tokens: float


@dataclass(frozen=True)
class Beside:
    """A stage as we plan it and as `theirs` would have it; `why` there is no theirs."""

    ours: Slice
    theirs: Slice | None
    why: str = ""


def stage_context(stage: str, shape: Shape) -> int:
    """Tokens at which a stage of the plan works."""
    return shape.context * (1 if stage in ("pretrain", "continue") else CONTEXT_FACTOR)


def slices(plan: Plan) -> list[Slice]:
    """The plan's stages: the FLOPs of their whole batches and the share of each."""
    contexts = {stage: stage_context(stage, plan.shape) for stage in plan.tokens}
    flops = {
        stage: tokens * plan.shape.train_flops_per_token(contexts[stage])
        for stage, tokens in plan.tokens.items()
    }
    total = sum(flops.values())
    return [
        Slice(stage, contexts[stage], flops[stage] / total, flops[stage], tokens)
        for stage, tokens in plan.tokens.items()
    ]


def beside(run: PublishedRun, plan: Plan) -> list[Beside]:
    """Our stages beside the same FLOPs split as `run` was.

    Where the lab prints one sum for all of post-training, a last row compares that.
    """
    spent, ours = spending(run), slices(plan)
    had = {stage.group for stage in run.stages}
    summed = POST_TRAINING if "post_training" in had else ()
    rows = []
    for mine in ours:
        group = GROUP_OF.get(mine.stage, "")
        theirs = _as_theirs(mine, spent.share_of(group), plan)
        missing = "in their sum below" if group in summed else _missing(spent, group)
        why = "" if theirs else missing if group in had else "no such stage"
        rows.append(Beside(mine, theirs, why))
    if "post_training" in had:
        mine = _together(row for row in ours if GROUP_OF.get(row.stage, "") in POST_TRAINING)
        rows.append(Beside(mine, _as_theirs(mine, spent.share_of(*POST_TRAINING), plan)))
    return rows


def _missing(spent: Spending, group: str) -> str:
    """Why a stage that they had has no share: what is told of it may be in no common unit."""
    told = any(p.spent or p.stage.compute for p in spent.parts if p.stage.group == group)
    return "share unknown" if told else "not published"


def _as_theirs(mine: Slice, share: float | None, plan: Plan) -> Slice | None:
    if share is None:
        return None
    flops = share * plan.flops
    tokens = flops / plan.shape.train_flops_per_token(mine.context)
    return Slice(mine.stage, mine.context, share, flops, tokens)


def _together(rows: Iterable[Slice]) -> Slice:
    found = list(rows)
    return Slice(
        TOGETHER,
        found[0].context,
        sum(row.share for row in found),
        sum(row.flops for row in found),
        sum(row.tokens for row in found),
    )
