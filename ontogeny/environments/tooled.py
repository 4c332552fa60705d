"""What an environment with tools is, and the rules its episodes are played by.

Knows no model and no particular world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Task
from ontogeny.rollout.drive import Executor
from ontogeny.rollout.tools import MOST_RESULT, Tool
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.message import Message
from ontogeny.text.tool_calls import Speech, opened

End = Literal["answered", "submitted", "turns", "loop", "length", "context"]
"""Why an episode ended: the agent had its last word, called a tool that `ends`, had no turn left,
repeated a call and its result, was cut in its words, or had no room left."""
REPLY = Tool("reply", "Says something to the user.", {"text": {"type": "string", "maxLength": 999}})
"""How the agent speaks to the user where every turn has to be a call."""


@runtime_checkable
class ToolEnvironment(Protocol):
    """A source of tasks that are done by calling tools, and the judge of episodes."""

    @property
    def name(self) -> str:
        """Short and stable; part of every task's id."""
        ...

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the agent may call."""
        ...

    @property
    def user(self) -> tuple[str, ...]:
        """What the user says, one after the other, when the agent speaks before it is done."""
        ...

    def told(self, task: Task, /) -> str:
        """What the agent is told at first; `task.prompt` is the user's first turn."""
        ...

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`."""
        ...

    def executor(self, tasks: Sequence[Task]) -> Executor:
        """A fresh world for each episode, in their order."""
        ...

    def score(self, task: Task, trajectory: Trajectory) -> float:
        """How right an episode of `talk` is, in [0, 1]; from its notes, not from its world."""
        ...


@dataclass(frozen=True)
class Rules:
    """How an episode is played.

    Attributes:
        turns: of the agent, at most.
        tokens: of a turn, at most.
        calls: run in a turn, at most.
        repeats: the same call with the same result so often in a row ends the episode.
        result: characters of a result, at most.
        context: tokens of an episode, at most; 0: as many as the policy takes.
        forced: each turn is one call, and held to it by a grammar; words are `reply`.
        temperature: of every turn.

    Raises:
        InputError: a number is not positive.
    """

    turns: int = 12
    tokens: int = 256
    calls: int = 8
    repeats: int = 3
    result: int = MOST_RESULT
    context: int = 0
    forced: bool = False
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("turns", "tokens", "calls", "repeats", "result"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")


def opening(
    environment: ToolEnvironment, task: Task, speech: Speech, forced: bool = False
) -> tuple[int, ...]:
    """The ids that an episode begins with: policy, tools, request.

    Raises:
        InputError: the template refuses the messages.
    """
    told = speech.told([tool.told() for tool in callable_tools(environment, forced)])
    system = Message("system", f"{environment.told(task)}\n\n{told}")
    return opened([system, Message("user", task.prompt)], speech.tokenizer)


def callable_tools(environment: ToolEnvironment, forced: bool) -> tuple[Tool, ...]:
    """What may be called: with `forced`, also `REPLY`."""
    return (*environment.tools, REPLY) if forced else environment.tools
