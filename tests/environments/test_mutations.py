"""A fault is one small change inside one function, and nothing else moves."""

from __future__ import annotations

import ast
import bisect
import heapq
import shlex
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from ontogeny.environments.mutations import KINDS, Mutation, functions, mutations

MODULES = (textwrap, heapq, bisect, shlex)

SOURCE = '''@decorated(1)
def f(a, b=2):
    """Doc 1 < 2."""
    é = "é" < a  # 3
    if a < (b) and a is not None:
        return g(a, b + 1)
    return (a*b)//(2) + True


def g(a):
    return a


def g(a):
    return a + 1
'''


def made(source: str = SOURCE, name: str = "f") -> list[Mutation]:
    return mutations(source, functions(source)[name])


def test_each_kind_of_fault_is_made_where_it_can_be() -> None:
    found = {(each.kind, each.before, each.after) for each in made()}
    assert found == {
        ("comparison", "<", "<="),
        ("comparison", "is not", "is"),
        ("junction", "and", "or"),
        ("condition", "a < (b) and a is not None", "not (a < (b) and a is not None)"),
        ("branch", "return g(a, b + 1)", "pass"),
        ("arguments", "a, b + 1", "b + 1, a"),
        ("operator", "+", "-"),
        ("operator", "*", "+"),
        ("operator", "//", "*"),
        ("constant", "1", "0"),
        ("constant", "1", "2"),
        ("constant", "2", "1"),
        ("constant", "2", "3"),
        ("constant", "True", "False"),
    }
    assert {kind for kind, _, _ in found} == set(KINDS)


@pytest.mark.parametrize("module", MODULES, ids=lambda each: each.__name__)
def test_a_fault_changes_its_function_and_no_other_line(module: ModuleType) -> None:
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    lines, count, whole = source.split("\n"), 0, ast.dump(ast.parse(source))
    for node in functions(source).values():
        first, last = node.body[0].lineno, node.end_lineno
        for each in mutations(source, node):
            changed = each.applied(source)
            assert ast.dump(ast.parse(changed)) != whole
            after = changed.split("\n")
            assert after[: first - 1] == lines[: first - 1]
            assert after[len(after) - len(lines) + last :] == lines[last:]
            back = Mutation(each.kind, each.start, each.after, each.before)
            assert back.applied(changed) == source
            count += 1
    assert count > 10


def test_a_function_that_is_defined_twice_is_left_alone() -> None:
    assert list(functions(SOURCE)) == ["f"]


def test_a_fault_is_refused_where_it_does_not_belong() -> None:
    with pytest.raises(ValueError, match="not the one"):
        made()[0].applied(f"# longer\n{SOURCE}")


def test_a_fault_is_plain_data() -> None:
    for each in made():
        assert Mutation(**each.to_json()) == each
