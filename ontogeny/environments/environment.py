"""What an environment is: tasks with answers that a program can verify, in three disjoint splits.

Knows nothing of models, tokens or chat; `score` judges a text.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.answers import FORMS, same_answer, well_formed
from ontogeny.text.document import Document

SPLITS = ("train", "heldout", "exam")
_HELDOUT_FROM, _EXAM_FROM = 0.8, 0.9
_DRAWS_PER_TASK = 400


@dataclass(frozen=True, slots=True)
class Task:
    """A question and its gold answer.

    `id` follows from environment and prompt; `kind` names what is asked (addition, recall ...);
    `meta` holds what verifier and analysis need (`form` of the answer, `tier` of difficulty).
    """

    id: str
    prompt: str
    answer: str
    kind: str
    meta: Mapping[str, object]


class Environment(Protocol):
    """A source of tasks and the judge of their answers."""

    @property
    def name(self) -> str:
        """Short and stable; part of every task's id."""
        ...

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """`count` tasks of a split. Equal arguments give equal tasks.

        A problem (not its wording) belongs to one split whatever the seed. Problems are distinct
        within a call for `heldout` and `exam`; those of `train` may come again.

        Raises:
            InputError: no such split, or it holds fewer distinct problems.
        """
        ...

    def score(self, task: Task, answer: str) -> float:
        """How right `answer` is, in [0, 1]: 1 for the gold answer, 0 for nothing."""
        ...

    def well_formed(self, task: Task, answer: str) -> bool:
        """Whether `answer` has the asked-for form, right or wrong."""
        ...

    def validate(self) -> None:
        """Raise `InputError` when gold answers do not score 1, or empty ones not 0."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """What an environment says of an answer: score and form as of `Environment`, JSON notes."""

    score: float
    well_formed: bool
    notes: Mapping[str, Any]


@runtime_checkable
class Batched(Protocol):
    """An environment that judges many answers at once, since each needs something from outside.

    Its answers have lines, so they are asked for as chat.
    """

    def judge_all(self, tasks: Sequence[Task], answers: Sequence[str]) -> list[Judged]:
        """A verdict for each answer, in their order; equal arguments give equal verdicts.

        Raises:
            SandboxRefused: what it needs from outside cannot be had.
        """
        ...

    def release(self) -> None:
        """Gives back what is held for the next call; that takes it anew."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """What a generator draws. `key` is its content without wording and decides the split."""

    key: str
    prompt: str
    answer: str
    form: str
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Generated:
    """An environment over a function that draws problems.

    Attributes:
        name: of the environment.
        kind: what is asked.
        tier: difficulty, comparable within a kind only.
        draw: one problem from a source of randomness, a function of that alone.
    """

    name: str
    kind: str
    tier: int
    draw: Callable[[random.Random], Problem]

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`."""
        return take(self._stream(split, seed), self.name, split, count)

    def _stream(self, split: str, seed: int) -> Iterator[tuple[str, Task]]:
        source = random.Random(named_seed(seed, "environment", self.name, split))
        while True:
            problem = self.draw(source)
            meta = {"form": problem.form, "tier": self.tier, **problem.meta}
            name = task_id(self.name, problem.prompt)
            task = Task(name, problem.prompt, problem.answer, self.kind, meta)
            yield f"{self.kind}\0{problem.key}", task

    def score(self, task: Task, answer: str) -> float:
        """1.0 for an answer that equals the gold one in its form, else 0.0."""
        return float(same_answer(_form(task), task.answer, answer))

    def well_formed(self, task: Task, answer: str) -> bool:
        """Whether the answer has the form of `answers.FORMS` that the task asks for."""
        return well_formed(_form(task), answer)

    def validate(self) -> None:
        """See `Environment.validate`."""
        validate(self)


def _form(task: Task) -> str:
    form = task.meta["form"]
    assert isinstance(form, str)
    assert form in FORMS
    return form


def task_id(environment: str, prompt: str) -> str:
    """`ENVIRONMENT/HASH OF PROMPT`: equal prompts have equal ids in every run."""
    return f"{environment}/{hashlib.sha256(prompt.encode()).hexdigest()[:16]}"


def side(key: str) -> str:
    """The split that the problem `key` belongs to: 80 % train, 10 % heldout, 10 % exam."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2.0**64
    if place < _HELDOUT_FROM:
        return "train"
    return "heldout" if place < _EXAM_FROM else "exam"


def take(stream: Iterator[tuple[str, Task]], name: str, split: str, count: int) -> list[Task]:
    """The first `count` tasks of `stream` ((key, task) pairs) that belong to `split`.

    Raises:
        InputError: no such split, or too few distinct problems in `_DRAWS_PER_TASK` draws a task.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r}; splits are {', '.join(SPLITS)}")
    found: list[Task] = []
    seen: set[str] = set()
    for draws, (key, task) in enumerate(stream):
        if len(found) >= count:
            return found
        if draws > _DRAWS_PER_TASK * (count + 10):
            break
        if side(key) == split and (split == "train" or key not in seen):
            seen.add(key)
            found.append(task)
    if len(found) >= count:
        return found
    raise InputError(
        f"environment {name} has only {len(found)} distinct problems in split {split}, "
        f"{count} are asked for; ask for fewer or take a harder tier"
    )


def validate(environment: Environment, count: int = 20, seed: int = 0) -> None:
    """Raise `InputError` unless gold scores 1 and is well formed, and empty scores 0."""
    for task in environment.tasks("train", count, seed):
        gold, nothing = environment.score(task, task.answer), environment.score(task, "")
        if gold != 1.0 or nothing != 0.0 or not environment.well_formed(task, task.answer):
            raise InputError(
                f"environment {environment.name} scores its gold answer {gold:g} and an empty one "
                f"{nothing:g} for task {task.id}; repair its verifier"
            )


def as_text(task: Task) -> str:
    """A task with its answer as plain text to pretrain on."""
    return f"Question: {task.prompt}\nAnswer: {task.answer}\n"


def as_documents(environment: str, tasks: Sequence[Task]) -> list[Document]:
    """Tasks as documents of domain `tasks`, ids numbered since training tasks may come again."""
    return [
        Document(f"{task.id}#{number}", "tasks", environment, as_text(task))
        for number, task in enumerate(tasks)
    ]
