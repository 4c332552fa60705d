"""A gradient stage: the loop with its checkpoints, its progress and its stop.

Every stage that trains passes through `fit`; it knows no objective and no kind of data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ontogeny.bridge.adapters import begin_adapter, finish_adapter, train_flops_per_token
from ontogeny.bridge.calibration import matmul_peak
from ontogeny.bridge.room import require_room
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.loss import Objective
from ontogeny.plan.memory import gigabytes
from ontogeny.plan.optimization import Optimization
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Work
from ontogeny.train.checkpoint import Checkpoints, Training
from ontogeny.train.loop import Counters, Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.saver import Saver
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import Steps

SMOOTHING = 0.95


@dataclass(frozen=True)
class Speed:
    """How fast this session was.

    `model` and `optimizer` are FLOP/s of their matrix products, with attention over whole rows;
    `peak` is that of a large square product, measured before and after on the same machine under
    the same load. `learnt` says what was trained where it is not everything.
    """

    model: float
    optimizer: float
    peak: float
    stall_seconds: float
    learnt: str = ""
    memory: str = ""

    def note(self) -> str:
        """One line for a person: the share of the peak, and what bounds it."""
        share, whole = self.model / self.peak, (self.model + self.optimizer) / self.peak
        muon = f", {whole:.0%} with Muon's products" if self.optimizer else ""
        learnt = f"{self.learnt}; " if self.learnt else ""
        return (
            f"{learnt}{self.model / 1e9:.0f} GFLOP/s, {share:.0%} of this machine's matmul peak "
            f"({self.peak / 1e9:.0f}){muon}; bound by what is no large product: attention, norms, "
            f"activations; checkpoints took {self.stall_seconds:.1f} s; "
            f"{self.memory} of memory expected"
        )


def fit(
    work: Work,
    model: Transformer,
    objective: Objective,
    steps: Steps,
    config: Optimization,
    count: int,
) -> tuple[Counters, Speed | None]:
    """Trains `model` in place for `count` steps, from the last checkpoint where there is one.

    An adapter is attached before and, after, kept in the payload and folded into the weights.
    The speed is None when no step was left to make.

    Raises:
        Stopped: a signal came; the checkpoint stands.
        NoSpace: it will not fit into memory; or the disk takes no more, the last checkpoint stands.
        OntogenyError: the gradient stayed no finite number.
    """
    learnt = begin_adapter(work, model, config)
    model.recompute = config.recompute
    needed = require_room(work, model, steps, config)
    schedule = WSD(count, round(count * config.warmup), config.decay)
    optimizer = Optimizer(model, _settings(config), schedule)
    torch.manual_seed(work.named_seed("global"))
    training = Training(model, optimizer, steps, Counters())
    checkpoints = Checkpoints(work.checkpoints)
    with work.checkpointing() as stop:
        _resume(work, checkpoints, training)
        saver = Saver(
            checkpoints,
            training,
            stop_requested=lambda: stop.requested,
            every_seconds=config.checkpoint_seconds,
            saved=work.keep_clock,
        )
        peak = matmul_peak(model.device)
        progress = _Progress(work, model.shape, config, count)
        train(model, objective, steps, optimizer, [progress, saver], training.counters)
    finish_adapter(work, model)
    if not progress.seconds:
        return training.counters, None
    speed = Speed(
        model=progress.flops / progress.seconds,
        optimizer=progress.steps * optimizer.flops() / progress.seconds,
        peak=max(peak, matmul_peak(model.device)),
        stall_seconds=saver.spent,
        learnt=learnt,
        memory=gigabytes(needed.total),
    )
    return training.counters, speed


def _settings(config: Optimization) -> OptimizerSettings:
    """An adapter learns by AdamW under the one rate; there is no embedding that learns."""
    adapted = config.adapter is not None
    return OptimizerSettings(
        peak_lr=config.peak_lr,
        embedding_lr=1.0 if adapted else config.embedding_lr,
        weight_decay=config.weight_decay,
        clip=config.clip,
        matrices="adamw" if adapted else config.optimizer,
    )


def _resume(work: Work, checkpoints: Checkpoints, training: Training) -> None:
    found = checkpoints.restore(training)
    for path, reason in found.ignored:
        work.log("warning", message=f"checkpoint {path.name} is ignored: {reason}")
    if found.path is not None:
        note = f" ({'; '.join(found.differences)})" if found.differences else ""
        work.log("resumed", step=training.counters.step, note=note)


class _Progress:
    """A hook: tells the loss, the learning rate and the time left; logs skipped steps."""

    def __init__(self, work: Work, shape: Shape, config: Optimization, total_steps: int) -> None:
        self.work, self.shape, self.config = work, shape, config
        self.total_steps = total_steps
        self.loss: float | None = None
        self.steps = 0
        self.flops = 0.0
        self.seconds = 0.0

    def __call__(self, report: Report) -> None:
        """Tells one step."""
        self.steps += 1
        rate = train_flops_per_token(self.shape, self.config.adapter, report.width)
        self.flops += report.tokens * rate
        self.seconds += report.seconds
        if report.skipped:
            self.work.log(
                "warning",
                message=f"step {report.step} skipped, its gradient is not finite "
                f"({', '.join(report.names)})",
            )
            return
        before = report.loss if self.loss is None else self.loss
        self.loss = SMOOTHING * before + (1 - SMOOTHING) * report.loss
        self.work.progress(
            report.step,
            self.total_steps,
            "steps",
            loss=self.loss,
            lr=report.learning_rate,
            tokens=report.step * report.tokens,
            **report.metrics,
        )
