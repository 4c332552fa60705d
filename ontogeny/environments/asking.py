"""Putting an environment's tasks to a policy: prompts in, trajectories and scores out.

Knows no model. One turn each; whatever needs several turns brings a flow of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import Batched, Environment, Judged, Task
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.flow import Flow, Sample
from ontogeny.rollout.policy import Policy, Request
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

Form = Literal["chat", "text"]
TEXT_PROMPT = "Question: {prompt}\nAnswer:"


@runtime_checkable
class Holds(Protocol):
    """An environment, with tools or without, that holds something between calls."""

    def release(self) -> None:
        """Gives it back; the next call takes it anew."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A task as token ids to continue in a form, and the ids that end an answer."""

    environment: Environment
    task: Task
    form: Form
    prompt: tuple[int, ...]
    stop: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a policy said to a question.

    Attributes:
        trajectory: with the environment's notes, if it left any.
        answer: the text, without the token that ended it.
        score: the environment's, 0 to 1.
        well_formed: of the asked form, and ended by the policy itself.
    """

    question: Question
    trajectory: Trajectory
    answer: str
    score: float
    well_formed: bool


def question(environment: Environment, task: Task, tokenizer: Tokenizer, form: Form) -> Question:
    """`task` as a chat turn, or as the text that `as_text` writes before its answer.

    Raises:
        InputError: the tokenizer's chat template refuses the prompt, or answers have lines and
            cannot be told apart in a text.
    """
    if form == "text" and isinstance(environment, Batched):
        raise InputError(f"answers of environment {environment.name} have lines; ask it as chat")
    if form == "chat":
        rendered = render([Message("user", task.prompt)], tokenizer, generation_prompt=True)
        return Question(environment, task, form, rendered.ids, tokenizer.stops(chats=True))
    text = tokenizer.encode(TEXT_PROMPT.format(prompt=task.prompt))
    # Some tokenizers put a space before a text, which ends no line.
    line_ends = [each for each in tokenizer.encode("\n") if tokenizer.token_bytes(each) == b"\n"]
    stop = (*tokenizer.stops(chats=False), *line_ends)
    return Question(environment, task, form, (tokenizer.begin, *text), stop)


def ask(asked: Question, request: Request) -> Flow[Trajectory]:
    """One turn: the episode of a question."""
    completion = yield Sample(request)
    return Trajectory(asked.task.id, request.sampling.seed).extended(request, completion)


def ask_all(
    policy: Policy,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    again: bool = False,
) -> list[Answered]:
    """All questions, sampled together in lockstep; answers stand in their order.

    The draws of question n follow from `seed` and n.

    Args:
        again: more will be asked soon: environments keep what they hold until `release`.

    Raises:
        SandboxRefused: answers are programs, and these cannot be contained here.
    """
    requests = [
        Request(
            each.prompt,
            max_tokens,
            Sampling(temperature=temperature, seed=named_seed(seed, "question", number)),
            stop=each.stop,
        )
        for number, each in enumerate(questions)
    ]
    flows = [ask(each, request) for each, request in zip(questions, requests, strict=True)]
    trajectories = drive_all(flows, policy)
    try:
        return judge_all(questions, trajectories, tokenizer)
    finally:
        if not again:
            release(each.environment for each in questions)


def judge_all(
    questions: Sequence[Question], trajectories: Sequence[Trajectory], tokenizer: Tokenizer
) -> list[Answered]:
    """The environments' verdicts on what was said; one that is `Batched` is asked once."""
    answers = [_text(*pair, tokenizer) for pair in zip(questions, trajectories, strict=True)]
    judged: dict[int, Judged] = {}
    batches: dict[int, list[int]] = {}
    for number, (asked, answer) in enumerate(zip(questions, answers, strict=True)):
        world, task = asked.environment, asked.task
        if isinstance(world, Batched):
            batches.setdefault(id(world), []).append(number)
        else:
            score, formed = world.score(task, answer), world.well_formed(task, answer)
            judged[number] = Judged(score, formed, {})
    for numbers in batches.values():
        batched = questions[numbers[0]].environment
        assert isinstance(batched, Batched)
        tasks = [questions[number].task for number in numbers]
        told = batched.judge_all(tasks, [answers[number] for number in numbers])
        judged |= zip(numbers, told, strict=True)
    parts = zip(questions, trajectories, answers, strict=True)
    return [_answered(*part, judged[number]) for number, part in enumerate(parts)]


def release(environments: Iterable[object]) -> None:
    """Lets go of what environments hold between calls."""
    for each in environments:
        if isinstance(each, Holds):
            each.release()


def _text(asked: Question, trajectory: Trajectory, tokenizer: Tokenizer) -> str:
    completion = trajectory.turns[-1].completion
    ids = completion.ids
    text = tokenizer.decode(ids[:-1] if completion.finish == "stop" else ids)
    return text.split("\n")[0].strip() if asked.form == "text" else text


def _answered(asked: Question, trajectory: Trajectory, answer: str, judged: Judged) -> Answered:
    ended = trajectory.turns[-1].completion.finish == "stop"
    noted = trajectory.noted(**judged.notes) if judged.notes else trajectory
    return Answered(asked, noted, answer, judged.score, ended and judged.well_formed)


def questions_of(
    counts: Sequence[tuple[Environment, int]],
    split: str,
    seed: int,
    tokenizer: Tokenizer,
    form: Form,
) -> list[Question]:
    """So many tasks of each environment as questions.

    Raises:
        InputError: an environment has too few problems in the split, or nothing is asked.
    """
    found = [
        question(environment, task, tokenizer, form)
        for environment, count in counts
        for task in environment.tasks(split, count, seed)
    ]
    if not found:
        raise InputError("no tasks are asked for; name at least one environment and a count")
    return found
