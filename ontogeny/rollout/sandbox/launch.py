"""Started as a process of its own, in front of bubblewrap: joins control groups, gives up root.

Knows no job. Standard library alone, run by path, so that it starts in milliseconds.

As root it first takes hold of every directory that the jail will show, in a mount namespace of
its own: an interpreter below a home of mode 0700 is out of reach for the user it then becomes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .inside import kernel

STAGES = ("/mnt", "/media", "/srv")


def main() -> None:
    """Becomes bubblewrap, by the JSON of argv[1]; on failure says why and exits 1."""
    try:
        _launch(json.loads(sys.argv[1]))
    except OSError as error:
        sys.stderr.write(f"launcher: {error.strerror}: {error.filename or 'a system call'}\n")
        sys.exit(1)


def _launch(order: dict[str, Any]) -> None:
    for path in order["groups"]:
        with open(path, "w") as file:
            file.write("0")
    binds: list[tuple[str, str]] = order["binds"]
    if order["uid"] is not None:
        binds = _staged(binds)
        _become(order["uid"])
    shown = [word for source, place in binds for word in ("--ro-bind", source, place)]
    arguments = [word for part in order["arguments"] for word in (shown if part == "" else [part])]
    os.execv(arguments[0], arguments)


def _staged(binds: list[tuple[str, str]]) -> list[tuple[str, str]]:
    kernel.unshare(kernel.NEW_MOUNTS)
    kernel.mount("none", "/", "", kernel.PRIVATE | kernel.RECURSIVE)
    # held before the stage hides what may lie below it
    held = [os.open(source, os.O_PATH | os.O_CLOEXEC) for source, _ in binds]
    stage = next(path for path in STAGES if os.path.isdir(path))
    kernel.mount("tmpfs", stage, "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=0755")
    staged = []
    for number, (fd, (source, place)) in enumerate(zip(held, binds, strict=True)):
        target = f"{stage}/{number}"
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        try:
            kernel.mount(f"/proc/self/fd/{fd}", target, "", kernel.BIND | kernel.RECURSIVE)
        except OSError as error:
            raise OSError(error.errno, error.strerror, source) from None
        staged.append((target, place))
    return staged


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
        raise PermissionError(1, "root could not be given up", f"uid {uid}")
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise PermissionError(1, "root could be taken back after it was given up", f"uid {uid}")
