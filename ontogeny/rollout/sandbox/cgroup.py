"""A control group for a worker: memory of all its processes together, and their number.

Knows no job. Version 1 and 2 are found by trying, not by asking: a directory that can be made, has
both controllers and takes a process in. Where there is none, `make_group` says None.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "ontogeny-sandbox"
MOST_MEMORY = ("memory.max", "memory.limit_in_bytes")
KILLS = ("memory.events", "memory.oom_control")


@dataclass
class Group:
    """Directories of one worker: one in version 2, one for each controller in version 1."""

    memory: Path
    pids: Path
    _limit: int = field(default=-1, init=False)
    _kills: int = field(default=0, init=False)

    @property
    def doors(self) -> tuple[str, ...]:
        """Files to write a process id into."""
        return tuple(str(path / "cgroup.procs") for path in dict.fromkeys((self.memory, self.pids)))

    def bound(self, memory_bytes: int, processes: int) -> None:
        """Sets both limits, if they are others than before."""
        if memory_bytes == self._limit:
            return
        (self.memory / _which(self.memory, MOST_MEMORY)).write_text(str(memory_bytes))
        for name, value in (("memory.swap.max", "0"), ("memory.swappiness", "0")):
            with contextlib.suppress(OSError):  # no swap, nothing to bound
                (self.memory / name).write_text(value)
        (self.pids / "pids.max").write_text(str(processes))
        self._limit = memory_bytes

    def new_kills(self) -> int:
        """Processes killed for memory since this was last asked."""
        told = (self.memory / _which(self.memory, KILLS)).read_text()
        found = re.search(r"^oom_kill (\d+)$", told, re.MULTILINE)
        before, self._kills = self._kills, int(found[1]) if found else self._kills
        return self._kills - before

    def remove(self) -> None:
        """Once its processes are dead; a group that stays is swept by the next sandbox."""
        for path in {self.memory, self.pids}:
            for _ in range(20):
                with contextlib.suppress(OSError):
                    path.rmdir()
                if not path.exists():
                    break
                time.sleep(0.01)


def make_group(name: str, root: Path = ROOT) -> Group | None:
    """A group that processes can be put into, or None."""
    for memory, pids in _places(root):
        _sweep(memory)
        _sweep(pids)
        full = f"{PREFIX}-{os.getpid()}-{name}"
        group = Group(memory / full, pids / full)
        if _works(group):
            return group
        group.remove()
    return None


def _works(group: Group) -> bool:
    try:
        for path in dict.fromkeys((group.memory, group.pids)):
            path.mkdir()
        group.bound(1 << 30, 64)
        group.new_kills()
        # whether a process may be moved depends on both ends' owners: try it
        with subprocess.Popen(
            ["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as cat:
            try:
                for door in group.doors:
                    Path(door).write_text(str(cat.pid))
            finally:
                cat.kill()
    except (OSError, LookupError):
        return False
    return True


def _which(directory: Path, names: tuple[str, ...]) -> str:
    for name in names:
        if (directory / name).exists():
            return name
    raise LookupError(f"{directory} has none of {', '.join(names)}")


def _places(root: Path) -> Iterator[tuple[Path, Path]]:
    """Pairs of directories in which groups may perhaps be made, the nearest first."""
    own = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own.update({name: path.strip("/") for name in controllers.split(",")})
    if "memory" in own and "pids" in own:
        yield root / "memory" / own["memory"], root / "pids" / own["pids"]
    elif "" in own:
        here = root / own[""]
        for place in (here, *here.parents):
            if place.is_relative_to(root):
                yield place, place


def _sweep(place: Path) -> None:
    """Groups whose sandbox was killed hard are empty by now, and nobody else's to remove."""
    for path in place.glob(f"{PREFIX}-*"):
        pid = path.name.removeprefix(f"{PREFIX}-").split("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                path.rmdir()
