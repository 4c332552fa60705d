"""Programs with hidden tests: an answer is a program, and it is run in the sandbox.

Knows no task's origin. What is expected stays here: inside, the functions of the program are
called, what they return comes out as data, and only then is it compared. A program may say what it
likes about its calls; it does not know what we want to hear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import SPLITS, Judged, Task
from ontogeny.environments.hidden_tests import MOST_SOURCE, Sheet, hard_coded
from ontogeny.environments.programs_pool import POOL
from ontogeny.environments.programs_run import job, read
from ontogeny.rollout.sandbox.job import Result


@dataclass(frozen=True)
class Programs:
    """An environment whose tasks hold a `Sheet` as `meta["tests"]`.

    Attributes:
        name: short and stable.
        draw: tasks of a split, so many, by a seed.
        listed: the tasks of each split, where they are a user's own.
    """

    name: str
    draw: Callable[[str, int, int], list[Task]] = field(repr=False)
    listed: Mapping[str, Sequence[Task]] = field(default_factory=dict, repr=False)

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`."""
        return self.draw(split, count, seed)

    def judge_all(self, tasks: Sequence[Task], answers: Sequence[str]) -> list[Judged]:
        """See `Batched.judge_all`; equal programs are run once.

        The score is the share of hidden tests that a program passes whose job ended well; a job
        that met a limit scores 0 as a whole. Well formed is what compiles.

        Notes: `verdict` (the sandbox's, or one of `programs_run.Ran`, or "empty", "too long"),
        `error` that kept the program from loading, `hidden` and `visible` tests passed and how
        many there are, `of_hidden` and `of_visible`. No times: they are never twice the same.

        Raises:
            SandboxRefused: programs cannot be contained here, or the machine is too busy to judge.
        """
        asked = [(tests_of(t), program_of(a)) for t, a in zip(tasks, answers, strict=True)]
        jobs = {
            (tests.calls(), program): job(tests, program)
            for tests, program in asked
            if not _unfit(program)
        }
        results = dict(zip(jobs, POOL.run_all(list(jobs.values())), strict=True))
        return [
            _unrun(tests, _unfit(program))
            if _unfit(program)
            else _judged(tests, results[tests.calls(), program])
            for tests, program in asked
        ]

    def release(self) -> None:
        """Ends the workers of all environments of this kind."""
        POOL.close()

    def score(self, task: Task, answer: str) -> float:
        """The share of hidden tests passed; `judge_all` is what is fast."""
        return self.judge_all([task], [answer])[0].score

    def well_formed(self, task: Task, answer: str) -> bool:
        """Whether the program compiles, right or wrong."""
        return self.judge_all([task], [answer])[0].well_formed

    def validate(self) -> None:
        """Raise `InputError` unless gold scores 1, nothing 0, and knowing the examples less."""
        split = next(each for each in SPLITS if not self.listed or self.listed.get(each))
        most = len(self.listed[split]) if self.listed else 20
        validate_programs(self.name, self.tasks(split, min(most, 20), 0))


def validate_programs(name: str, tasks: Sequence[Task]) -> None:
    """See `Programs.validate`.

    Raises:
        InputError: naming the task and what is wrong with its tests.
        SandboxRefused: see `Programs.judge_all`.
    """
    world = Programs(name, lambda *_: list(tasks))
    rows: dict[str, list[str]] = {
        "gold": [task.answer for task in tasks],
        "nothing": [""] * len(tasks),
        "the examples alone": [hard_coded(tests_of(task).visible) for task in tasks],
    }
    for what, answers in rows.items():
        for task, judged in zip(tasks, world.judge_all(tasks, answers), strict=True):
            right = judged.score == 1.0 and judged.well_formed
            if right != (what == "gold") or (what == "nothing" and judged.score):
                raise InputError(
                    f"environment {name} scores {what} {judged.score:g} for task {task.id} "
                    f"({judged.notes['verdict']}); mend its tests"
                )


def tests_of(task: Task) -> Sheet:
    """The tests that a task brings."""
    tests = task.meta["tests"]
    assert isinstance(tests, Sheet)
    return tests


def program_of(answer: str) -> str:
    """The program in an answer: the first block between lines of three backticks, else all of it.

    A block that does not end ends with the answer.
    """
    lines = answer.splitlines()
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    if not fences:
        return answer
    end = fences[1] if len(fences) > 1 else len(lines)
    return "\n".join(lines[fences[0] + 1 : end]) + "\n"


def _unfit(program: str) -> str:
    """Why a program is not run at all, or nothing."""
    if not program.strip():
        return "empty"
    return "too long" if len(program) > MOST_SOURCE else ""


def _unrun(tests: Sheet, why: str) -> Judged:
    return _told(tests, why, 0, 0, "", well_formed=False)


def _judged(tests: Sheet, result: Result) -> Judged:
    every = (*tests.visible, *tests.hidden)
    ran = read(result, len(every))
    passed = [value == test.wanted for test, value in zip(every, ran.values, strict=False)]
    shown, hidden = passed[: len(tests.visible)], passed[len(tests.visible) :]
    return _told(tests, ran.verdict, sum(shown), sum(hidden), ran.failed, ran.compiled)


def _told(
    tests: Sheet, verdict: str, shown: int, hidden: int, error: str, well_formed: bool
) -> Judged:
    notes: dict[str, Any] = {
        "verdict": verdict,
        "error": error,
        "hidden": hidden,
        "of_hidden": len(tests.hidden),
        "visible": shown,
        "of_visible": len(tests.visible),
    }
    return Judged(hidden / len(tests.hidden), well_formed, notes)
