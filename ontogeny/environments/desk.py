"""An environment over a small simulated data base: tasks with gold calls, and their judge.

Knows no model and no tokens. What an episode did to the base is computed again from its calls
alone, on a fresh base, so nothing that an agent says or does reaches the judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import SPLITS, Task
from ontogeny.environments.session import Base, Call, Operation, Session
from ontogeny.rollout.flow import Execute, Outcome
from ontogeny.rollout.tools import BROKEN, Tool
from ontogeny.rollout.trajectory import Trajectory


class Desks:
    """The executor of flows over data bases: one session for each episode, in their order."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = sessions

    async def execute(self, episode: int, request: Execute) -> Outcome:
        """See `Session.call`."""
        return self.sessions[episode].call(request.tool, request.arguments)


@dataclass(frozen=True)
class Desk:
    """An environment: somebody asks, an agent works on a data base by tools.

    `task.prompt` is the request; `task.meta["gold"]` are the right calls and `task.answer` the
    right last words. An episode is right (1.0, else 0.0) when the base after its calls equals the
    base after the gold ones, and `says` holds of what it replied.

    Attributes:
        name: of the environment.
        known: the operations by name.
        told: of a task, what the agent is told at first; the flow adds the tools.
        draw: tasks of a split, as `Environment.tasks`.
        base: the data base that a task begins with; not to be changed.
        says: whether these replies say what had to be said.
        excess: a call that changes the base and that nobody asked for, to prove the judge.
        user: what the user says, one after the other, when the agent speaks before it is done.
        splits: those that have tasks.
    """

    name: str
    known: Mapping[str, Operation]
    told: Callable[[Task], str]
    draw: Callable[[str, int, int], list[Task]]
    base: Callable[[Task], Base]
    says: Callable[[Task, Sequence[str]], bool]
    excess: Callable[[Task], Call]
    user: tuple[str, ...] = ()
    splits: tuple[str, ...] = SPLITS

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the agent may call."""
        return tuple(each.tool for each in self.known.values())

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`."""
        return self.draw(split, count, seed)

    def session(self, task: Task) -> Session:
        """A fresh world."""
        told = "\n".join((self.told(task), task.prompt, *self.user))
        return Session(self.known, self.base(task), told)

    def executor(self, tasks: Sequence[Task]) -> Desks:
        """A fresh world for each episode."""
        return Desks([self.session(task) for task in tasks])

    def score(self, task: Task, trajectory: Trajectory) -> float:
        """Of an episode that `talking.talk` played."""
        notes = trajectory.notes
        calls = [Call(each["name"], each["arguments"]) for each in notes["calls"]]
        return self.judge(task, calls, notes["replies"])

    def judge(self, task: Task, calls: Sequence[Call], replies: Sequence[str]) -> float:
        """1.0 where these calls and replies are right."""
        if not self.says(task, replies):
            return 0.0
        return float(digest(self.after(task, calls)) == digest(self.after(task, gold(task))))

    def after(self, task: Task, calls: Sequence[Call]) -> Base:
        """The base after these calls; those that fail change nothing."""
        session = self.session(task)
        for call in calls:
            session.call(call.name, call.arguments)
        return session.base

    def validate(self, count: int = 20, seed: int = 0) -> None:
        """Plays the gold calls, nothing, and a change too many, without a model.

        Args:
            count: tasks of each split.

        Raises:
            InputError: of some task the gold does not score 1; or doing nothing, with or without a
                word, or one change more than asked scores anything; or a tool breaks, or changes
                what it does not say.
        """
        for split in self.splits:
            for task in self.tasks(split, count, seed):
                if fault := self._fault(task):
                    raise InputError(f"environment {self.name}, task {task.id}: {fault}; repair it")

    def _fault(self, task: Task) -> str | None:
        before, session, right = digest(self.base(task)), self.session(task), gold(task)
        for call in right:
            outcome = session.call(call.name, call.arguments)
            if outcome.output.startswith(BROKEN):
                return f"{call.name}: {outcome.output}"
        changing = [call for call in right if self.known[call.name].tool.changes]
        after = digest(session.base)
        if digest(self.base(task)) != before or digest(self.after(task, changing)) != after:
            return "a tool changes what it does not say"
        scores = {
            "gold": self.judge(task, right, [task.answer]),
            "silence": self.judge(task, [], []),
            "'Done.'": self.judge(task, [], ["Done."]),
            "a change too many": self.judge(task, [*right, self.excess(task)], [task.answer]),
        }
        wrong = {name: score for name, score in scores.items() if score != float(name == "gold")}
        return ", ".join(f"{name} scores {score:g}" for name, score in wrong.items()) or None


def gold(task: Task) -> list[Call]:
    """The right calls of a task."""
    calls: Any = task.meta["gold"]
    return [Call(each["name"], each["arguments"]) for each in calls]


def digest(base: Base) -> str:
    """Of a base's content; the order of its keys does not matter."""
    return hashlib.sha256(json.dumps(base, sort_keys=True).encode()).hexdigest()
