"""Limits check themselves; the verdict follows what the kernel said, the worst first."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rollout.sandbox.conftest import Blocking

from ontogeny.base.errors import InputError
from ontogeny.rollout.sandbox.cgroup import Group, make_group
from ontogeny.rollout.sandbox.inside.program import OUT_OF_MEMORY
from ontogeny.rollout.sandbox.job import Result
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.selftest import EXPECTED, open_walls
from ontogeny.rollout.sandbox.verdict import End, verdict


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_seconds": 0},
        {"cpu_seconds": 1.5},
        {"wall_seconds": 0.0},
        {"wall_seconds": float("inf")},
        {"wall_seconds": float("nan")},
        {"memory_bytes": 100},
        {"processes": 0},
        {"output_bytes": -1},
        {"tmp_bytes": 1 << 60},
        {"tmp_files": 1},
        {"open_files": 3},
    ],
)
def test_a_limit_out_of_its_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End(0, 0.1, None, 0, 2), "ok"),
        (End(0, 0.1, None, 1, 2), "memory limit"),  # a child was killed, the program exited 0
        (End(-9, 0.1, "timeout", 1, 2), "memory limit"),
        (End(-9, 2.0, "timeout", 0, 2), "timeout"),
        (End(-9, 0.1, "output limit", 0, 2), "output limit"),
        (End(0, 0.1, "output limit", 0, 2), "output limit"),
        (End(-9, 2.01, None, 0, 2), "cpu limit"),
        (End(-9, 0.1, None, 0, 2), "lost"),
        (End(-signal.SIGSYS, 0.1, None, 0, 2), "forbidden"),
        (End(-signal.SIGSEGV, 0.1, None, 0, 2), "error"),
        (End(OUT_OF_MEMORY, 0.1, None, 0, 2), "memory limit"),
        (End(1, 0.1, None, 0, 2), "error"),
    ],
)
def test_the_worst_that_is_known_is_the_verdict(end: End, expected: str) -> None:
    assert verdict(end) == expected


def test_a_timeout_without_a_processor_says_nothing_of_the_program() -> None:
    waited = Result("timeout", -9, b"", b"", 0.1, 6.0, 0, queued_seconds=5.0)
    slept = Result("timeout", -9, b"", b"", 0.1, 6.0, 0, queued_seconds=0.1)
    assert (waited.starved, slept.starved) == (True, False)


def test_the_self_test_names_every_wall_that_is_open() -> None:
    whole = {**EXPECTED, "writes outside /tmp": ["EROFS"]}
    assert open_walls(whole) == []
    for name in whole:
        assert len(open_walls({**whole, name: ["it worked"]})) == 1
        assert open_walls({key: value for key, value in whole.items() if key != name})


def version_2(tmp_path: Path) -> Group:
    """A directory with the files of a control group of version 2."""
    for name in ("memory.max", "memory.swap.max", "pids.max", "cgroup.procs"):
        (tmp_path / name).write_text("max\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n")
    return Group(tmp_path, tmp_path)


def test_a_group_of_version_2_is_bounded_and_tells_its_kills_once(tmp_path: Path) -> None:
    group = version_2(tmp_path)
    group.bound(1 << 28, 20)
    told = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert (told["memory.max"], told["memory.swap.max"], told["pids.max"]) == (
        "268435456",
        "0",
        "20",
    )
    assert group.doors == (str(tmp_path / "cgroup.procs"),)
    assert [group.new_kills(), group.new_kills()] == [2, 0]


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    assert make_group("x", tmp_path) is None
    assert list(tmp_path.rglob("*")) == []


def test_groups_are_gone_after_a_sandbox(sandbox: Blocking) -> None:
    assert sandbox.run("print(1)").verdict == "ok"
    group = make_group("probe")
    if group is None:
        assert sandbox.sandbox.tier == 2
        return
    assert sandbox.sandbox.tier == 1
    stale = group.memory.with_name("ontogeny-sandbox-4194304-0")  # no process has this id
    stale.mkdir()
    other = make_group("other")
    assert other is not None
    assert not stale.exists()
    for each in (group, other):
        each.remove()
        assert not os.path.exists(each.memory)
