"""One run at a time on a store.

The kernel's lock (flock) decides, so kill -9 leaves nothing behind that blocks; the words in the
file (pid, boot id, command) are there for people and for the note that a dead run was recovered.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[dict[str, Any] | None]:
    """Holds the lock file `path`; yields what a run that died holding it had written, or None.

    Raises:
        InputError: when another living process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor) or {}
            raise InputError(
                f"another run (pid {holder.get('pid', 'unknown')}) is using this store; "
                "wait for it, stop it, or choose another --store",
                file=path,
            ) from None
        dead = _holder(descriptor)
        me = {"pid": os.getpid(), "boot": _boot_id(), "command": sys.argv}
        os.ftruncate(descriptor, 0)
        try:
            os.pwrite(descriptor, json.dumps(me).encode(), 0)
        except OSError as error:  # on a full disk `clean` must still work, and flock decides
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        try:
            yield dead
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> dict[str, Any] | None:
    try:
        value = json.loads(os.pread(descriptor, 1 << 16, 0))
    except ValueError:
        return None  # empty after a clean end, or torn by a crash while being written
    return value if isinstance(value, dict) else None


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")  # Linux; elsewhere the kernel's lock is enough
    return path.read_text().strip() if path.exists() else ""
