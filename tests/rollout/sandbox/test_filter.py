"""The system-call filter gives every call its answer, by the rules a kernel would follow."""

from __future__ import annotations

import errno
import struct

import pytest

from ontogeny.rollout.sandbox.inside import seccomp
from ontogeny.rollout.sandbox.inside.syscalls import ALLOWED, CHECKED, DENIED, FATAL, NUMBERS

X86_64, I386 = 0xC000003E, 0x40000003
ALLOW, KILL = seccomp.ALLOW, seccomp.KILL_PROCESS
EPERM, ENOSYS = seccomp.ERRNO | errno.EPERM, seccomp.ERRNO | errno.ENOSYS


def answer(number: int, *arguments: int, arch: int = X86_64) -> int:
    """Runs the filter as the kernel's BPF does."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", number & 0x7FFFFFFF, arch, 0, *padded)
    program = [struct.unpack_from("=HBBI", CODE, place) for place in range(0, len(CODE), 8)]
    accumulator, at = 0, 0
    while True:
        code, true, false, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            at += value
        elif code == 0x06:
            return int(value)
        else:
            met = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += true if met else false


CODE = seccomp.assemble()


def test_every_number_has_the_answer_of_its_list() -> None:
    for number in range(600):
        if number in CHECKED:
            continue
        expected = ALLOW if number in ALLOWED else KILL if number in FATAL else None
        expected = expected or (EPERM if number in DENIED else ENOSYS)
        assert answer(number) == expected, number


def test_the_filter_is_no_longer_than_the_kernel_takes() -> None:
    assert len(CODE) // 8 < 1024


@pytest.mark.parametrize("number", [0, 1, 11, 59, 231])
def test_another_abi_is_killed_whatever_it_calls(number: int) -> None:
    assert answer(number, arch=I386) == KILL
    assert answer(number | 0x40000000) == KILL


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (0x01200011,), ALLOW),  # fork
        ("clone", (0x003D0F00,), ALLOW),  # a thread
        ("clone", (0x10000011,), KILL),
        ("clone", (0x00020011,), KILL),
        ("clone3", (0, 88), ENOSYS),
        ("socketpair", (1, 1 | 0o2000000), ALLOW),
        ("socketpair", (1, 2), EPERM),
        ("socketpair", (2, 1), EPERM),
        ("sendto", (3, 4, 5, 0, 0, 0), ALLOW),
        ("sendto", (3, 4, 5, 0, 6, 7), EPERM),
        ("sendto", (3, 4, 5, 0, 1 << 32, 7), EPERM),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),
        ("prctl", (15,), ALLOW),
        ("prctl", (22,), EPERM),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0040000,), EPERM),
        ("setrlimit", (0, 1), ALLOW),
        ("setrlimit", (4, 1), EPERM),
        ("prlimit64", (0, 0, 1, 0), ALLOW),
        ("prlimit64", (0, 4, 0, 1), ALLOW),
        ("prlimit64", (0, 4, 1, 0), EPERM),
        ("prlimit64", (0, 4, 1 << 32, 0), EPERM),
        ("fcntl", (3, 6), ALLOW),
        ("fcntl", (3, 5), EPERM),
    ],
)
def test_arguments_decide_where_they_must(
    name: str, arguments: tuple[int, ...], expected: int
) -> None:
    assert answer(NUMBERS[name], *arguments) == expected
