"""Landlock: what a job may open, execute and connect to, by kernel rules that it cannot lift.

Knows no job. Source: Documentation/userspace-api/landlock.rst of Linux; a newer ABI adds rights.
"""

from __future__ import annotations

import os
import struct

from . import kernel

CREATE, ADD, RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
FIRST_RIGHTS = (1 << 13) - 1
MAKE_DEVICES = 1 << 6 | 1 << 11  # character and block devices
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
TCP = 1 << 0 | 1 << 1  # bind and connect
SCOPES = 1 << 0 | 1 << 1  # abstract sockets and signals
ONE_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE

READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE


def version() -> int:
    """The kernel's Landlock ABI; 0 where it has none."""
    try:
        return kernel.system_call(CREATE, None, 0, 1)
    except OSError:
        return 0


def handled(abi: int) -> int:
    """Every file right that this ABI can forbid."""
    rights = FIRST_RIGHTS
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        rights |= right if abi >= since else 0
    return rights


def writable(abi: int) -> int:
    """All that may be done with files in a directory of one's own, but to run them."""
    return handled(abi) & ~(EXECUTE | MAKE_DEVICES | IOCTL_DEV)


class Ruleset:
    """Nothing may be done with files but what is allowed here; no TCP, no signal leaves.

    Raises:
        OSError: the kernel refuses.
    """

    def __init__(self, abi: int) -> None:
        self.abi = abi
        attributes = struct.pack("=Q", handled(abi))
        if abi >= 4:
            attributes += struct.pack("=Q", TCP)
        if abi >= 6:
            attributes += struct.pack("=Q", SCOPES)
        self.fd = kernel.system_call(CREATE, attributes, len(attributes), 0)

    def allow(self, path: int, rights: int, *, directory: bool = True) -> None:
        """Allows `rights` beneath `path`, which is open with O_PATH."""
        rights &= handled(self.abi)
        if not directory:
            rights &= ONE_FILE
        kernel.system_call(ADD, self.fd, 1, struct.pack("=Qi", rights, path), 0)

    def enforce(self) -> None:
        """For this thread and all it starts, for good. Needs no_new_privs."""
        kernel.system_call(RESTRICT, self.fd, 0)
        os.close(self.fd)
