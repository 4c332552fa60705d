"""The one driver of episodes: asks what the flows ask, logs the answers, replays them.

Knows no text, no model and no environment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Generic, Literal, Protocol, TypeVar

from ontogeny.base.errors import InputError
from ontogeny.rollout.flow import Answer, Ask, Execute, Flow, Outcome, Sample, Score
from ontogeny.rollout.journal import Journal, Step, record_of, steps_of
from ontogeny.rollout.policy import Policy, together

R = TypeVar("R")
Admission = Literal["lockstep", "ready"]


class Executor(Protocol):
    """Runs tools. Each episode has its own world (a sandbox), opened at its first request."""

    async def execute(self, episode: int, request: Execute) -> Outcome:
        """Run `request` in the world of `episode` (its index among the driven flows)."""
        ...


class NoTools:
    """The executor of flows that call no tool: refuses by name."""

    async def execute(self, episode: int, request: Execute) -> Outcome:
        """Raises InputError: there is nothing to run the tool with."""
        raise InputError(f"episode {episode} calls tool {request.tool!r}, but no executor is given")


async def drive(
    flows: Iterable[Flow[R]],
    policy: Policy,
    executor: Executor | None = None,
    *,
    admission: Admission = "lockstep",
    journal: Journal | None = None,
) -> list[R]:
    """Play all flows to their ends; results stand in the order of the flows.

    *lockstep*: all flows take their next step together and wait for one another. The requests of
    a round, and so the batches a policy forms, depend on the flows alone: results are bitwise
    repeatable with a policy that is. *ready*: each flow goes on as soon as it is answered.

    With a `journal`, each round (lockstep) or step (ready) is appended once all of its answers are
    in, and what the journal already holds is replayed first: flows hear the logged answers, tools
    run again in fresh worlds to rebuild them, the policy is not asked. A lockstep run interrupted
    anywhere and driven again therefore asks the policy for the same rounds as one that was not.

    Raises:
        InputError: when the journal was made by other flows, or a flow's own mistake says so.
        Exception: whatever a flow, the policy or the executor raises; the others are stopped.
    """
    executor = executor or NoTools()
    journal = [] if journal is None else journal
    episodes = [_Episode(index, flow) for index, flow in enumerate(flows)]
    try:
        for episode in episodes:
            episode.hear(None)
        for record in list(journal):
            await _replay(steps_of(record), episodes, executor)
        if admission == "lockstep":
            while waiting := [episode for episode in episodes if episode.asked]:
                await _round(waiting, policy, executor, journal)
        else:
            await together(_alone(episode, policy, executor, journal) for episode in episodes)
        return [episode.result for episode in episodes]
    finally:
        for episode in episodes:
            episode.flow.close()


def drive_all(
    flows: Iterable[Flow[R]],
    policy: Policy,
    executor: Executor | None = None,
    *,
    admission: Admission = "lockstep",
    journal: Journal | None = None,
) -> list[R]:
    """`drive`, blocking: for stages and recipes, which have no event loop of their own."""
    return asyncio.run(drive(flows, policy, executor, admission=admission, journal=journal))


class _Episode(Generic[R]):
    """A flow, what it waits for, and in the end its result."""

    result: R

    def __init__(self, index: int, flow: Flow[R]) -> None:
        self.index = index
        self.flow = flow
        self.asked: tuple[Ask, ...] = ()
        self.alone = False

    def hear(self, answers: Sequence[Answer] | None) -> None:
        """Send the answers (None starts the flow) and take the next question, or the result."""
        assert len(answers or ()) == len(self.asked)
        sent = answers if answers is None else answers[0] if self.alone else tuple(answers)
        try:
            asked = self.flow.send(sent)
            while asked == ():  # asking nothing is answered at once, and needs no journal
                asked = self.flow.send(())
        except StopIteration as end:
            self.asked, self.result = (), end.value
            return
        self.alone = not isinstance(asked, tuple)
        self.asked = asked if isinstance(asked, tuple) else (asked,)

    def digest(self) -> str:
        """Of what is asked, so that a journal is never replayed into another flow."""
        asked = [[type(ask).__name__, asdict(ask)] for ask in self.asked]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


async def _answer(index: int, ask: Ask, policy: Policy, executor: Executor) -> Answer:
    if isinstance(ask, Sample):
        return await policy.sample(ask.request)
    if isinstance(ask, Score):
        return await policy.score(ask.continuation)
    if isinstance(ask, Execute):
        return await executor.execute(index, ask)
    raise TypeError(f"episode {index} yielded {ask!r}; flows yield Sample, Score or Execute")


async def _round(
    episodes: list[_Episode[R]], policy: Policy, executor: Executor, journal: Journal
) -> None:
    """One step of all `episodes`: ask everything together, log it whole, then let them hear."""
    asks = [(episode.index, ask) for episode in episodes for ask in episode.asked]
    answers = iter(await together(_answer(index, ask, policy, executor) for index, ask in asks))
    heard = [(episode, [next(answers) for _ in episode.asked]) for episode in episodes]
    journal.append(record_of(Step(e.index, e.digest(), tuple(own)) for e, own in heard))
    for episode, own in heard:
        episode.hear(own)


async def _alone(
    episode: _Episode[R], policy: Policy, executor: Executor, journal: Journal
) -> None:
    while episode.asked:
        await _round([episode], policy, executor, journal)


async def _replay(steps: list[Step], episodes: list[_Episode[R]], executor: Executor) -> None:
    """Let episodes hear one logged round again; tools run again, their logged outcome counts."""
    runs = []
    for step in steps:
        index = step.episode
        if index >= len(episodes) or episodes[index].digest() != step.asked:
            raise InputError(
                f"the journal's episode {index} asked something else than this run's; it was made "
                "by other tasks, seeds or code: give a new journal"
            )
        asked = episodes[index].asked
        if len(asked) != len(step.answers):
            raise InputError(f"the journal lacks answers of episode {index}; give a new journal")
        runs += [executor.execute(index, ask) for ask in asked if isinstance(ask, Execute)]
    await together(runs)
    for step in steps:
        episodes[step.episode].hear(step.answers)
