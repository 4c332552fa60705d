"""Closes a job's own jail around a freshly forked process, layer by layer.

Knows nothing of what will run. Each layer alone would stop most attacks; the order matters, since
every layer takes away what the ones before it needed.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass

from . import kernel, landlock, seccomp

SEALED, SEALING, UNPACKING = b"K", b"E", b"U"
"""The first byte on the status pipe: the program starts, or what failed before it could."""
TMP, WORK = "/tmp", "/episode"
OWN = kernel.NO_SUID | kernel.NO_DEVICES | kernel.NO_EXECUTE
RUNNABLE = ("/python", "/usr/lib", "/usr/lib64", "/lib", "/lib64")
READABLE = ("/usr/share/zoneinfo", "/trees")
DEVICES = {"/dev/null": landlock.READ_FILE | landlock.WRITE_FILE, "/dev/zero": landlock.READ_FILE}
DEVICES |= {"/dev/urandom": landlock.READ_FILE, "/dev/random": landlock.READ_FILE}


@dataclass(frozen=True)
class Bounds:
    """What the host orders for one job; see `sandbox.limits.Limits`. All are whole numbers.

    `memory` is address space, what the interpreter has at the start included.
    """

    cpu: int
    memory: int
    processes: int
    file: int
    open: int
    tmp: int
    inodes: int


@dataclass(frozen=True)
class Walls:
    """What all jobs of a zygote have in common, made once: open paths and the filter."""

    abi: int
    paths: tuple[tuple[int, int, bool], ...]
    filter: bytes

    @classmethod
    def build(cls, abi: int) -> Walls:
        """Opens what jobs may read or run."""
        rights = dict.fromkeys(RUNNABLE, landlock.RUN)
        rights |= dict.fromkeys(READABLE, landlock.READ) | DEVICES
        if os.path.isdir(WORK):
            rights[WORK] = landlock.writable(abi)
        paths = tuple(
            (os.open(path, os.O_PATH | os.O_CLOEXEC), allowed, os.path.isdir(path))
            for path, allowed in rights.items()
            if os.path.exists(path)
        )
        return cls(abi, paths, seccomp.assemble())


def seal(bounds: Bounds, walls: Walls, keep: Iterable[int]) -> None:
    """Everything between a fork and a program that is not trusted; only files `keep` stay open.

    Raises:
        OSError: a layer could not be put up; nothing may run then.
    """
    # its process group is still the zygote's, and kill(0) would reach that
    os.setsid()
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_IPC | kernel.NEW_UTS)
    size = f"size={bounds.tmp},nr_inodes={bounds.inodes},mode=0700"
    kernel.mount("tmpfs", TMP, "tmpfs", OWN, size)
    kernel.mount("proc", "/proc", "proc", OWN | kernel.READ_ONLY, "subset=pid")
    os.chdir(TMP)
    rules = _rules(walls)
    _close_all_but(keep, rules.fd)
    _limit(bounds)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    rules.enforce()
    seccomp.install(walls.filter)


def _limit(bounds: Bounds) -> None:
    hard = {
        resource.RLIMIT_CPU: bounds.cpu,
        resource.RLIMIT_AS: bounds.memory,
        # counts in this user namespace: the zygote and bwrap's first process are in it too
        resource.RLIMIT_NPROC: bounds.processes + 2,
        resource.RLIMIT_FSIZE: bounds.file,
        resource.RLIMIT_NOFILE: bounds.open,
        # not 0: a core that is piped to a program of the host's ignores that, but not 1 (core(5))
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }
    for name, value in hard.items():
        # a limit of our parents' may be lower, and without privilege none is raised
        limit = value if (most := resource.getrlimit(name)[1]) < 0 else min(value, most)
        resource.setrlimit(name, (limit, limit))


def _rules(walls: Walls) -> landlock.Ruleset:
    rules = landlock.Ruleset(walls.abi)
    for path, rights, directory in walls.paths:
        rules.allow(path, rights, directory=directory)
    for name, rights in ((TMP, landlock.writable(walls.abi)), ("/proc", landlock.READ)):
        path = os.open(name, os.O_PATH | os.O_CLOEXEC)
        rules.allow(path, rights)
        os.close(path)
    return rules


def _close_all_but(keep: Iterable[int], *more: int) -> None:
    start = 0
    for fd in sorted({*keep, *more}):
        if start < fd:  # an empty range that begins at 0 closes everything (CPython 3.11)
            os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, 1 << 20)
