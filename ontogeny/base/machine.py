"""What this machine has, as the operating system tells it: processors, memory, container limits.

Knows no package. Every function takes the root of the file system, `/` but for tests, and says
None where the system does not tell.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Processors:
    """`cores` are physical ones (None: unknown), `threads` those that this process may use."""

    model: str
    cores: int | None
    threads: int


@dataclass(frozen=True)
class Limits:
    """What a container (control group) allows: bytes of memory in all and in use, processors."""

    memory: int | None
    used: int | None
    processors: float | None


def processors(root: Path = ROOT) -> Processors:
    """The processors that this process may run on."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    told = _read(root / "proc/cpuinfo") or ""
    model = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    name = model[1].strip() if model else platform.processor() or platform.machine()
    if usable is None:
        return Processors(name, None, os.cpu_count() or 1)
    cpus = root / "sys/devices/system/cpu"
    siblings = [_read(cpus / f"cpu{n}/topology/thread_siblings_list") for n in usable]
    cores = None if None in siblings else len(set(siblings))
    return Processors(name, cores, len(usable))


def memory(root: Path = ROOT) -> tuple[int | None, int | None]:
    """Bytes of memory in all, and what a new process may have without swapping."""
    told = _read(root / "proc/meminfo")
    if told is not None:
        found = dict(re.findall(r"^(\w+):\s*([0-9]+) kB", told, re.MULTILINE))
        total, free = found.get("MemTotal"), found.get("MemAvailable")
        return (int(total) * 1024 if total else None, int(free) * 1024 if free else None)
    with contextlib.suppress(ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return None, None


def limits(root: Path = ROOT) -> Limits:
    """The tightest limits of the control groups this process is in, of version 2 or 1."""
    memories: list[tuple[int, Path]] = []
    shares: list[float] = []
    for group in _groups(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(_read(group / name))
            if limit is not None and limit < 1 << 60:  # version 1 says "none" by a huge number
                memories.append((limit, group))
        words = (_read(group / "cpu.max") or "").split()
        if len(words) == 2:
            quota, period = _number(words[0]), _number(words[1])
        else:
            quota = _number(_read(group / "cpu.cfs_quota_us"))
            period = _number(_read(group / "cpu.cfs_period_us"))
        if quota is not None and period and quota > 0:
            shares.append(quota / period)
    tightest = min(memories, default=None)
    used = None
    if tightest is not None:
        for name in ("memory.current", "memory.usage_in_bytes"):
            used = used if used is not None else _number(_read(tightest[1] / name))
    return Limits(tightest[0] if tightest else None, used, min(shares, default=None))


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process may still have, by the machine and by its container."""
    limit = limits(root)
    left = limit.memory - (limit.used or 0) if limit.memory is not None else None
    known = [size for size in (memory(root)[1], left) if size is not None]
    return min(known, default=None)


def free_space(path: Path) -> int:
    """Bytes free where `path` lies, or would lie.

    Raises:
        OSError: nothing above it can be read.
    """
    return shutil.disk_usage(nearest(path)).free


def nearest(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    for directory in (path, *path.absolute().parents):
        if directory.is_dir():
            return directory
    return Path("/")


def _groups(root: Path) -> list[Path]:
    """The directories of our control groups and of all above them."""
    base = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        top = base / controllers if controllers else base
        if controllers and not {"memory", "cpu"} & set(controllers.split(",")):
            continue
        inner = top / path.strip("/")
        # inside a container the path may be the host's: then only the top is ours
        while True:
            found.append(inner)
            if inner == top or top not in inner.parents:
                break
            inner = inner.parent
    return list(dict.fromkeys([*found, base]))


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]+", text) else None
