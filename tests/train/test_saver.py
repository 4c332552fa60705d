"""When checkpoints are written, and what the counters in them decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ontogeny.base.errors import OntogenyError
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.loss import Loss, Outputs, Term
from ontogeny.plan.shape import Shape
from ontogeny.train.checkpoint import Checkpoints, Training
from ontogeny.train.loop import MOST_SKIPS, Counters, Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.saver import Saver
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps


@dataclass(frozen=True)
class Infinite(NextToken):
    """A loss that is never a finite number."""

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        term = NextToken.__call__(self, outputs, batch).terms["nll"]
        return Loss({"nll": Term(term.sum * float("inf"), term.count)})


def new_training(steps: list[list[Batch]]) -> Training:
    model = Transformer(Shape(41, 16, 1, 2, 1, 8, 24, 12))
    initialise(model, 3)
    optimizer = Optimizer(model, OptimizerSettings(), WSD(100))
    return Training(model, optimizer, ListSteps(steps), Counters())


def go(training: Training) -> None:
    parts = training.steps, training.optimizer, (), training.counters
    train(training.model, Infinite(), *parts)


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_run_of_skips_goes_on_behind_an_interruption(forgotten: bool, tmp_path: Path) -> None:
    """The last negative control: the count of skips in a row decides when a run is given up."""
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    bad = Batch(tokens, tokens, torch.ones(1, 4), name="bad")
    checkpoints = Checkpoints(tmp_path)
    for stop in (MOST_SKIPS - 5, 3 * MOST_SKIPS):
        training = new_training([[bad]] * stop)
        checkpoints.restore(training)
        if stop < MOST_SKIPS:
            go(training)
            checkpoints.save(training)
            continue
        if forgotten:
            training.counters.skipped_in_a_row = 0
        with pytest.raises(OntogenyError):
            go(training)
        assert (training.counters.step == MOST_SKIPS) is not forgotten


def test_checkpoints_take_at_most_their_share_of_the_time(tmp_path: Path) -> None:
    """With a clock that says a step takes 1 s and a checkpoint 3 s."""
    now = 0.0
    training = new_training([])

    class Slow(Checkpoints):
        def save(self, _: Training) -> Path:
            nonlocal now
            now += 3
            return self.directory

    saver = Saver(
        Slow(tmp_path), training, stop_requested=lambda: False, every_seconds=10, clock=lambda: now
    )
    report = Report(1, 0.0, {}, {}, {}, 0.0, 0.0, 0, 0.0, False, ())
    for _ in range(5000):
        now += 1
        saver(report)
    assert 0 < saver.spent / now <= 0.02 + 3 / now
