"""The host's side of one jail: starts it, gives it one job after another, ends it.

Knows no pool. A worker that does anything unforeseen is lost: it is killed whole, never mended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.rollout.sandbox.cgroup import Group
from ontogeny.rollout.sandbox.inside.seal import SEALED, UNPACKING, Bounds
from ontogeny.rollout.sandbox.jail import Jail, refusal
from ontogeny.rollout.sandbox.job import Job, Result
from ontogeny.rollout.sandbox.limits import OVERHEAD_BYTES, Limits
from ontogeny.rollout.sandbox.pipes import Capture, Feed
from ontogeny.rollout.sandbox.verdict import End, Reason, verdict

START_SECONDS = 20.0
GRACE_SECONDS = 1.5
"""What is answered later than this is not answered."""
LAUNCH = "import sys; sys.path.append(sys.argv.pop(1)); from sandbox.launch import main; main()"


class WorkerLost(Exception):
    """The worker is gone, and whatever ran in it."""


@dataclass
class _Running:
    """The host's ends of one job."""

    number: int
    stdout: Capture
    stderr: Capture
    stdin: Feed
    status: int
    end: asyncio.Future[dict[str, Any]]
    killed_for: Reason | None = None

    def close(self) -> None:
        if self.end.done():
            self.end.exception()  # heard, whether or not anybody waited for it
        self.stdout.close()
        self.stderr.close()
        self.stdin.close()
        os.close(self.status)


