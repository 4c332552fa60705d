"""What a published life spent stage by stage, in one unit, and the share of each stage.

Knows no terminal. A share is of the compute that is known of a life; of stages whose compute is not
published nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ontogeny.plan.published import Figure, PublishedRun, PublishedStage

FLOP, HOURS = "FLOP", " hours"
BY_6ND = "6 N D of the stage's tokens with the active parameters"
OPERATIONS = {FLOP: 1.0, "PF-days": 1e15 * 86_400}
"""FLOPs in a unit of compute."""

POST_TRAINING = ("sft", "preference", "rl", "post_training")
"""Groups after the base model; the last is the sum of the others where a lab prints only that."""


@dataclass(frozen=True)
class Part:
    """What one stage spent (None: not published) and its share of the whole (None: unknown)."""

    stage: PublishedStage
    spent: Figure | None
    share: float | None


@dataclass(frozen=True)
class Spending:
    """A life's stages in one unit: FLOPs, or hours of one accelerator."""

    unit: str
    total: float
    parts: tuple[Part, ...]

    def share_of(self, *groups: str) -> float | None:
        """Known share of these groups together; None when none of it is known."""
        known = [p.share for p in self.parts if p.stage.group in groups and p.share is not None]
        return sum(known) if known else None


def parameters(run: PublishedRun) -> float | None:
    """N of 6 N D: active parameters, computed where the architecture is known."""
    if run.architecture is not None:
        return run.architecture.active_parameters()
    stated = run.active_parameters or run.parameters
    return None if stated is None else stated.value


def flops_by_6nd(run: PublishedRun, stage: PublishedStage) -> float | None:
    """6 N D of a stage's tokens; None where N or D is not published."""
    weights = parameters(run)
    if weights is None or stage.tokens is None:
        return None
    return 6 * weights * stage.tokens.value


def reported_flops(stage: PublishedStage) -> Figure | None:
    """The FLOPs that the lab prints for the stage, in FLOP whatever its unit was."""
    for figure in stage.compute:
        if figure.unit in OPERATIONS:
            return replace(figure, value=figure.value * OPERATIONS[figure.unit], unit=FLOP)
    return None


def spending(run: PublishedRun) -> Spending:
    """What each stage of `run` spent.

    In hours where those of pretraining and of another stage are published, in FLOPs otherwise:
    printed ones, or 6 N D of the stage's tokens. A single known stage of several has no share.
    """
    hours = [hours_of(stage) for stage in run.stages]
    known = {each.unit for each in hours if each is not None}
    pretraining = any(h for s, h in zip(run.stages, hours, strict=True) if s.group == "pretrain")
    if pretraining and len(known) == 1 and sum(each is not None for each in hours) > 1:
        return _shared(run, hours, known.pop())
    return _shared(run, [_flops(run, stage) for stage in run.stages], FLOP)


def _shared(run: PublishedRun, spent: list[Figure | None], unit: str) -> Spending:
    values = [each.value for each in spent if each is not None]
    total = sum(values)
    told = len(values) > 1 or len(run.stages) == 1
    parts = [
        Part(stage, each, each.value / total if told and each is not None else None)
        for stage, each in zip(run.stages, spent, strict=True)
    ]
    return Spending(unit, total, tuple(parts))


def hours_of(stage: PublishedStage) -> Figure | None:
    """The accelerator hours that are published for the stage, or derived from what is."""
    return next((each for each in stage.compute if each.unit.endswith(HOURS)), None)


def _flops(run: PublishedRun, stage: PublishedStage) -> Figure | None:
    printed, flops = reported_flops(stage), flops_by_6nd(run, stage)
    if printed is not None or flops is None or stage.tokens is None:
        return printed
    estimated = stage.tokens.standing == "estimated"
    return replace(
        stage.tokens,
        value=flops,
        unit=FLOP,
        standing="estimated" if estimated else "derived",
        source=BY_6ND,
    )
