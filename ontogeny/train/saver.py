"""When to write a checkpoint. Knows what time it is and nothing of what a checkpoint holds.

The decision depends on the clock and so belongs to execution: it changes no result.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ontogeny.base.errors import Stopped
from ontogeny.train.checkpoint import Checkpoints, Training
from ontogeny.train.loop import Report
from ontogeny.train.mesh import anywhere


class Saver:
    """A hook of `train`: checkpoints now and then, and when the run is asked to stop.

    Args:
        stall: largest share of the time that may go into writing.
        every_seconds: shortest time between two checkpoints.
        stop_requested: asked after every step; True: checkpoint and raise `Stopped`.
        saved: called after every checkpoint.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        training: Training,
        *,
        stop_requested: Callable[[], bool],
        every_seconds: float = 10.0,
        stall: float = 0.02,
        saved: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.checkpoints, self.training = checkpoints, training
        self.stop_requested, self.saved, self.clock = stop_requested, saved, clock
        self.every_seconds, self.stall = every_seconds, stall
        self.spent = 0.0
        self._cost = 0.0
        self._last = clock()

    def __call__(self, report: Report) -> None:
        """After each step.

        Raises:
            Stopped: a stop was requested; the checkpoint of this step stands.
            NoSpace: see `Checkpoints.save`.
        """
        stop = anywhere(self.stop_requested())
        if stop or anywhere(self._due()):
            self.save()
        if stop:
            raise Stopped(
                f"stopped after step {report.step}; the same command continues",
                file=self.checkpoints.directory,
                line=report.step,
            )

    def save(self) -> None:
        """A checkpoint now."""
        started = self.clock()
        self.checkpoints.save(self.training)
        self.saved()
        self._last = self.clock()
        self._cost = self._last - started
        self.spent += self._cost

    def _due(self) -> bool:
        return self.clock() - self._last >= max(self.every_seconds, self._cost / self.stall)