class Worker:
    """A jail with its zygote. `start` it, `run` jobs one at a time, `close` it.

    Attributes:
        jobs: how many it was given.
        lost: it takes no more.
        landlock: the ABI that it found.
        last_words: what its own processes complained of, once it is closed.
    """

    def __init__(self, jail: Jail, group: Group | None, work_bytes: int = 0) -> None:
        self.jail, self.group, self._work_bytes = jail, group, work_bytes
        self.jobs, self.lost, self.landlock = 0, False, 0
        self.last_words = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._control, self._first = -1, -1
        self._running: _Running | None = None

    async def start(self) -> None:
        """Starts the jail and waits until its zygote answers.

        Raises:
            SandboxRefused: with what the launcher or bubblewrap said.
        """
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket, self._control = ours, ours.fileno()
        self._loop.add_reader(self._control, self._hear)
        info, told = os.pipe()
        said, says = os.pipe()
        try:
            order = json.dumps(self.jail.order(theirs.fileno(), told))
            # no site, no environment: what starts as root is only what we name
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", LAUNCH, str(_ABOVE), order],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=says,
                pass_fds=(theirs.fileno(), told),
                env={},
                start_new_session=True,  # a terminal's Ctrl-C is for us to answer
            )
        finally:
            theirs.close()
            os.close(told)
            os.close(says)
        os.set_blocking(said, False)
        self._said = open(said, "rb", 0)  # noqa: SIM115
        with open(info, "rb", 0) as told_file:
            await asyncio.wait({self._ready}, timeout=START_SECONDS)
            answer = self._ready.result() if self._ready.done() else {}
            if answer.get("ready"):
                self._first = os.pidfd_open(json.loads(told_file.read(4096))["child-pid"])
        if not answer.get("ready"):
            await self.close()
            raise refusal(_reason(self.last_words))
        self.landlock = answer["landlock"]

    async def run(self, job: Job, limits: Limits) -> Result:
        """Runs one job to its end. Everything of it is dead when this returns or raises.

        Raises:
            WorkerLost: the worker died under it, or could not seal it.
            InputError: the job's files cannot be put where they belong.
        """
        if self.lost:
            raise WorkerLost
        started = time.monotonic()
        if self.group is not None:
            whole = limits.memory_bytes + limits.tmp_bytes + self._work_bytes + OVERHEAD_BYTES
            try:
                self.group.bound(whole, limits.processes + 8)
            except OSError:  # it holds more than that already
                self._lose()
                raise WorkerLost from None
        running = self._send(job, limits)
        self._running = running
        try:
            end = await self._end(running, limits)
            await asyncio.wait({running.stdout.done, running.stderr.done}, timeout=GRACE_SECONDS)
            self._check(running)
            return self._result(running, end, limits, time.monotonic() - started)
        except BaseException as error:
            # cancelled or worse: nobody will wait for the job, so it must not go on
            if not isinstance(error, InputError):
                self._lose()
            raise
        finally:
            self._running = None
            running.close()

    def _send(self, job: Job, limits: Limits) -> _Running:
        self.jobs += 1
        bundle = os.memfd_create("job", os.MFD_CLOEXEC)
        ends = [bundle]
        try:
            with open(bundle, "wb", closefd=False) as file:
                file.write(job.bundle())
            os.lseek(bundle, 0, os.SEEK_SET)
            input_, feed = os.pipe()
            out, out_end = os.pipe()
            err, err_end = os.pipe()
            status, status_end = os.pipe()
            ends += [input_, out_end, err_end, status_end]
            bounds = Bounds(
                cpu=limits.cpu_seconds,
                memory=limits.memory_bytes,
                processes=limits.processes,
                file=limits.file_bytes,
                open=limits.open_files,
                tmp=limits.tmp_bytes,
                inodes=limits.tmp_files,
            )
            order = {"job": self.jobs, "bounds": asdict(bounds)}
            with contextlib.suppress(OSError):  # a dead worker is found by who waits for the end
                socket.send_fds(self._socket, [json.dumps(order).encode()], ends)
        finally:
            for fd in ends:
                os.close(fd)
        running = _Running(
            number=self.jobs,
            stdout=Capture(out, limits.output_bytes, self._overflow),
            stderr=Capture(err, limits.output_bytes, self._overflow),
            stdin=Feed(feed, job.stdin),
            status=status,
            end=self._loop.create_future(),
        )
        if self.lost and not running.end.done():
            running.end.set_exception(WorkerLost())
        return running

    async def _end(self, running: _Running, limits: Limits) -> dict[str, Any]:
        done, _ = await asyncio.wait({running.end}, timeout=limits.wall_seconds)
        if not done:
            self._kill("timeout")
            done, _ = await asyncio.wait({running.end}, timeout=GRACE_SECONDS)
        if not done:
            raise WorkerLost
        return running.end.result()

    def _overflow(self) -> None:
        self._kill("output limit")

    def _kill(self, reason: Reason) -> None:
        running = self._running
        if running is not None and running.killed_for is None and not running.end.done():
            running.killed_for = reason
            with contextlib.suppress(OSError):
                self._socket.send(json.dumps({"kill": running.number}).encode())

    def _hear(self) -> None:
        try:
            message = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        answer = json.loads(message) if message else {}
        running = self._running
        if not message:
            self._lose()
        elif running is not None and answer.get("job") == running.number:
            running.end.set_result(answer)
        if not self._ready.done():
            self._ready.set_result(answer)

    def _check(self, running: _Running) -> None:
        """That the program was sealed before it ran; only our own code can have said so."""
        os.set_blocking(running.status, False)
        try:
            said = os.read(running.status, 600)
        except BlockingIOError:  # someone holds the pipe open who should be dead
            raise WorkerLost from None
        if said.startswith(UNPACKING):
            reason = said[1:].decode(errors="replace")
            raise InputError(f"a job's files cannot be put into the sandbox: {reason}")
        if said != SEALED and running.killed_for is None:
            raise WorkerLost(said[1:].decode(errors="replace"))

    def _result(
        self, running: _Running, told: dict[str, Any], limits: Limits, wall: float
    ) -> Result:
        kills = self.group.new_kills() if self.group is not None else 0
        truncated = running.stdout.truncated or running.stderr.truncated
        # it may have ended before the last of its output was counted
        reason = running.killed_for or ("output limit" if truncated else None)
        end = End(told["exit"], told["cpu"], reason, kills, limits.cpu_seconds)
        return Result(
            verdict(end),
            end.exit_code,
            running.stdout.content,
            running.stderr.content,
            end.cpu_seconds,
            wall,
            told["peak"],
            truncated,
            told["queued"],
        )

    def _lose(self) -> None:
        """Kills all of it: the death of a namespace's first process is the death of the rest."""
        self.lost = True
        if self._control >= 0:
            self._loop.remove_reader(self._control)
            self._socket.close()
            self._control = -1
        if self._process is not None:
            self._process.kill()
        if self._first >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            select.select([self._first], [], [], GRACE_SECONDS)  # until the last one is dead
            os.close(self._first)
            self._first = -1
        running = self._running
        if running is not None and not running.end.done():
            running.end.set_exception(WorkerLost())

    async def close(self) -> None:
        """Ends it. Nothing of it is left, but a control group that its caller removes."""
        self._lose()
        if self._process is not None:
            self._process.wait()
            self._process = None
            with self._said:
                self.last_words += self._said.read(8192) or b""


_ABOVE = Path(__file__).resolve().parent.parent


def _reason(said: bytes) -> str:
    """The first thing that the launcher or bubblewrap complained of, with what to do about it."""
    lines = said.decode(errors="replace").strip().splitlines()
    if not lines:
        return "its jail did not start in time"
    told = lines[0] if not lines[0].startswith("Traceback") else lines[-1]
    signs = ("namespace", "uid map", "loopback")
    if told.startswith("bwrap") and any(sign in told for sign in signs):
        told += (
            "; allow user namespaces (sysctl user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container: its seccomp profile)"
        )
    if told.startswith("launcher: Operation not permitted"):
        told += "; this root may not: start as an ordinary user, or with CAP_SYS_ADMIN, CAP_SETUID"
    return told
