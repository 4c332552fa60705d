"""The system-call filter of a job, as BPF of our own assembly: no library, no compiler.

Knows no job. Source: Documentation/userspace-api/seccomp_filter.rst of Linux. Every call of
another ABI (32-bit, x32) kills: their numbers mean other calls. Calls whose arguments do not
matter are decided by number alone, which Linux 5.11 and later caches in a bitmap.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Sequence

from . import kernel
from .syscalls import ALLOWED, CHECKED, DENIED, FATAL, NUMBERS

PR_SET_SECCOMP, MODE_FILTER = 22, 2
KILL_PROCESS, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_SET, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
NEW_NAMESPACES = 0x7E020000
UNIX, STREAM = 1, 1
RLIMIT_CORE = 4
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: type into a terminal
OTHERS_LOCKS = (5, 36, 1024, 1026)
"""GETLK, OFD_GETLK, SETLEASE, NOTIFY tell what others do with a file that all jobs see. SETLK may
stay (databases need it): a lock that others could run into needs a file open for writing."""
PRCTL = (1, 2, 3, 4, 15, 16, 21, 23, 27, 29, 30, 39, 41, 42, 0x53564D41)
"""PDEATHSIG, DUMPABLE, NAME, GET_SECCOMP, CAPBSET_READ, TIMERSLACK, NO_NEW_PRIVS, THP, VMA name."""

Instruction = tuple[int, int, int, int]


def refuse(number: int) -> list[Instruction]:
    """The call fails with this errno."""
    return [(RETURN, 0, 0, ERRNO | number)]


KILL: list[Instruction] = [(RETURN, 0, 0, KILL_PROCESS)]
PERMIT: list[Instruction] = [(RETURN, 0, 0, ALLOW)]


def low(argument: int) -> Instruction:
    """Loads the lower half of an argument, 0 to 5."""
    return LOAD, 0, 0, 16 + 8 * argument


def high(argument: int) -> Instruction:
    """Loads its upper half."""
    return LOAD, 0, 0, 20 + 8 * argument


def one_of(argument: int, values: Sequence[int]) -> list[Instruction]:
    """Permits these values, refuses others."""
    jumps = [(JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [low(argument), *jumps, *refuse(errno.EPERM), *PERMIT]


def none_of(argument: int, values: Sequence[int]) -> list[Instruction]:
    """Refuses these values, permits others."""
    jumps = [(JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [low(argument), *jumps, *PERMIT, *refuse(errno.EPERM)]


def by_arguments() -> dict[int, list[Instruction]]:
    """What is done with the calls whose arguments decide."""
    no = refuse(errno.EPERM)
    return {
        NUMBERS["ioctl"]: none_of(1, TERMINAL_INPUT),
        NUMBERS["fcntl"]: none_of(1, OTHERS_LOCKS),
        NUMBERS["prctl"]: one_of(0, PRCTL),
        NUMBERS["personality"]: one_of(0, (0, 0xFFFFFFFF)),
        # a limit of 0 on core files, unlike 1, would wake the host's handler of crashes, as root
        NUMBERS["setrlimit"]: none_of(0, (RLIMIT_CORE,)),
        NUMBERS["prlimit64"]: [
            low(1), (JUMP_EQUAL, 0, 4, RLIMIT_CORE), low(2), (JUMP_EQUAL, 0, 3, 0),
            high(2), (JUMP_EQUAL, 0, 1, 0), *PERMIT, *no,
        ],
        # an address would let one end of a pair speak to another socket
        NUMBERS["sendto"]: [
            low(4), (JUMP_EQUAL, 0, 2, 0), high(4), (JUMP_EQUAL, 1, 0, 0), *no, *PERMIT
        ],
        # event loops need a pair; datagrams could be sent to any address
        NUMBERS["socketpair"]: [
            low(0), (JUMP_EQUAL, 0, 3, UNIX), low(1), (AND, 0, 0, 15),
            (JUMP_EQUAL, 1, 0, STREAM), *no, *PERMIT
        ],
        NUMBERS["clone"]: [low(0), (JUMP_SET, 0, 1, NEW_NAMESPACES), *KILL, *PERMIT],
        # its flags lie in memory, where a filter cannot look; libc then uses clone
        NUMBERS["clone3"]: refuse(errno.ENOSYS),
    }  # fmt: skip


def assemble() -> bytes:
    """The filter, as the kernel takes it."""
    checked = by_arguments()
    assert set(checked) == CHECKED

    def answer(number: int) -> list[Instruction]:
        if number in checked:
            return checked[number]
        if number in ALLOWED:
            return PERMIT
        if number in FATAL:
            return KILL
        return refuse(errno.EPERM if number in DENIED else errno.ENOSYS)

    runs = [(0, answer(0))]
    for number in range(1, max(NUMBERS.values()) + 2):
        if answer(number) != runs[-1][1]:
            runs.append((number, answer(number)))
    program: list[Instruction] = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64), *KILL]
    program += [(LOAD, 0, 0, 0), (JUMP_AT_LEAST, 0, 1, X32_BIT), *KILL, *search(runs)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def search(runs: Sequence[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Finds the run that a number belongs to by halving: (first number, its answer) in order."""
    if len(runs) == 1:
        return runs[0][1]
    middle = len(runs) // 2
    below, above = search(runs[:middle]), search(runs[middle:])
    if len(below) > 255:  # a jump reaches no further
        far = (0x05, 0, 0, len(below))
        return [(JUMP_AT_LEAST, 0, 1, runs[middle][0]), far, *below, *above]
    return [(JUMP_AT_LEAST, len(below), 0, runs[middle][0]), *below, *above]


def install(program: bytes) -> None:
    """For this process and all it starts, for good. Needs no_new_privs.

    Raises:
        OSError: the kernel has no seccomp, or refuses the filter.
    """
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    kernel.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.create_string_buffer(header, len(header)))
