"""What needs no jail: faults as data, checkouts as text, and what is told of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.checkout import TARGETS, Checkout, Source, is_test, known_tests, tree
from ontogeny.environments.environment import SPLITS
from ontogeny.environments.programs_inside import encode
from ontogeny.environments.repository import Repository
from ontogeny.environments.repository_inside import GRAPH
from ontogeny.environments.repository_making import decoded, fresh_inputs, issue
from ontogeny.environments.repository_run import Lost, Order, read, value_of
from ontogeny.environments.repository_task import Fault, read_faults, write_faults
from ontogeny.environments.repository_tools import act
from ontogeny.environments.session import Call
from ontogeny.rollout.sandbox.job import Result, Verdict

FAULTS = read_faults()
FILE = "mpmath/libmp/libintmath.py"
TEST = "mpmath/tests/test_bitwise.py"


def test_faults_come_from_several_packages_files_and_functions() -> None:
    packages = Counter(each.package for each in FAULTS)
    assert min(packages.values()) > 20
    assert len({each.key for each in FAULTS}) > 40
    assert len({each.mutation.kind for each in FAULTS}) >= 6


def test_splits_are_disjoint_by_function_and_do_not_depend_on_the_seed() -> None:
    world = Repository()
    keys = {}
    for split in SPLITS:
        count = sum(each.split == split for each in FAULTS)
        for seed in range(2):
            tasks = world.tasks(split, count, seed)
            assert len({task.id for task in tasks}) == count > 3
            found = {task.meta["key"] for task in tasks}
            assert keys.setdefault(split, found) == found
    assert sum(map(len, keys.values())) == len(set().union(*keys.values()))
    assert world.tasks("train", 500, 0) == world.tasks("train", 500, 0)


def test_more_than_a_split_holds_is_an_error_of_one_line() -> None:
    with pytest.raises(InputError, match="ask for fewer"):
        Repository().tasks("exam", 10_000, 0)
    with pytest.raises(InputError, match="no split 'test'"):
        Repository().tasks("test", 1, 0)


@pytest.mark.parametrize("fault", FAULTS[:: max(1, len(FAULTS) // 25)], ids=lambda each: each.key)
def test_gold_puts_the_original_back_byte_for_byte(fault: Fault) -> None:
    checkout = fault.checkout()
    assert checkout.text(fault.file) != fault.original()
    act(checkout, Call("rewrite", fault.repair()))
    assert checkout.text(fault.file) == fault.original()
    assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault
    assert not {*fault.fail} & {*fault.keep} and fault.fail and fault.keep


def test_the_issue_tells_what_fails_and_not_where() -> None:
    for fault in FAULTS:
        assert fault.file not in fault.issue
        assert fault.fail[0] in fault.issue
        assert " instead of " in fault.issue


def test_calls_of_no_test_are_calls_of_no_test() -> None:
    for fault in FAULTS:
        assert not {literal for literal, _ in fault.seen} & {literal for literal, _ in fault.fresh}
        assert len(fault.fresh) > 1


def test_another_version_is_refused_by_name() -> None:
    fault = replace(FAULTS[0], version="0.1")
    with pytest.raises(InputError, match=f"pip install {fault.package}==0.1"):
        fault.original()
    with pytest.raises(InputError, match="pip install"):
        replace(FAULTS[0], sha256="0").checkout()
    with pytest.raises(InputError, match="pip install no-such-package"):
        Source.of("no-such-package")


def test_faults_are_kept_in_lines(tmp_path: Path) -> None:
    file = tmp_path / "faults.jsonl"
    write_faults(FAULTS[:3], file)
    assert read_faults(file) == FAULTS[:3]
    file.write_text(f"{file.read_text()}{{}}\n")
    with pytest.raises(InputError, match="no fault") as error:
        read_faults(file)
    assert (error.value.line, error.value.file) == (4, str(file))
    with pytest.raises(InputError, match="cannot be read"):
        read_faults(tmp_path / "none.jsonl")


def test_the_tree_holds_no_original() -> None:
    files = {path.relative_to(tree()).as_posix() for path in tree().rglob("*") if path.is_file()}
    for target in TARGETS:
        assert target.file not in files
        folder, _, name = target.file.rpartition("/")
        stem = f"{folder}/__pycache__/{name.removesuffix('.py')}."
        assert not [each for each in files if each.startswith(stem)]
        assert set(target.tests) <= files


def test_tests_that_need_pytest_to_run_them_are_left_out() -> None:
    for target in TARGETS:
        for name in known_tests(target):
            assert is_test(name.split("::")[0])
            assert 2 <= len(name.split("::")) <= 3


@pytest.fixture
def checkout() -> Checkout:
    return Checkout("mpmath", {FILE: "one\ntwo\ntwo\n"})


def test_tools_read_and_edit_text(checkout: Checkout) -> None:
    def call(name: str, **given: object) -> str:
        return act(checkout, Call(name, given))

    assert "mpmath/" in call("list")
    assert "libintmath.py" in call("list", folder="mpmath/libmp").split("\n")
    assert call("read", file=FILE) == f"{FILE}, lines 1 to 4 of 4\n1\tone\n2\ttwo\n3\ttwo\n4\t"
    assert call("read", file=FILE, first=2, last=2).endswith("of 4\n2\ttwo")
    assert call("search", text="two", folder="mpmath/libmp/libint").count(FILE) == 2
    assert call("search", text="no such words at all") == "nothing was found"
    assert "more; search" in call("search", text="def ")
    call("edit", file=FILE, old="one\ntwo", new="1")
    call("rewrite", file=FILE, first=2, last=2, new="2\n3")
    call("rewrite", file=FILE, first=1, last=0, new="0")
    assert checkout.text(FILE) == "0\n1\n2\n3\n"
    call("rewrite", file=FILE, first=1, last=4, new="")
    assert checkout.text(FILE) == ""
    assert call("submit") == "submitted"


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("edit", {"file": FILE, "old": "two", "new": ""}, "stands 2 times"),
        ("edit", {"file": FILE, "old": "", "new": ""}, "stands 0 times"),
        ("edit", {"file": FILE, "old": "one", "new": "\ud800"}, "UTF-8"),
        ("edit", {"file": FILE, "old": "one", "new": "x" * 500_000}, "more than"),
        ("rewrite", {"file": FILE, "first": 0, "last": 1, "new": ""}, "lines 1 to 4"),
        ("rewrite", {"file": FILE, "first": 3, "last": 1, "new": ""}, "lines 1 to 4"),
        ("rewrite", {"file": FILE, "first": 1, "last": 5, "new": ""}, "lines 1 to 4"),
        ("read", {"file": FILE, "first": 9}, "lines 1 to 4"),
        ("read", {"file": "/etc/passwd"}, "no file"),
        ("read", {"file": "mpmath/../torch/__init__.py"}, "no file"),
        ("edit", {"file": "../x", "old": "a", "new": "b"}, "no file"),
        ("list", {"folder": "/etc"}, "no folder"),
    ],
)
def test_what_a_tool_cannot_do_is_a_sentence(
    checkout: Checkout, name: str, given: dict, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        act(checkout, Call(name, given))
    assert checkout.edited == {}


def test_edits_of_tests_reach_the_agent_and_no_judge(checkout: Checkout) -> None:
    act(checkout, Call("rewrite", {"file": TEST, "first": 1, "last": 1, "new": "x"}))
    assert set(checkout.changed(judged=False)) == {FILE, TEST}
    assert set(checkout.changed(judged=True)) == {FILE}


def _result(stdout: bytes, verdict: Verdict = "ok") -> Result:
    return Result(verdict, 0, stdout, b"", 0.0, 0.0, 0)


@pytest.mark.parametrize(
    ("stdout", "failed"),
    [
        (b'["t", {"a::b": ["passed"]}, [[["value", ["int", "0x3"]]]], {}]', ""),
        (b'["x", {"a::b": ["passed"]}, [[["value", ["int", "0x3"]]]], {}]', "forged"),
        (b'["t", {}, [[["value", ["int", "0x3"]]]], {}]', "forged"),
        (b'["t", {"a::b": ["passed"]}, [[]], {}]', "forged"),
        (b"1 passed", "ended itself"),
        (b"", "ended itself"),
        (b"[" * 5_000, "ended itself"),
        (b'["t", {"a::b": []}, [[["value", ["int", "0x3"]]]], {}]', "ended itself"),
        (b'["t", {"a::b": ["passed"]}, [[7]], {}]', "ended itself"),
    ],
)
def test_an_answer_of_another_form_is_no_answer(stdout: bytes, failed: str) -> None:
    order = Order("mpmath", {}, ("a::b",), ((FILE, "f", ("(1,)",)),))
    assert read(_result(stdout), "t", order).failed == failed
    assert read(_result(stdout, "timeout"), "t", order).failed == "timeout"
    with pytest.raises(Lost, match="lower the load"):
        read(_result(stdout, "lost"), "t", order)


def test_values_are_told_apart_by_content() -> None:
    values = [0, 1, (1,), [1], "1", b"1", None, 1.5, {1: 2}, {1}, (True, [None, {"a": 1.5j}])]
    told = [value_of(["value", encode(value)]) for value in values]
    assert len(set(told)) == len(values)
    assert [decoded(encode(value)) for value in values] == values
    assert value_of(["raised", "ValueError"]) not in (None, value_of(["raised", "TypeError"]))
    assert value_of(["odd"]) is value_of(["late"]) is None


def test_fresh_inputs_are_new_and_of_the_same_kind() -> None:
    graph = (GRAPH, False, False, [(0, {}), (1, {})], [(0, 1, {})])
    recorded = [repr((n, [n, n + 1], "a", graph)) for n in range(5)]
    found = fresh_inputs(recorded, random.Random(0))
    assert len(found) > 20
    assert not set(found) & set(recorded)
    assert found == fresh_inputs(recorded, random.Random(0))
    assert fresh_inputs(["()"], random.Random(0)) == []


def test_an_issue_quotes_the_line_of_the_test() -> None:
    why = "p/tests/test_a.py:3 in test_a\n    assert f(1) == 2\np/a.py:9 in f\n    x\nTypeError: no"
    told = issue("p", {"p/tests/test_a.py::test_a": why}, "f(1)", "3", "2")
    assert told.split("\n") == [
        "Since the last change of p tests of it fail (1):",
        "- p/tests/test_a.py::test_a",
        "    assert f(1) == 2",
        "    TypeError: no",
        "For instance, f(1) gives 3 instead of 2.",
    ]
