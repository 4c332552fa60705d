"""How much memory this process may hold, as the operating system tells it.

Knows no package, and not what the memory is for. The root of the file system is `/` but for tests.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ontogeny.base.machine import ROOT, limits, memory

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def process_room(root: Path = ROOT) -> int | None:
    """Bytes that this process may hold in all: what it has, and what it may still have.

    By the machine, its control group (whose cached files give way) and the limit of its address
    space; None where the system does not tell. What an earlier stage freed counts as ours.
    """
    spare = spare_room(root)
    return None if spare is None else _held(root)[0] + spare


def spare_room(root: Path = ROOT) -> int | None:
    """Bytes that this process may still have beside what it holds; None: nobody tells."""
    addressed = _held(root)[1]
    allowed, free = limits(root), memory(root)[1]
    known = [] if free is None else [free]
    if allowed.memory is not None:
        known.append(allowed.memory - (allowed.used or 0) + _cached_files(root))
    if resource is not None:
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            known.append(most - addressed)
    return max(min(known), 0) if known else None


def _held(root: Path) -> tuple[int, int]:
    """Bytes of this process that lie in memory, and those that it has addresses for."""
    with suppress(OSError):
        told = (root / "proc/self/status").read_text()
        found = dict(re.findall(r"^(VmRSS|VmSize):\s*([0-9]+) kB", told, re.MULTILINE))
        return int(found["VmRSS"]) * 1024, int(found["VmSize"]) * 1024
    return 0, 0


def _cached_files(root: Path) -> int:
    """Bytes of our control group that are cached files: they count as used, but give way."""
    group = root / "sys/fs/cgroup"
    with suppress(OSError):
        own = re.search(r"^0::/(.*)$", (root / "proc/self/cgroup").read_text(), re.MULTILINE)
        inner = group / own[1] if own else group
        for file in (inner / "memory.stat", group / "memory.stat", group / "memory/memory.stat"):
            if file.is_file():
                found = re.findall(
                    r"^(?:total_)?(?:in)?active_file ([0-9]+)$", file.read_text(), re.M
                )
                return sum(int(number) for number in found)
    return 0
