"""Playing many tasks of an environment with tools, and what is told of them.

Knows no model and no flow but `talking.talk`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import Judged, Task
from ontogeny.environments.talking import talk
from ontogeny.environments.tooled import Rules, ToolEnvironment
from ontogeny.rollout.drive import Admission, drive_all
from ontogeny.rollout.journal import Journal
from ontogeny.rollout.policy import Policy
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import Speech, speech


@runtime_checkable
class JudgesEpisodes(Protocol):
    """An environment with tools that judges many episodes at once, or tells more than a score."""

    def judge_episodes(
        self, tasks: Sequence[Task], trajectories: Sequence[Trajectory]
    ) -> list[Judged]:
        """A verdict on each episode, in their order; its notes join the trajectory's."""
        ...


@dataclass(frozen=True)
class Played:
    """An episode and its score, 0 to 1."""

    task: Task
    trajectory: Trajectory
    score: float


@dataclass(frozen=True)
class Rates:
    """What many episodes were like; each thing apart.

    Attributes:
        solved: share of episodes that score 1.
        attempts: calls that were begun, in all.
        valid: share of them that could be read and fit a tool; None where there was none.
        turns: of the agent, mean.
        ends: why episodes ended -> how many.
        gated: calls held back since a stranger's words made them.
        broken: calls whose tool failed by its own mistake; anything but 0 is a fault of ours.
    """

    episodes: int
    solved: float
    attempts: int
    valid: float | None
    turns: float
    ends: Mapping[str, int]
    gated: int
    broken: int


def play_all(
    policy: Policy,
    environment: ToolEnvironment,
    tasks: Sequence[Task],
    spoken: Tokenizer | Speech,
    rules: Rules | None = None,
    *,
    seed: int = 0,
    journal: Journal | None = None,
    admission: Admission = "lockstep",
) -> list[Played]:
    """All tasks, together; episodes stand in their order. Draws of episode n follow from its n.

    Args:
        spoken: how the policy's model says calls: its tokenizer, or a speech of one's choice.

    Raises:
        InputError: see `talking.talk` and `rollout.drive`.
    """
    spoken = speech(spoken) if isinstance(spoken, Tokenizer) else spoken
    flows = [
        talk(environment, task, spoken, rules or Rules(), named_seed(seed, "episode", number))
        for number, task in enumerate(tasks)
    ]
    executor = environment.executor(tasks)
    trajectories = drive_all(flows, policy, executor, admission=admission, journal=journal)
    if isinstance(environment, JudgesEpisodes):
        told = environment.judge_episodes(tasks, trajectories)
        return [
            Played(task, each.noted(**judged.notes), judged.score)
            for task, each, judged in zip(tasks, trajectories, told, strict=True)
        ]
    return [
        Played(task, each, environment.score(task, each))
        for task, each in zip(tasks, trajectories, strict=True)
    ]


def rates(played: Sequence[Played]) -> Rates:
    """Of at least one episode."""
    notes = [each.trajectory.notes for each in played]
    totals = {
        name: sum(each[name] for each in notes)
        for name in ("attempts", "valid", "turns", "gated", "broken")
    }
    return Rates(
        episodes=len(played),
        solved=sum(each.score == 1.0 for each in played) / len(played),
        attempts=totals["attempts"],
        valid=totals["valid"] / totals["attempts"] if totals["attempts"] else None,
        turns=totals["turns"] / len(played),
        ends=dict(Counter(each["end"] for each in notes)),
        gated=totals["gated"],
        broken=totals["broken"],
    )
