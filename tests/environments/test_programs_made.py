"""Made-up problems: what a function does decides its split, and its tests tell it from less."""

from __future__ import annotations

import pytest

from ontogeny.environments.catalogue import PROGRAMS, environment
from ontogeny.environments.environment import SPLITS, Task
from ontogeny.environments.hidden_tests import Sheet

EVERY = pytest.mark.parametrize("name", PROGRAMS)


def sheet(task: Task) -> Sheet:
    tests = task.meta["tests"]
    assert isinstance(tests, Sheet)
    return tests


def hidden(task: Task) -> tuple[str, ...]:
    return tuple(map(str, sheet(task).hidden))


@EVERY
def test_splits_share_no_function_under_any_seed(name: str) -> None:
    counts = {"train": 60, "heldout": 12, "exam": 12}
    functions = {
        split: {hidden(t) for seed in (0, 1) for t in environment(name).tasks(split, n, seed)}
        for split, n in counts.items()
    }
    assert sum(map(len, functions.values())) == len(set().union(*functions.values()))
    assert all(functions[split] for split in SPLITS)


@EVERY
def test_equal_arguments_give_equal_tasks(name: str) -> None:
    each = environment(name)
    assert each.tasks("train", 12, 1) == each.tasks("train", 12, 1)
    assert each.tasks("train", 12, 1) != each.tasks("train", 12, 2)


@EVERY
def test_a_shown_example_is_no_hidden_test_and_constants_pass_at_most_half(name: str) -> None:
    for task in environment(name).tasks("train", 40, 3):
        tests = sheet(task)
        calls = [each.call for each in (*tests.visible, *tests.hidden)]
        assert len(set(calls)) == 9
        assert str(tests.visible[0]) in task.prompt
        assert not any(each.call in task.prompt for each in tests.hidden)
        wanted = [each.wanted for each in tests.hidden]
        assert max(map(wanted.count, wanted)) <= 4


def test_two_ways_to_say_a_function_are_one_problem() -> None:
    """Both orders of two cuts, for example, have the same tests."""
    by_tests: dict[tuple[str, ...], set[str]] = {}
    for task in environment("programs-list-2").tasks("train", 1_500, 0):
        by_tests.setdefault(hidden(task), set()).add(task.answer)
    assert any(len(programs) > 1 for programs in by_tests.values())
