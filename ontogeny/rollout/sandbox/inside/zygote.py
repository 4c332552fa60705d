"""The process that jobs are forked from: an interpreter that is warm and has seen nothing.

It never reads a program, an input or an output: the host sends open files, it hands them on. A
job therefore finds nothing of another in its memory. It may make namespaces (CAP_SYS_ADMIN in a
user namespace that holds nothing else); its jobs may not.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import socket
from typing import Any

from . import kernel, landlock, preloaded, program
from .seal import DEVICES, OWN, SEALED, SEALING, UNPACKING, WORK, Bounds, Walls, seal

FILES = 5
"""What comes with an order: bundle, stdin, stdout, stderr, status."""
BUNDLE, STATUS = 3, 4
ROOM = 64
"""File numbers from here on are free."""


def main(inherited: int) -> None:
    """Serves the control socket until the host closes it."""
    control = socket.socket(fileno=fcntl.fcntl(inherited, fcntl.F_DUPFD_CLOEXEC, 16))
    os.close(inherited)
    for fd in (BUNDLE, STATUS):  # taken, so that nothing of ours gets a number that jobs use
        os.dup2(0, fd, inheritable=False)
    _close_user_namespaces()
    _freeze_devices()
    _mount_work()
    walls = Walls.build(landlock.version())
    namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    assert preloaded
    gc.collect()
    gc.freeze()
    size = os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/statm") as file:
        address_space = int(file.read().split()[0]) * size
    control.send(json.dumps({"ready": True, "landlock": walls.abi}).encode())
    while True:
        order, files = _hear(control)
        if order is None:
            return
        if "kill" not in order:  # a kill may come too late; the job is gone then
            _serve(control, namespace, walls, order, files, address_space)


def _close_user_namespaces() -> None:
    """Nobody in here may make a user namespace, in which he would have privileges again.

    bubblewrap's own way (--disable-userns) would leave us unable to make namespaces of processes.
    """
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")


def _freeze_devices() -> None:
    """Devices are shared with the host: their times would be a blackboard, their bytes are not.

    bubblewrap's --remount-ro would forbid to open them at all.
    """
    for path in DEVICES:
        flags = kernel.REMOUNT | kernel.BIND | kernel.READ_ONLY | kernel.NO_SUID
        kernel.mount("none", path, "", flags | kernel.NO_EXECUTE)


def _mount_work() -> None:
    size = os.environ.pop("WORK", "")
    if size:
        kernel.mount("tmpfs", WORK, "tmpfs", OWN, f"{size},mode=0700")


def _hear(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    message, files, _, _ = socket.recv_fds(control, 65536, FILES)
    return (json.loads(message) if message else None), files


def _serve(
    control: socket.socket,
    namespace: int,
    walls: Walls,
    order: dict[str, Any],
    files: list[int],
    address_space: int,
) -> None:
    bounds = Bounds(**order["bounds"])
    # the children's namespace is reset first: one may only be made from one's own
    kernel.enter(namespace, kernel.NEW_PIDS)
    kernel.unshare(kernel.NEW_PIDS)
    pid = os.fork()
    if pid == 0:
        _become(walls, bounds, files, address_space)
    for fd in files:
        os.close(fd)
    end = _wait(control, pid, order["job"])
    control.send(json.dumps({"job": order["job"], **end}).encode())


def _become(walls: Walls, bounds: Bounds, files: list[int], address_space: int) -> None:
    """The child: seals itself, says so, runs the program. Never returns."""
    step = SEALING
    try:
        # above all fixed numbers first: a file may lie where another belongs
        moved = [os.dup2(fd, ROOM + index) for index, fd in enumerate(files)]
        for fd, target in zip(moved, (BUNDLE, 0, 1, 2, STATUS), strict=True):
            os.dup2(fd, target)
        whole = Bounds(**{**bounds.__dict__, "memory": bounds.memory + address_space})
        seal(whole, walls, range(5))
        step = UNPACKING
        header = program.unpack(BUNDLE)
        os.write(STATUS, SEALED)
        os.close(STATUS)
        gc.enable()
        os._exit(program.run(header))
    except BaseException as error:
        os.write(STATUS, step + f"{type(error).__name__}: {error}".encode(errors="replace")[:500])
    finally:
        os._exit(70)


def _wait(control: socket.socket, pid: int, number: int) -> dict[str, Any]:
    """Waits for the job, and kills it when the host says so or is gone. All of it is dead then:
    the job is the first process of its namespace."""
    job = os.pidfd_open(pid)
    waited, killed = 0.0, False
    try:
        while True:
            readable, _, _ = select.select([job, control.fileno()], [], [])
            if control.fileno() in readable and not killed:
                order, _ = _hear(control)
                if order is None or order.get("kill") == number:
                    waited, killed = _queued(pid), True
                    signal.pidfd_send_signal(job, signal.SIGKILL)
                if order is None:
                    os._exit(0)
            if job in readable or killed:
                break
        _, status, used = os.wait4(pid, 0)
    finally:
        os.close(job)
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
        "queued": waited,
    }


def _queued(pid: int) -> float:
    """Seconds that the job's first thread was ready to run and had no processor."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
