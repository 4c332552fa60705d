"""The tiny life on a machine that dies once: after the rollout of a step, before its update."""

import os
import signal

from tiny_life import tiny_life

from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.objectives.batch import Batch

DIES_AFTER = int(os.environ.get("DIES_AFTER_ROLLOUT", "0"))
play = RolloutSteps.__next__


def play_and_die(steps: RolloutSteps) -> list[Batch]:
    """A step's rollout; nothing of it has been learnt when the process ends."""
    batches = play(steps)
    if steps.taken == DIES_AFTER:
        os.kill(os.getpid(), signal.SIGKILL)
    return batches


RolloutSteps.__next__ = play_and_die  # type: ignore[method-assign]
mortal_life = tiny_life
