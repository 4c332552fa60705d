"""What a process may hold is read from the system, container and limits included."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from ontogeny.base.room import process_room

MB = 1 << 20


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


PROCESS = {
    "proc/self/status": "Name:\tpython\nVmSize:\t  900000 kB\nVmRSS:\t  300000 kB\n",
    "proc/meminfo": "MemTotal:  8000000 kB\nMemAvailable:  1000000 kB\n",
}


def test_room_is_what_the_process_has_and_what_the_machine_has_left(tmp_path: Path) -> None:
    assert process_room(machine(tmp_path, PROCESS)) == 1_300_000 * 1024


def test_a_container_limits_it_and_its_cached_files_give_way(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/box/"
    files = PROCESS | {
        "proc/self/cgroup": "0::/box\n",
        f"{group}memory.max": str(800 * MB),
        f"{group}memory.current": str(700 * MB),
        f"{group}memory.stat": f"anon 9\ninactive_file {60 * MB}\nactive_file {40 * MB}\n",
    }
    assert process_room(machine(tmp_path, files)) == 300_000 * 1024 + 200 * MB


def test_the_limit_of_addresses_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1_000_000 * 1024
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert process_room(machine(tmp_path, PROCESS)) == 400_000 * 1024


def test_where_nothing_is_told_nothing_is_known(tmp_path: Path) -> None:
    assert process_room(tmp_path) is None
