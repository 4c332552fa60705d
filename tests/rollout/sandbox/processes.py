"""What the tests see of processes, from /proc. Knows no sandbox."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def _stat(pid: int) -> tuple[int, str, str] | None:
    """Parent, state and start of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[0], fields[19]


def below(pid: int) -> set[tuple[int, str]]:
    """(pid, start) of all that descend from `pid`, zombies included."""
    parents = {}
    starts = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (found := _stat(int(name))) is not None:
            parents[int(name)], _, starts[int(name)] = found
    reached = {pid}
    while more := {child for child, parent in parents.items() if parent in reached} - reached:
        reached |= more
    return {(child, starts[child]) for child in reached - {pid}}


def alive(processes: Iterable[tuple[int, str]]) -> set[int]:
    """Those that still run; a zombie does not."""
    found = set()
    for pid, start in processes:
        now = _stat(pid)
        if now is not None and now[2] == start and now[1] not in "ZX":
            found.add(pid)
    return found


def gone_after(processes: Iterable[tuple[int, str]], seconds: float) -> bool:
    """Whether all of them are dead within this time."""
    kept = list(processes)
    until = time.monotonic() + seconds
    while alive(kept) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(kept)


def settled(
    look: Callable[[], set[tuple[int, str]]], count: int, seconds: float = 30
) -> set[tuple[int, str]]:
    """The processes, once they are so many and stay the same: those of a self-test do not."""
    now: set[tuple[int, str]] = set()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before, now = now, look()
        if len(now) == count and now == before:
            return now
        time.sleep(0.4)
    raise AssertionError(f"{len(now)} processes, not {count}")


def zygote(processes: Iterable[tuple[int, str]]) -> int:
    """The one of an idle worker's processes that jobs are forked from."""
    leaves = [pid for pid, _ in processes if not below(pid) and "-P" in _words(pid)]
    assert len(leaves) == 1, leaves
    return leaves[0]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
