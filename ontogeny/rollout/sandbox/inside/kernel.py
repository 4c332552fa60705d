"""The calls to Linux that Python does not offer, by ctypes; each raises OSError as os's own do.

Knows no job and no jail. Used in the jail and, by the launcher, in front of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_PIDS = 0x00020000, 0x04000000, 0x08000000, 0x20000000
NO_SUID, NO_DEVICES, NO_EXECUTE, READ_ONLY = 2, 4, 8, 1
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def system_call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Any system call; integers are passed as 64 bits."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *words)))


def prctl(option: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """prctl(2); missing arguments are zero."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in padded]
    return _checked(int(_libc.prctl(ctypes.c_int(option), *words)))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    _checked(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode(),
            ctypes.c_ulong(flags),
            data.encode(),
        )
    )


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(ctypes.c_int(flags)))


def enter(namespace: int, kind: int) -> None:
    """setns(2): `namespace` is an open file of /proc/self/ns."""
    _checked(_libc.setns(ctypes.c_int(namespace), ctypes.c_int(kind)))


def drop_capabilities() -> None:
    """Gives up every capability, and the bounding set, so that no program file brings one back."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError as error:
            if number == 0 or error.errno != errno.EINVAL:
                raise
            break  # beyond the last that this kernel knows
    prctl(PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    _checked(_libc.capset(header, ctypes.create_string_buffer(bytes(24))))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
