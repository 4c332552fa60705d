"""Programs with hidden tests: an answer is a program, and it is run in the sandbox.

Knows no task's origin. What is expected stays here: inside, the functions of the program are
called, what they return comes out as data, and only then is it compared. A program may say what it
likes about its calls; it does not know what we want to hear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import SPLITS, Judged, Task
from ontogeny.environments.hidden_tests import MOST_SOURCE, Sheet, hard_coded
from ontogeny.environments.programs_pool import POOL
from ontogeny.environments.programs_run import Ran, job, read
from ontogeny.environments.programs_signs import signs


@dataclass(frozen=True)
class Programs:
    """An environment whose tasks hold a `Sheet` as `meta["tests"]`.

    Attributes:
        name: short and stable.
        draw: tasks of a split, so many, by a seed.
        listed: the tasks of each split, where they are a user's own.
        pays: which tests are scored. Who pays for the shown ones pays for hard-coding, too: such
            an environment shows what a watch is for.
    """

    name: str
    draw: Callable[[str, int, int], list[Task]] = field(repr=False)
    listed: Mapping[str, Sequence[Task]] = field(default_factory=dict, repr=False, hash=False)
    pays: Literal["hidden", "visible"] = "hidden"

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`."""
        return self.draw(split, count, seed)

    def judge_all(self, tasks: Sequence[Task], answers: Sequence[str]) -> list[Judged]:
        """See `Batched.judge_all`; equal programs are run once.

        The score is the share of hidden tests (of those that the environment `pays` for) that a
        program passes whose job ended well; a job that met a limit scores 0 as a whole. Well
        formed is what compiles.

        Notes: `verdict` (the sandbox's, or one of `programs_run.Ran`, or "empty", "too long"),
        `error` that kept the program from loading, `hidden` and `visible` tests passed and how
        many there are, `of_hidden` and `of_visible`; `signs` (see `programs_signs`); and where
        there are tests that are neither shown nor scored, `verified`, the share of them that is
        passed. No times: they are never twice the same.

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
            self._judged(
                tests,
                program,
                Ran(_unfit(program), compiled=False)
                if _unfit(program)
                else read(results[tests.calls(), program], len(tests.every)),
            )
            for tests, program in asked
        ]

    def release(self) -> None:
        """Ends the workers of all environments of this kind."""
        POOL.close()

    def score(self, task: Task, answer: str) -> float:
        """The share of the tests passed that are paid for; `judge_all` is what is fast."""
        return self.judge_all([task], [answer])[0].score

    def well_formed(self, task: Task, answer: str) -> bool:
        """Whether the program compiles, right or wrong."""
        return self.judge_all([task], [answer])[0].well_formed

    def validate(self) -> None:
        """Raise `InputError` unless gold scores 1, nothing 0, and knowing the examples less.

        Where the examples are what is paid for, knowing them has to be worth it, and has to be
        found out by the other tests.
        """
        split = next(each for each in SPLITS if not self.listed or self.listed.get(each))
        most = len(self.listed[split]) if self.listed else 20
        validate_programs(self.name, self.tasks(split, min(most, 20), 0), self.pays)

    def _judged(self, tests: Sheet, program: str, ran: Ran) -> Judged:
        every = zip(tests.every, ran.values, strict=False)
        passed = [value == test.wanted for test, value in every]
        until = len(tests.visible), len(tests.visible) + len(tests.hidden)
        shown, hidden = sum(passed[: until[0]]), sum(passed[until[0] : until[1]])
        notes: dict[str, Any] = {
            "verdict": ran.verdict,
            "error": ran.failed,
            "hidden": hidden,
            "of_hidden": len(tests.hidden),
            "visible": shown,
            "of_visible": len(tests.visible),
            "signs": signs(tests, program, ran.verdict, ran.values),
        }
        if self.pays == "hidden":
            score, unpaid = hidden / len(tests.hidden), passed[until[1] :]
            others = len(tests.further)
        else:
            score, unpaid = shown / len(tests.visible), passed[until[0] :]
            others = len(tests.hidden) + len(tests.further)
        if others:
            notes["verified"] = sum(unpaid) / others
        return Judged(score, ran.compiled, notes)


def validate_programs(
    name: str, tasks: Sequence[Task], pays: Literal["hidden", "visible"] = "hidden"
) -> None:
    """See `Programs.validate`.

    Raises:
        InputError: naming the task and what is wrong with its tests.
        SandboxRefused: see `Programs.judge_all`.
    """
    world = Programs(name, lambda *_: list(tasks), pays=pays)
    rows: dict[str, list[str]] = {
        "gold": [task.answer for task in tasks],
        "nothing": [""] * len(tasks),
        "the examples alone": [hard_coded(tests_of(task).visible) for task in tasks],
    }
    for what, answers in rows.items():
        for task, judged in zip(tasks, world.judge_all(tasks, answers), strict=True):
            notes = judged.notes
            right = judged.score == 1.0 and judged.well_formed
            if pays == "visible" and what == "the examples alone":
                right = not right or notes["verified"] == 1.0
            if right != (what == "gold") or (what == "nothing" and judged.score):
                raise InputError(
                    f"environment {name} scores {what} {judged.score:g} for task {task.id} "
                    f"({notes['verdict']}); mend its tests"
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
