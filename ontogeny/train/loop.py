"""THE gradient loop. Knows no algorithm: the objective says what a batch means.

Pretraining, fine-tuning, preference and policy optimisation all pass through `train`. It never
reads ahead, so the steps may be played by the very model being trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ontogeny.base.errors import InputError
from ontogeny.model.memory import give_freed_memory_back, keep_freed_memory
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Loss, Objective
from ontogeny.train.mesh import sum_gradients, sum_values
from ontogeny.train.optimizer import Optimizer
from ontogeny.train.steps import Steps

MOST_SKIPS = 20
"""Steps in a row without a finite gradient after which a run is given up."""


@dataclass(slots=True)
class Counters:
    """Where a run stands; part of every checkpoint.

    Args:
        step: optimizer steps consumed, skipped ones included; the schedule's position.
        tokens: tokens consumed by this process.
        skipped: steps whose gradient was no finite number.
        skipped_in_a_row: of these, the last ones without a good step between.
    """

    step: int = 0
    tokens: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What one optimizer step did, summed over micro-batches and processes.

    Args:
        step: 1-based number of the step.
        loss: the weighted sum of the terms.
        terms, metrics: each divided by its own count.
        counts: those counts.
        gradient_norm: before clipping.
        learning_rate: of this step.
        tokens: consumed in this step by this process.
        seconds: from taking the batch to the end of the update.
        skipped: the gradient was no finite number and nothing was changed.
        names: of the step's batches.
        width: tokens of its longest row.
    """

    step: int
    loss: float
    terms: dict[str, float]
    metrics: dict[str, float]
    counts: dict[str, float]
    gradient_norm: float
    learning_rate: float
    tokens: int
    seconds: float
    skipped: bool
    names: tuple[str, ...]
    width: int = 0


Hook = Callable[[Report], None]
"""Called after every step: progress, logs, checkpoints, requests to stop (raise `Stopped`)."""


def train(
    model: Transformer,
    objective: Objective,
    steps: Steps,
    optimizer: Optimizer,
    hooks: Sequence[Hook] = (),
    counters: Counters | None = None,
) -> Counters:
    """Trains until `steps` ends; `counters` continue a run (see `Checkpoints.restore`).

    Raises:
        InputError: `MOST_SKIPS` steps in a row had no finite gradient; weights and moments are
            those of the last good step.
    """
    counters = Counters() if counters is None else counters
    (give_freed_memory_back if model.recompute else keep_freed_memory)()
    model.train()
    for batches in steps:
        report = _step(model, objective, batches, optimizer, counters)
        for hook in hooks:
            hook(report)
        if counters.skipped_in_a_row >= MOST_SKIPS:
            raise InputError(
                f"the gradient was no finite number in {MOST_SKIPS} steps in a row up to step "
                f"{counters.step} ({', '.join(report.names)}); lower peak_lr or look at these "
                "batches; the weights of the last good step stand",
                file="training",
                line=counters.step,
            )
    return counters


def _step(
    model: Transformer,
    objective: Objective,
    batches: Sequence[Batch],
    optimizer: Optimizer,
    counters: Counters,
) -> Report:
    """One optimizer step over all micro-batches and processes; advances `counters`."""
    started = time.perf_counter()
    counts = _counts(objective, batches)
    sums: dict[str, float] = {}
    metrics: dict[str, float] = {}
    weights: dict[str, float] = {}
    optimizer.clear()
    for batch in batches:
        batch = batch.to(model.device)
        loss = objective(model(batch, objective.needs), batch)
        _backward(loss, counts)
        for name, term in loss.terms.items():
            weights[name] = term.weight
            sums[name] = sums.get(name, 0.0) + float(term.sum.detach())
        for name, metric in loss.metrics.items():
            metrics[name] = metrics.get(name, 0.0) + float(metric)
    sum_gradients(optimizer.gradients())
    sums = _everywhere(sums)
    terms = {name: sums[name] / (counts[name] or 1.0) for name in weights}
    total = sum(weights[name] * value for name, value in terms.items())
    norm = optimizer.gradient_norm()
    rate = optimizer.learning_rate(counters.step)
    good = math.isfinite(norm) and math.isfinite(total)
    # momentum alone must not move what nobody learnt from: a rollout whose groups all tie
    if good and norm > 0:
        optimizer.apply(counters.step, norm)
    optimizer.clear()
    tokens = sum(batch.tokens for batch in batches)
    counters.step += 1
    counters.tokens += tokens
    counters.skipped += not good
    counters.skipped_in_a_row = 0 if good else counters.skipped_in_a_row + 1
    return Report(
        step=counters.step,
        loss=total,
        terms=terms,
        metrics=_metrics(_everywhere(metrics), counts, len(batches)),
        counts=counts,
        gradient_norm=norm,
        learning_rate=rate,
        tokens=tokens,
        seconds=time.perf_counter() - started,
        skipped=not good,
        names=tuple(batch.name for batch in batches),
        width=max(batch.tokens_BT.shape[1] for batch in batches),
    )


def _counts(objective: Objective, batches: Sequence[Batch]) -> dict[str, float]:
    """The divisor of each term over the whole step, before anything is computed."""
    assert batches, "a step has at least one micro-batch; an empty one has weights 0"
    counts: dict[str, float] = {}
    for batch in batches:
        for name, count in objective.counts(batch).items():
            counts[name] = counts.get(name, 0.0) + count
    return _everywhere(counts)


def _everywhere(values: dict[str, float]) -> dict[str, float]:
    """Each value summed over the processes."""
    return dict(zip(values, sum_values(list(values.values())), strict=True))


def _backward(loss: Loss, counts: dict[str, float]) -> None:
    """Each term divided by its own total; a term that nothing counts for adds nothing."""
    parts = [
        term.sum * (term.weight / counts[name])
        for name, term in loss.terms.items()
        if counts[name] > 0
    ]
    if parts:
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]


def _metrics(sums: dict[str, float], counts: dict[str, float], batches: int) -> dict[str, float]:
    """Sums of metrics over their count where one is declared, else over the micro-batches."""
    everywhere = sum_values([float(batches)])[0] if sums else 1.0
    return {name: value / (counts.get(name) or everywhere) for name, value in sums.items()}
