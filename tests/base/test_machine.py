"""What the operating system tells is read as it is meant, containers of both versions too."""

import os
from pathlib import Path

import pytest

from ontogeny.base import machine


def system(root: Path, **files: str) -> Path:
    """A file system with these files; `__` in a key stands for `/`."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tightest_limit_of_nested_groups_counts(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a__memoryDOTmax="1000",
        sys__fs__cgroup__a__memoryDOTcurrent="400",
        sys__fs__cgroup__a__b__memoryDOTmax="max",
        sys__fs__cgroup__a__b__cpuDOTmax="150000 100000",
        sys__fs__cgroup__a__cpuDOTmax="max 100000",
        proc__meminfo="MemTotal:  8 kB\nMemFree: 1 kB\nMemAvailable:  4 kB\n",
    )
    assert machine.limits(root) == machine.Limits(1000, 400, 1.5)
    assert machine.memory(root) == (8192, 4096)
    assert machine.available_memory(root) == 600


def test_control_groups_of_version_1_and_their_word_for_no_limit(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__self__cgroup="4:memory:/job\n1:cpu,cpuacct:/job\n3:pids:/x\n",
        sys__fs__cgroup__memory__memoryDOTlimit_in_bytes=str((1 << 63) - 4096),
        sys__fs__cgroup__memory__job__memoryDOTlimit_in_bytes="5000",
        sys__fs__cgroup__memory__job__memoryDOTusage_in_bytes="1000",
        **{
            "sys__fs__cgroup__cpu,cpuacct__job__cpuDOTcfs_quota_us": "50000",
            "sys__fs__cgroup__cpu,cpuacct__job__cpuDOTcfs_period_us": "100000",
            "sys__fs__cgroup__cpu,cpuacct__cpuDOTcfs_quota_us": "-1",
            "sys__fs__cgroup__cpu,cpuacct__cpuDOTcfs_period_us": "100000",
        },
    )
    assert machine.limits(root) == machine.Limits(5000, 1000, 0.5)


def test_a_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__self__cgroup="0::/host/path/that/is/not/here\n",
        sys__fs__cgroup__memoryDOTmax="2000",
    )
    assert machine.limits(root).memory == 2000


def test_a_silent_system_gives_none_and_no_error(tmp_path: Path) -> None:
    assert machine.limits(tmp_path) == machine.Limits(None, None, None)
    found = machine.processors(tmp_path)
    assert (found.cores, found.threads) == (None, len(os.sched_getaffinity(0)))
    assert machine.memory(tmp_path)[1] is None


def test_two_threads_of_one_core_are_one_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpus = "sys__devices__system__cpu__cpu"
    siblings = {f"{cpus}{n}__topology__thread_siblings_list": "0,2" for n in (0, 2)}
    siblings[f"{cpus}1__topology__thread_siblings_list"] = "1,3"
    root = system(tmp_path, proc__cpuinfo="model name\t: Quick 9\n", **siblings)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert machine.processors(root) == machine.Processors("Quick 9", 2, 3)


def test_free_space_is_told_for_a_place_that_is_not_there_yet(tmp_path: Path) -> None:
    assert machine.nearest(tmp_path / "a" / "b") == tmp_path
    assert machine.free_space(tmp_path / "a" / "b") > 0
