"""Published figures beside what arithmetic gives: parameters, FLOPs by 6 N D, GPU hours.

Knows no terminal and no run by name; which run is an outlier, and why, is in published.json.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from ontogeny.plan.budget import ACCELERATORS
from ontogeny.plan.published import Figure, PublishedRun, PublishedStage, library
from ontogeny.plan.spending import flops_by_6nd, hours_of, reported_flops

PARAMETERS_TOLERANCE, FLOPS_TOLERANCE = 0.005, 0.05


@dataclass(frozen=True)
class Check:
    """A published figure beside what arithmetic gives, and how far it may be off.

    `tolerance` and `difference` are shares of the published value; `outlier` says why this run is
    known to lie outside.
    """

    what: str
    published: Figure | None
    computed: float | None
    tolerance: float
    outlier: str = ""

    @property
    def difference(self) -> float | None:
        """(computed - published) / published; None where either is missing."""
        if self.published is None or self.computed is None:
            return None
        return self.computed / self.published.value - 1


def checks(run: PublishedRun) -> list[Check]:
    """Parameters, FLOPs of pretraining by 6 N D, and its GPU hours, published beside computed."""
    built, first = run.architecture, _pretraining(run)
    total = None if built is None else float(built.parameters())
    out = run.outliers.get
    found = [
        Check("parameters", run.parameters, total, PARAMETERS_TOLERANCE, out("parameters", ""))
    ]
    if run.active_parameters is not None:
        active = None if built is None else float(built.active_parameters())
        reason = out("active_parameters", "")
        found.append(Check("active", run.active_parameters, active, PARAMETERS_TOLERANCE, reason))
    flops = None if first is None else flops_by_6nd(run, first)
    printed = None if first is None else reported_flops(first)
    found.append(Check("FLOPs, 6 N D", printed, flops, FLOPS_TOLERANCE, out("flops", "")))
    hours = None if first is None else hours_of(first)
    if run.hours_class is not None:
        tolerance = library().hours_classes[run.hours_class].tolerance
        reason = out("gpu_hours", "")
        found.append(Check("GPU hours", hours, expected_hours(run), tolerance, reason))
    return found


def flops_with_attention(run: PublishedRun) -> float | None:
    """FLOPs of pretraining with attention and without look-ups; None where something is unknown."""
    stage = _pretraining(run)
    if stage is None or run.architecture is None or not stage.tokens or not stage.context:
        return None
    return run.architecture.train_flops_with_attention(stage.tokens.value, stage.context)


def utilisation(run: PublishedRun) -> float | None:
    """6 N D over what the hours of pretraining could do at the BF16 peak; None where unknown."""
    stage = _pretraining(run)
    hours = None if stage is None else hours_of(stage)
    flops = None if stage is None else flops_by_6nd(run, stage)
    if hours is None or flops is None or run.hours_class is None:
        return None
    return flops / (hours.value * _flops_an_hour(run.hours_class))


def expected_hours(run: PublishedRun) -> float | None:
    """GPU hours of pretraining if `run` used its hardware as the other runs of its class did.

    The median utilisation of the class without `run` itself, so a comparison with what `run`
    printed is a prediction. None when its class has no other run.
    """
    stage = _pretraining(run)
    flops = None if stage is None else flops_by_6nd(run, stage)
    if flops is None or run.hours_class is None:
        return None
    others = [
        used
        for other in library().runs
        if _fitted(other, run.hours_class) and other.name != run.name
        if (used := utilisation(other)) is not None
    ]
    if not others:
        return None
    return flops / (statistics.median(others) * _flops_an_hour(run.hours_class))


def _fitted(run: PublishedRun, name: str) -> bool:
    return run.hours_class == name and not run.unfitted and "gpu_hours" not in run.outliers


def _flops_an_hour(hours_class: str) -> float:
    return 3600 * ACCELERATORS[library().hours_classes[hours_class].gpu].peak


def _pretraining(run: PublishedRun) -> PublishedStage | None:
    return next((stage for stage in run.stages if stage.group == "pretrain"), None)
