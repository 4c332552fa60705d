"""Every environment that can be played, by name, with the agents that play it by script.

Knows no model. `gold` and `nothing` play everywhere; the other agents are those of repositories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from ontogeny.base.errors import InputError
from ontogeny.environments.airline import AIRLINE
from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import Environment, Task
from ontogeny.environments.errands import DESKS
from ontogeny.environments.playable import Playable
from ontogeny.environments.repository import Repository
from ontogeny.environments.repository_hacks import AGENTS, Agent
from ontogeny.environments.repository_reader import reading
from ontogeny.environments.repository_task import NAME as REPAIR
from ontogeny.environments.retail import RETAIL
from ontogeny.environments.scripts import Script, gold_script
from ontogeny.environments.session import Operation
from ontogeny.environments.tau import read_tau
from ontogeny.environments.tooled import ToolEnvironment

DOMAINS: Mapping[str, Mapping[str, Operation]] = MappingProxyType(
    {"airline": AIRLINE, "retail": RETAIL}
)
"""Domains of tau2-bench; their tasks are a user's own."""
REPAIRERS: Mapping[str, Agent] = MappingProxyType({**AGENTS, "reading": reading})
"""Who plays `repair`: those of `repository_hacks`, and one that looks before it repairs."""


@runtime_checkable
class Releasing(Protocol):
    """An environment that holds something between calls."""

    def release(self) -> None:
        """Gives it back; the next call takes it anew."""
        ...


@dataclass(frozen=True)
class World:
    """An environment and its scripted agents."""

    environment: Playable
    agents: Mapping[str, Script]

    def forget(self) -> None:
        """Judges anew what was judged before, so that every player takes its own time."""
        if isinstance(self.environment, Repository):
            self.environment.forget()

    def release(self) -> None:
        """Gives back what the environment holds."""
        if isinstance(self.environment, Releasing):
            self.environment.release()


def world(
    name: str, directories: Mapping[str, str], own: Mapping[str, Environment] = MappingProxyType({})
) -> World:
    """The environment of this name.

    Args:
        directories: where the tasks of a domain of `DOMAINS` lie.
        own: a user's tasks, by name.

    Raises:
        InputError: there is none, or its directory holds no tasks.
    """
    if name == REPAIR:
        repository = Repository()
        return World(repository, {each: _repairs(repository, each) for each in REPAIRERS})
    found: Playable
    if name in DOMAINS:
        if name not in directories:
            raise InputError(
                f"the tasks of '{name}' are a user's own; say where they lie: directories.{name}"
            )
        found = read_tau(Path(directories[name]), DOMAINS[name], name=name).desk
    else:
        found = DESKS[name] if name in DESKS else own[name] if name in own else environment(name)
    gold = gold_script if isinstance(found, ToolEnvironment) else _answer
    return World(found, {"gold": gold, "nothing": lambda _: [""]})


def check_world(name: str, count: int) -> None:
    """Refuses what cannot be played; a user's own tasks are not known yet.

    Raises:
        InputError: no environment has this name, or of a generated one no task is asked for.
    """
    if count < (0 if name.startswith("tasks/") or name in DOMAINS else 1):
        raise InputError(f"play: the count of '{name}' is {count}; give at least 1")
    if name not in {REPAIR, *DOMAINS, *DESKS} and not name.startswith("tasks/"):
        try:
            environment(name)
        except InputError as error:
            known = ", ".join((REPAIR, *DESKS, *DOMAINS))
            raise InputError(f"{error.reason}, {known}") from None


def _repairs(repository: Repository, agent: str) -> Script:
    return lambda task: REPAIRERS[agent](repository.fault(task))


def _answer(task: Task) -> list[str]:
    return [task.answer]
