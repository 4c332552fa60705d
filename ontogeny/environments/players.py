"""Who plays: a policy with its way to speak and its rules, or a script.

Knows no model: a policy is brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ontogeny.base.errors import InputError
from ontogeny.environments.asking import question
from ontogeny.environments.environment import Environment, Task
from ontogeny.environments.episodes import Played
from ontogeny.environments.scripts import Script, scripted
from ontogeny.environments.tooled import Rules, ToolEnvironment
from ontogeny.environments.worlds import World
from ontogeny.rollout.drive import Admission
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.journal import Journal
from ontogeny.rollout.policy import Policy, Request
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import Speech, speech


class Player(Protocol):
    """Somebody who can play any world."""

    @property
    def name(self) -> str:
        """As rows and series call it."""
        ...

    @property
    def voice(self) -> str:
        """What tells its tokenizer from others (`lessons.voice`); "" where it is nobody's."""
        ...

    def by(self, where: World, tasks: Sequence[Task], seed: int, journal: Journal) -> Played:
        """How it plays these tasks.

        Raises:
            InputError: it cannot play there.
        """
        ...


@dataclass(frozen=True)
class Sampled:
    """A policy: the same in every world.

    Attributes:
        voice: "" where its tokens are not to be kept for a student.
        admission: of `rollout.drive`.
    """

    name: str
    policy: Policy
    speech: Speech
    rules: Rules
    voice: str = ""
    admission: Admission = "lockstep"

    def by(self, where: World, tasks: Sequence[Task], seed: int, journal: Journal) -> Played:
        """See `Player.by`."""
        del where, tasks
        return Played(self.policy, self.speech, self.rules, seed, journal, self.admission)


@dataclass(frozen=True)
class Agent:
    """A scripted agent of `World.agents`; it speaks in bytes."""

    name: str
    rules: Rules
    voice: str = ""

    def by(self, where: World, tasks: Sequence[Task], seed: int, journal: Journal) -> Played:
        """See `Player.by`."""
        if self.name not in where.agents:
            known = ", ".join(where.agents)
            raise InputError(
                f"no agent {self.name!r} plays {where.environment.name}; there are {known}"
            )
        script, spoken = where.agents[self.name], speech(byte_tokenizer())
        distinct = list({task.id: task for task in tasks}.values())
        if isinstance(where.environment, ToolEnvironment):
            policy = scripted(script, where.environment, distinct, spoken, self.rules)
        else:
            policy = _answers(script, where.environment, distinct, spoken.tokenizer)
        return Played(policy, spoken, self.rules, seed, journal, "lockstep")


def _answers(
    script: Script, environment: Environment, tasks: Sequence[Task], tokenizer: Tokenizer
) -> ScriptedPolicy:
    """Gives each task the one answer that stands in its script."""
    plans = {}
    for task in tasks:
        (line,) = script(task)
        assert isinstance(line, str)
        ids = (*tokenizer.encode(line), tokenizer.end_of_turn)
        plans[question(environment, task, tokenizer, "chat").prompt] = ids

    def say(request: Request) -> Sequence[int]:
        return plans[request.prompt]

    return ScriptedPolicy(say, tokenizer=tokenizer)
