"""Playing tasks of any environment to the end, and what was said as messages that anybody can read.

Knows no model. A trajectory holds tokens of whoever played; its messages (calls as data, results
as text) belong to no template, so a model with another tokenizer can learn from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.asking import Answered, ask, judge_all, question
from ontogeny.environments.environment import Environment, Judged, Task
from ontogeny.environments.playing import JudgesEpisodes
from ontogeny.environments.talking import talk
from ontogeny.environments.tooled import REPLY, Rules, ToolEnvironment
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.drive import Admission, drive_all
from ontogeny.rollout.flow import Flow, Outcome
from ontogeny.rollout.journal import Journal
from ontogeny.rollout.policy import Completion, Policy, Request
from ontogeny.rollout.tools import capped
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.message import Message, ToolCall
from ontogeny.text.tool_calls import Speech, read_calls

ENDED = ("answered", "submitted")
"""Ends of an episode that the agent itself brought about."""
NOT_UNICODE = "a text is not Unicode"


@dataclass(frozen=True)
class Episode:
    """A task, what happened, and what the environment says of it.

    Attributes:
        messages: what was told and said; empty where it cannot be told.
        untold: why it cannot: cut off, or with a call that could not be read or did not fit.
    """

    task: Task
    trajectory: Trajectory
    judged: Judged
    messages: tuple[Message, ...]
    untold: str

    @property
    def verified(self) -> float | None:
        """The second verdict; None where the environment has none."""
        told = self.judged.notes.get("verified")
        return None if told is None else float(told)


@dataclass(frozen=True)
class Played:
    """How episodes are asked for: see `Rules`, `drive` and `rollout.policy`."""

    policy: Policy
    speech: Speech
    rules: Rules
    seed: int
    journal: Journal
    admission: Admission


def play(
    environment: Environment | ToolEnvironment, tasks: Sequence[Task], by: Played
) -> list[Episode]:
    """All tasks, together; episodes stand in their order. Draws of episode n follow from its n.

    Raises:
        InputError: see `talking.talk`, `asking.question` and `rollout.drive`.
        SandboxRefused: what is to be judged cannot be contained here.
    """
    if isinstance(environment, ToolEnvironment):
        return _talked(environment, tasks, by)
    return _asked(environment, tasks, by)


def _asked(environment: Environment, tasks: Sequence[Task], by: Played) -> list[Episode]:
    questions = [question(environment, task, by.speech.tokenizer, "chat") for task in tasks]
    seeds = [named_seed(by.seed, "question", number) for number in range(len(tasks))]
    flows = [
        ask(
            asked,
            Request(
                asked.prompt,
                by.rules.tokens,
                Sampling(temperature=by.rules.temperature, seed=seed),
                stop=asked.stop,
            ),
        )
        for asked, seed in zip(questions, seeds, strict=True)
    ]
    played = drive_all(flows, by.policy, admission=by.admission, journal=by.journal)
    return [_answered(each) for each in judge_all(questions, played, by.speech.tokenizer)]


def _answered(each: Answered) -> Episode:
    task, trajectory = each.question.task, each.trajectory
    judged = Judged(each.score, each.well_formed, trajectory.notes)
    said = each.answer.strip()
    untold = "" if said else "nothing was said"
    if trajectory.turns[-1].completion.finish != "stop":
        untold = "cut off"
    told = () if untold else (Message("user", task.prompt), Message("assistant", said))
    return Episode(task, trajectory, judged, told, untold)


def _talked(environment: ToolEnvironment, tasks: Sequence[Task], by: Played) -> list[Episode]:
    heard: list[list[Any]] = [[] for _ in tasks]
    flows = [
        witnessed(
            talk(environment, task, by.speech, by.rules, named_seed(by.seed, "episode", number)),
            heard[number],
        )
        for number, task in enumerate(tasks)
    ]
    executor = environment.executor(tasks)
    played = drive_all(flows, by.policy, executor, admission=by.admission, journal=by.journal)
    verdicts = _judged(environment, tasks, played)
    return [
        Episode(task, trajectory, judged, *_told(environment, task, trajectory, log, by))
        for task, trajectory, judged, log in zip(tasks, played, verdicts, heard, strict=True)
    ]


def _judged(
    environment: ToolEnvironment, tasks: Sequence[Task], played: Sequence[Trajectory]
) -> list[Judged]:
    if isinstance(environment, JudgesEpisodes):
        return environment.judge_episodes(tasks, played)
    pairs = zip(tasks, played, strict=True)
    return [Judged(environment.score(*pair), True, {}) for pair in pairs]


def witnessed(flow: Flow[Trajectory], log: list[Any]) -> Flow[Trajectory]:
    """The same episode; what it hears is written into `log`, too, also when it is replayed."""
    answer = None
    while True:
        try:
            asked = flow.send(answer)
        except StopIteration as end:
            found: Trajectory = end.value
            return found
        answer = yield asked
        log += answer if isinstance(answer, tuple) else [answer]


def _told(
    environment: ToolEnvironment, task: Task, trajectory: Trajectory, log: Sequence[Any], by: Played
) -> tuple[tuple[Message, ...], str]:
    """An episode's messages, or why there are none. Instructions come without the tools."""
    end = trajectory.notes["end"]
    if end not in ENDED:
        return (), f"ended by {end}"
    messages = [Message("system", environment.told(task)), Message("user", task.prompt)]
    user = iter(environment.user)
    try:
        for number, (completion, outcomes) in enumerate(_turns(log)):
            if number and messages[-1].role != "tool":
                messages.append(Message("user", next(user)))
            messages += _turn(completion, outcomes, by)
    except InputError:
        return (), "a call could not be read or was not run"
    while messages[-1].role == "tool":
        messages.pop()  # nobody said anything after it
    return (tuple(messages), "") if all(map(_is_unicode, messages)) else ((), NOT_UNICODE)


def _is_unicode(message: Message) -> bool:
    """A call's JSON may spell half a surrogate pair, which is no text to learn from."""
    try:
        "".join([message.content, *(call.arguments for call in message.tool_calls)]).encode()
    except UnicodeEncodeError:
        return False
    return True


def _turns(log: Sequence[Any]) -> list[tuple[Completion, list[Outcome]]]:
    found: list[tuple[Completion, list[Outcome]]] = []
    for each in log:
        if isinstance(each, Completion):
            found.append((each, []))
        else:
            found[-1][1].append(each)
    return found


def _turn(completion: Completion, outcomes: Sequence[Outcome], by: Played) -> list[Message]:
    """What was said in a turn and the results of its calls.

    Raises:
        InputError: nothing was said, or some call was no call of a tool.
    """
    if by.rules.forced:
        content, heard = "", read_calls(by.speech.tokenizer.continuation(completion.ids))[:1]
    else:
        found = by.speech.found(completion.ids)
        content, heard = found.content, list(found.calls)
    calls = [each for each in heard if isinstance(each, ToolCall)]
    if by.rules.forced and calls and calls[0].name == REPLY.name and not outcomes:
        content, calls, heard = _reply(calls[0]), [], []
    if not len(calls) == len(heard) == len(outcomes):
        raise InputError("a call could not be read or was not run")
    results = [each.output if each.ok else f"error: {each.output}" for each in outcomes]
    told = [Message("tool", capped(each, by.rules.result)) for each in results]
    return [Message("assistant", content, tuple(calls)), *told]


def _reply(call: ToolCall) -> str:
    """The words of a turn that had to be a call."""
    text = json.loads(call.arguments).get("text")
    if not isinstance(text, str):
        raise InputError("a call could not be read or was not run")
    return text
