"""Run by tests: takes something away from itself, then tries to run a program in the sandbox.

Exits as the command line would: 5 and one line where the sandbox refuses. Says RAN if a program
of a job ran.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from ontogeny.base.errors import OntogenyError
from ontogeny.rollout.sandbox.inside import kernel, seccomp
from ontogeny.rollout.sandbox.job import Job
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.pool import run_all

LANDLOCK, PRCTL, SECCOMP, SETRESUID = 444, 157, 317, 117
RESTRICT_SELF, CAPSET, PRLIMIT, CLOSE_RANGE = 446, 126, 302, 436


def answer(number: int, errno: int, first: int | None = None) -> None:
    """From now on, here and in all children, a system call is answered with this errno.

    0 pretends that it was done. `first` takes only calls with this first argument.
    """
    program = [(seccomp.LOAD, 0, 0, 0), (seccomp.JUMP_EQUAL, 1, 0, number), *seccomp.PERMIT]
    if first is not None:
        program += [seccomp.low(0), (seccomp.JUMP_EQUAL, 1, 0, first), *seccomp.PERMIT]
    program += seccomp.refuse(errno)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))


def no_user_namespaces() -> None:
    """Puts us into a user namespace below which none can be made; root becomes a user."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(0x10000000)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def no_seccomp() -> None:
    """The kernel knows neither way to install a filter (any more)."""
    answer(SECCOMP, 38)
    answer(PRCTL, 22, first=seccomp.PR_SET_SECCOMP)


def no_bwrap() -> None:
    """It is not installed."""
    os.environ["PATH"] = "/nowhere"


def no_groups() -> None:
    """No control group can be written; an ordinary user has none anyway."""
    if os.geteuid() == 0:
        kernel.unshare(kernel.NEW_MOUNTS)
        kernel.mount("none", "/", "", kernel.PRIVATE | kernel.RECURSIVE)
        kernel.mount("tmpfs", "/sys/fs/cgroup", "tmpfs", kernel.READ_ONLY)


TAKEN: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "bwrap": no_bwrap,
    "namespaces": no_user_namespaces,
    "landlock": lambda: answer(LANDLOCK, 38),
    "seccomp": no_seccomp,
    # walls that only seem to stand: the call that should build them says that it did
    "self-test": lambda: answer(PRCTL, 0, first=kernel.PR_CAPBSET_DROP),
    "capabilities, in secret": lambda: answer(CAPSET, 0),
    "landlock, in secret": lambda: answer(RESTRICT_SELF, 0),
    "seccomp, in secret": lambda: answer(PRCTL, 0, first=seccomp.PR_SET_SECCOMP),
    "limits, in secret": lambda: answer(PRLIMIT, 0),
    "closing, in secret": lambda: answer(CLOSE_RANGE, 0),
    "uid": lambda: answer(SETRESUID, 1),
    "uid, in secret": lambda: answer(SETRESUID, 0),
    "groups": no_groups,
}


def main() -> None:
    """`attempt.py WHAT [PROCESSES [PROGRAM]]`."""
    what, processes, program = (*sys.argv[1:], *("8", "print('RAN')")[len(sys.argv) - 2 :])
    TAKEN[what]()
    try:
        limits = Limits(wall_seconds=600, cpu_seconds=600, processes=int(processes))
        results = run_all([Job(program)], limits)
    except OntogenyError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    print(results[0].verdict, results[0].stdout.decode())


if __name__ == "__main__":
    main()
