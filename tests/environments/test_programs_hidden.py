"""Assertions are taken apart so that only a call meets the program; values are compared whole."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.environments.hidden_tests import (
    HiddenTest,
    Sheet,
    Unlike,
    Unsplit,
    canonical,
    defined,
    hard_coded,
    sheet,
    split,
)
from ontogeny.environments.programs_inside import encode

NAMES = defined("def f(): ...\ndef g(): ...\nclass Node: ...")


@pytest.mark.parametrize(
    ("assertion", "call", "expected"),
    [
        ("assert f(1, [2]) == (3,)", "f(1, [2])", "(3,)"),
        ("assert (f(1)) ==  -2.5 ", "f(1)", "-2.5"),
        ("assert 3 == f(2), 'why'", "f(2)", "3"),
        ("assert f(2) is None", "f(2)", "None"),
        ("assert f(g(2)) == True", "f(g(2))", "True"),
        ("assert sorted(f([2, 1])) == [1, 2]", "sorted(f([2, 1]))", "[1, 2]"),
        ("assert f(x)[0] == {1: {2}}", "f(x)[0]", "{1: {2}}"),
        ("assert Node(1).depth() == 1", "Node(1).depth()", "1"),
        ("assert f(lambda x: x + 1) == 1j", "f(lambda x: x + 1)", "1j"),
    ],
)
def test_an_assertion_is_a_call_and_a_literal(assertion: str, call: str, expected: str) -> None:
    test = split(assertion, NAMES)
    assert (test.call, test.expected) == (call, expected)


@pytest.mark.parametrize(
    ("assertion", "reason"),
    [
        ("assert f(1) == g(1)", "no_literal"),
        ("assert f(1) == [float('nan')]", "no_literal"),
        ("assert f(1) == ...", "no_literal"),
        ("assert f(1)", "no_equality"),
        ("assert not f(1)", "no_equality"),
        ("assert f(1) != 2", "no_equality"),
        ("assert f(1) is 2", "no_equality"),
        ("assert abs(f(1) - 2.5) < 0.1", "no_equality"),
        ("assert math.isclose(f(1), 2.5)", "no_equality"),
        ("assert math.isclose(f(1), 2.5) == True", "no_call"),
        ("assert (f(1) == 2) == True", "no_call"),
        ("assert f(1 if g(2) == 3 else 0) == 4", "no_call"),
        ("assert f(1).startswith('abc') == True", "no_call"),
        ("assert h(1) == 2", "no_call"),
        ("assert 1 + 1 == 2", "no_call"),
        ("x = f(1)", "no_assertion"),
        ("assert f(1) == 2\nassert f(2) == 3", "no_assertion"),
        ("assert f(1) ==", "no_python"),
        ("assert f(1) == " + "(" * 9_000, "no_python"),
    ],
)
def test_what_would_bring_the_expected_value_along_is_no_test(assertion: str, reason: str) -> None:
    with pytest.raises(Unsplit, match=reason):
        split(assertion, NAMES)


def test_the_shown_test_leaves_others_that_no_constant_passes() -> None:
    def tests(*expected: str) -> list[HiddenTest]:
        return [HiddenTest(f"f({n})", each) for n, each in enumerate(expected)]

    found = sheet(tests("True", "False", "False"))
    assert found is not None
    assert [each.call for each in found.visible] == ["f(1)"]
    assert [each.call for each in found.hidden] == ["f(0)", "f(2)"]
    assert sheet(tests("1", "1", "1.0")) is None
    assert sheet(tests("1", "2")) is None
    assert sheet([]) is None


def test_the_module_of_calls_holds_no_expected_value() -> None:
    tests = Sheet((HiddenTest("f(1)", "'one'"),), (HiddenTest("f(2)", "'two'"),), "x = 1")
    text = tests.calls()
    assert "f(1)" in text
    assert "f(2)" in text
    assert "one" not in text
    assert "two" not in text
    ast.parse(text)
    assert Sheet.from_json(tests.to_json()) == tests


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"visible": [["f(1)", 2]], "hidden": [], "setup": ""},
        {"visible": [["f(1)", "x"]], "hidden": [], "setup": ""},
        {"visible": [], "hidden": [["f(1)"]], "setup": ""},
        {"visible": [], "hidden": [], "setup": 3},
    ],
)
def test_what_is_no_sheet_is_told(record: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Sheet.from_json(record)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
    | st.binary(max_size=2) | st.sampled_from([0, 1, 1.0, True, "1", b"1"]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.integers(0, 2) | st.text(max_size=1), inner, max_size=2)
    | st.frozensets(st.integers(0, 3) | st.sampled_from([1.0, True]), max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(PLAIN, PLAIN)
def test_texts_are_equal_where_python_says_so(left: Any, right: Any) -> None:
    assert (canonical(encode(left)) == canonical(encode(right))) == (left == right)
    assert canonical(encode(left)) == canonical(encode(left))


@pytest.mark.parametrize(
    ("left", "right"),
    [([1], (1,)), ([1], {1}), ("1", 1), (b"1", "1"), (2.5, "2.5"), (0xB1, b"\x1b"), (None, "none"),
     ([], ()), (set(), {}), ([1, 2], [[1], 2]), ("a,b", ["a", "b"]), (0, ""), (False, None)],
)  # fmt: skip
def test_types_are_told_apart(left: Any, right: Any) -> None:
    assert canonical(encode(left)) != canonical(encode(right))


def test_what_is_no_data_is_refused_and_a_subclass_is_what_it_holds() -> None:
    class Sly(dict[str, int]):
        def items(self) -> Any:
            return [("b", 2)]

    assert canonical(encode(Sly(a=1))) == canonical(encode({"a": 1}))
    ring: list[Any] = []
    ring.append(ring)
    for value in (ring, object(), map(str, []), len, [iter([])]):
        with pytest.raises(TypeError):
            encode(value)


@pytest.mark.parametrize(
    "told",
    [None, 3, [], ["int"], ["int", "x"], ["int", 3], ["float", "nan"], ["list", 3], ["dict", [1]],
     ["object"], [["int"]], ["str", "a", "b"], ["complex", "nan", "0x1p0"], ["bytes", "zz"]],
)  # fmt: skip
def test_what_was_not_written_by_us_equals_nothing(told: Any) -> None:
    with pytest.raises(Unlike):
        canonical(told)


def test_a_forged_depth_or_size_is_bounded() -> None:
    deep: list[Any] = ["none"]
    for _ in range(500):
        deep = ["list", deep]
    with pytest.raises(Unlike):
        canonical(deep)
    # all of these have one hash; texts are sorted, not hashed
    same = ["set", *(["int", hex(n * (2**61 - 1))] for n in range(4_000))]
    assert canonical(same).count(",") == 3_999


def test_hard_coded_programs_know_the_tests_given_to_them() -> None:
    text = hard_coded([HiddenTest("f(1, [2])", "3"), HiddenTest("g('a')", "'b'")])
    assert {"f", "g"} <= defined(text).callables
    assert "((1, [2], ), 3)" in text
