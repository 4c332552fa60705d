"""Tasks that people bring, as an environment: prompts with gold answers and a verifier by name.

Knows no files but those of its artifact. Such an environment is called `tasks/NAME`; a stage that
names it takes the tasks artifact as a parent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.seeds import named_seed
from ontogeny.corpus.own import folded
from ontogeny.environments import environment as environments
from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import SPLITS, Environment, Task, task_id
from ontogeny.environments.hidden_tests import Sheet
from ontogeny.environments.programs import Programs, tests_of
from ontogeny.environments.verifiers import Verifier, verifier

PREFIX = "tasks/"
FILE = "tasks.jsonl"
PROGRAM = "program"
"""Stands for a verifier where answers are programs with hidden tests."""


@dataclass(frozen=True)
class Listed:
    """An environment over a fixed list of tasks, each in one split.

    Attributes:
        name: `tasks/NAME`.
        judge: of the answers.
        listed: the tasks of each split.
    """

    name: str
    judge: Verifier
    listed: Mapping[str, Sequence[Task]] = field(repr=False)

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`; a count of 0 is all there are.

        Raises:
            InputError: no such split, or fewer tasks in it (those of `train` come again instead).
        """
        return drawn(self.name, self.listed, split, count, seed)

    def score(self, task: Task, answer: str) -> float:
        """1.0 where the verifier says so, else 0.0."""
        return float(self.judge.same(task.answer, answer))

    def well_formed(self, task: Task, answer: str) -> bool:
        """Whether there is an answer that the verifier can judge."""
        del task
        return self.judge.formed(answer)

    def validate(self) -> None:
        """See `Environment.validate`."""
        for split, known in self.listed.items():
            if split == "train" and known:
                environments.validate(self)


Own: TypeAlias = Listed | Programs


def drawn(
    name: str, listed: Mapping[str, Sequence[Task]], split: str, count: int, seed: int
) -> list[Task]:
    """Tasks of a fixed list; see `Listed.tasks`."""
    if split not in SPLITS:
        raise InputError(f"no split {split!r}; splits are {', '.join(SPLITS)}")
    known = listed.get(split, ())
    if not known or (count > len(known) and split != "train"):
        raise InputError(
            f"environment {name} has {len(known)} tasks in split {split}, "
            f"{count or 'some'} are asked for; ask for fewer, 0 for all, or bring more"
        )
    found: list[Task] = []
    source = random.Random(named_seed(seed, "environment", name, split))
    wanted = count or len(known)
    while len(found) < wanted:
        found += source.sample(known, min(len(known), wanted - len(found)))
    return found


def own_programs(name: str, listed: Mapping[str, Sequence[Task]]) -> Programs:
    """The environment of a user's own programming tasks."""
    return Programs(name, partial(drawn, name, listed), listed)


def write_tasks(directory: Path, found: Mapping[str, Own]) -> None:
    """Writes `FILE`, one task a line, environment by environment."""
    with (directory / FILE).open("w", encoding="utf-8") as file:
        for each in found.values():
            for split, tasks in each.listed.items():
                for task in tasks:
                    row: dict[str, Any] = {
                        "environment": each.name,
                        "verifier": each.judge.name if isinstance(each, Listed) else PROGRAM,
                        "split": split,
                        "prompt": task.prompt,
                        "answer": task.answer,
                    }
                    if isinstance(each, Programs):
                        row |= {"asked": task.meta["asked"], "tests": tests_of(task).to_json()}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_tasks(artifact: Artifact) -> dict[str, Own]:
    """The environments of a tasks artifact, its file verified first.

    Raises:
        CorruptArtifact: naming the line that holds no task.
    """
    path = artifact.file(FILE)
    judges: dict[str, Verifier | None] = {}
    listed: dict[str, dict[str, list[Task]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            columns = ("environment", "verifier", "split", "prompt", "answer")
            name, judge, split, prompt, answer = (_string(row[each]) for each in columns)
            judges[name] = None if judge == PROGRAM else verifier(judge)
            tests = None if judge != PROGRAM else Sheet.from_json(row["tests"])
            meta = {} if tests is None else {"asked": _string(row["asked"]), "tests": tests}
            task = own_task(name, prompt, answer, meta)
            listed.setdefault(name, {}).setdefault(split, []).append(task)
        except (KeyError, TypeError, ValueError, InputError) as error:
            reason = f"no task ({error}); make it again"
            raise CorruptArtifact(reason, file=path, line=number) from None
    return {
        name: own_programs(name, splits) if judge is None else Listed(name, judge, splits)
        for (name, splits), judge in zip(listed.items(), judges.values(), strict=True)
    }


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} where a text belongs")
    return value


def examined(artifacts: Sequence[Artifact]) -> frozenset[str]:
    """The prompts of all held-out and exam tasks, `folded`: nothing may be trained on them."""
    return frozenset(
        folded(text)
        for artifact in artifacts
        for world in read_tasks(artifact).values()
        for split, tasks in world.listed.items()
        if split != "train"
        for task in tasks
        for text in (task.prompt, str(task.meta.get("asked", task.prompt)))
    )


def own_task(
    environment_name: str, prompt: str, answer: str, meta: Mapping[str, object] | None = None
) -> Task:
    """A task of a user's own; `meta` where its judge needs more than the gold answer.

    "asked" is what is asked without what only helps, such as an example.
    """
    kind = environment_name.removeprefix(PREFIX)
    return Task(task_id(environment_name, prompt), prompt, answer, kind, meta or {})


def check_counts(counts: Mapping[str, float], what: str, least: float = 1) -> None:
    """Refuses counts of environments that cannot be meant.

    Args:
        counts: environment -> how many tasks of it; 0 is all of a user's own tasks.
        what: the stage, for the message.
        least: of a generated environment.

    Raises:
        InputError: nothing named, an unknown environment, or too small a count.
    """
    if not counts:
        raise InputError(f"{what} needs environments, each with a count")
    check_names(counts)
    for name, count in counts.items():
        if count < (0 if name.startswith(PREFIX) else least):
            raise InputError(f"{what}: the count of '{name}' is {count}; give at least {least:g}")


def check_names(names: Iterable[str]) -> None:
    """Refuses names of generated environments that do not exist; a user's own are not known yet.

    Raises:
        InputError: there is no environment of that name.
    """
    for name in names:
        if not name.startswith(PREFIX):
            environment(name)


def environments_of(
    names: Iterable[str], artifacts: Sequence[Artifact] = ()
) -> dict[str, Environment]:
    """The environments by these names: generated ones, and those of the tasks artifacts.

    Raises:
        InputError: there is none of that name, or two artifacts bring it.
    """
    own: dict[str, Environment] = {}
    for artifact in artifacts:
        for name, each in read_tasks(artifact).items():
            if name in own:
                raise InputError(f"two tasks artifacts bring '{name}'; give one another name")
            own[name] = each
    found: dict[str, Environment] = {}
    for name in names:
        if name.startswith(PREFIX) and name not in own:
            known = ", ".join(own) or "none is given"
            raise InputError(
                f"no tasks '{name}' among the parents ({known}); pass what LoadTasks made"
            )
        found[name] = own[name] if name in own else environment(name)
    return found
