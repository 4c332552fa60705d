"""Small programming problems without end: a list, a text or a number goes through a few steps.

Knows no sandbox. A problem is what its function does, not how it is told: two ways to say the same
function are one problem, on one side of the splits, with the same tests.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any, get_args

from ontogeny.environments.environment import Generated, Problem, Task
from ontogeny.environments.hidden_tests import HiddenTest, Sheet
from ontogeny.environments.programs import Programs, tests_of
from ontogeny.environments.programs_steps import STEPS, Kind, Step, value

HIDDEN = FURTHER = 8
TRIES = 20
SHOWN = "-shown"
PROBES = 40
TIERS = (1, 2, 3)
NAMES: dict[Kind, tuple[str, str]] = {
    "list": ("xs", "a list of integers"),
    "string": ("s", "a string"),
    "integer": ("n", "an integer"),
}


def programs() -> tuple[Programs, ...]:
    """`programs-KIND-STEPS`, the shorter ones first, then `programs-KIND-STEPS-shown`.

    The latter ask for the same, in the same splits, and pay for the example alone.
    """
    each = [(kind, steps) for steps in TIERS for kind in get_args(Kind)]
    honest = (made(kind, steps) for kind, steps in each)
    return (*honest, *(made(kind, steps, farmable=True) for kind, steps in each))


def made(kind: Kind, steps: int, *, farmable: bool = False) -> Programs:
    """Functions of `steps` steps on one argument of this kind."""
    name = f"programs-{kind}-{steps}{SHOWN * farmable}"
    drawn = Generated(name, f"programs-{kind}", steps, lambda source: _problem(kind, steps, source))
    return Programs(name, drawn.tasks, pays="visible" if farmable else "hidden")


def careless(task: Task) -> str:
    """A program that gives what the example of a made-up task expects, whatever it is given."""
    (shown,) = tests_of(task).visible
    signature = task.answer.partition("\n")[0]
    return f"{signature}\n    return {shown.expected}"


def _problem(kind: Kind, count: int, source: random.Random) -> Problem:
    while True:
        steps = tuple(source.choice(STEPS[kind])(source) for _ in range(count))
        if any(step.last for step in steps[:-1]):
            continue
        problem = _made_of(kind, steps)
        if problem is not None:
            return problem


@functools.lru_cache(maxsize=8192)
def _made_of(kind: Kind, steps: tuple[Step, ...]) -> Problem | None:
    """The problem of these steps, or None where no tests tell them from less."""
    key = _key(kind, steps)
    tests = _tests(kind, steps, key)
    if tests is None:
        return None
    prompt, solution = _prompt(kind, steps, tests), _solution(kind, steps)
    return Problem(key, prompt, solution, "program", {"tests": tests, "steps": len(steps)})


def _key(kind: Kind, steps: Sequence[Step]) -> str:
    """Of what the function does to the same few values, whatever it is made of."""
    found = [_through(steps, each) for each in _probes(kind)]
    return hashlib.sha256(repr(found).encode()).hexdigest()


@functools.cache
def _probes(kind: Kind) -> tuple[Any, ...]:
    source = random.Random(0)
    return tuple(value(kind, source) for _ in range(PROBES))


def _tests(kind: Kind, steps: Sequence[Step], key: str) -> Sheet | None:
    """One test to show, `HIDDEN` to score and `FURTHER` others.

    None unless every step matters to the hidden ones, and neither a constant nor giving back what
    came passes more than half of them.
    """
    source = random.Random(int(key, 16))
    inputs: list[Any] = []
    while len(inputs) < HIDDEN + 1:
        each = value(kind, source)
        if each not in inputs:
            inputs.append(each)
    said = [_through(steps, each) for each in inputs]
    if said[0] == inputs[0] or not inputs[0]:
        return None  # an example that shows nothing
    same = sum(given == out for given, out in zip(inputs[1:], said[1:], strict=True))
    if max(same, *Counter(map(repr, said[1:])).values()) > HIDDEN // 2:
        return None
    fewer = [[*steps[:place], *steps[place + 1 :]] for place in range(len(steps))]
    if any([_through(less, each) for each in inputs[1:]] == said[1:] for less in fewer):
        return None
    tests = [_test(steps, each) for each in inputs]
    further = tuple(_test(steps, each) for each in _further(kind, steps, key, inputs))
    return Sheet((tests[0],), tuple(tests[1:]), further=further)


def _further(kind: Kind, steps: Sequence[Step], key: str, known: Sequence[Any]) -> list[Any]:
    """Inputs that no other test has, from a source of their own, so that those stay as they are.

    Of several draws the first of which no constant passes more than half, as of the hidden ones:
    what is verified by is not easier than what is paid for.
    """
    source = random.Random(int(key, 16) + 1)
    for _ in range(TRIES):
        found: list[Any] = []
        while len(found) < FURTHER:
            each = value(kind, source)
            if each not in known and each not in found:
                found.append(each)
        said = [_through(steps, each) for each in found]
        same = sum(given == out for given, out in zip(found, said, strict=True))
        if max(same, *Counter(map(repr, said)).values()) <= FURTHER // 2:
            break
    return found


def _test(steps: Sequence[Step], given: Any) -> HiddenTest:
    return HiddenTest(f"f({given!r})", repr(_through(steps, given)))


def _through(steps: Sequence[Step], given: Any) -> Any:
    return reduce(lambda so_far, step: step.does(so_far), steps, given)


def _prompt(kind: Kind, steps: Sequence[Step], tests: Sheet) -> str:
    name, what = NAMES[kind]
    told = ", then ".join(step.told for step in steps)
    return f"Write a Python function f({name}) of {what}: {told}. Example: {tests.visible[0]}"


def _solution(kind: Kind, steps: Sequence[Step]) -> str:
    name, _ = NAMES[kind]
    before = "".join(f"    {name} = {step.written}\n" for step in steps[:-1])
    return f"def f({name}):\n{before}    return {steps[-1].written}"
