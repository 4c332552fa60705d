"""An episode is a generator that asks and is answered: what it may ask, and what it hears.

A flow knows no clock, no randomness of its own and no I/O: the same answers give the same
questions, so an interrupted episode continues by hearing its logged answers again. It performs
nothing; `rollout.drive` does.

    def episode(task: Task, seed: int) -> Flow[Trajectory]:
        sampling = Sampling(seed=named_seed(seed, "turn", 0))
        completion = yield Sample(Request(task.prompt, max_tokens=64, sampling=sampling))
        verdict = yield Execute("python", {"code": ...})
        left, right = yield Sample(a), Sample(b)          # a tuple is answered together
        more = yield from another_flow(...)
        return trajectory
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Sample:
    """Asks the policy for a `Completion`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Score:
    """Asks the policy for a `Likelihood`."""

    continuation: Continuation


@dataclass(frozen=True, slots=True)
class Execute:
    """Asks the executor to run a tool; the answer is an `Outcome`. Arguments are JSON values."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool gave back. A tool that fails says so here; it does not raise."""

    ok: bool
    output: str


Ask: TypeAlias = Sample | Score | Execute
Answer: TypeAlias = Completion | Likelihood | Outcome
# What is sent in follows from what was yielded, which Python's types cannot say: hence Any.
Flow: TypeAlias = Generator[Ask | tuple[Ask, ...], Any, R]
