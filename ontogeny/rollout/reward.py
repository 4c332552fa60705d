"""What says how good a finished answer is, in one number. Knows no tensor and no text.

Implemented by `ontogeny.bridge.reward_model` (a learnt one) and by whatever stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ontogeny.rollout.trajectory import Trajectory

Ids = tuple[int, ...]


class Reward(Protocol):
    """Judges whole token sequences; more is better, and no scale is promised."""

    def rate(self, sequences: Sequence[Ids]) -> NDArray[np.float64]:
        """One number for each sequence, its prompt and its answer as read and sampled.

        What is no finite number is no judgement; whoever learns from it leaves the answer out.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlainReward:
    """A `Reward` from a function of the ids: for tests and for rules."""

    function: Callable[[Ids], float]

    def rate(self, sequences: Sequence[Ids]) -> NDArray[np.float64]:
        """`function` of each."""
        return np.array([self.function(each) for each in sequences], np.float64)


def rate_trajectories(reward: Reward, trajectories: Sequence[Trajectory]) -> NDArray[np.float64]:
    """One number for each episode, of everything read and sampled in it."""
    return reward.rate([each.ids() for each in trajectories])
