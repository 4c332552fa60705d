"""A place in the sandbox: one worker after another, with one user and one control group.

Knows no waiting jobs.
"""

from __future__ import annotations

import contextlib
import itertools
import math

from ontogeny.base.errors import InputError
from ontogeny.rollout.sandbox.cgroup import Group, make_group
from ontogeny.rollout.sandbox.jail import Jail, refusal, slot_user
from ontogeny.rollout.sandbox.job import MAIN, WORK, Job, Result, Tree
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.selftest import self_test
from ontogeny.rollout.sandbox.worker import Worker, WorkerLost

RECYCLE_JOBS = 500
"""Forks of one zygote share where their memory lies; a fresh one lies elsewhere."""
PAGE = 4096
LOST = Result("lost", -9, b"", b"", 0.0, 0.0, 0)
_names = itertools.count()


class Slot:
    """A place for one worker, with its own user and control group; refilled when it is empty."""

    def __init__(
        self,
        bwrap: str,
        trees: tuple[Tree, ...],
        recycle_jobs: int | None,
        work: tuple[int, int] = (0, 0),
    ) -> None:
        self._bwrap, self._trees, self._recycle_jobs = bwrap, trees, recycle_jobs
        self._work_bytes, self._work_files = work
        self._held = contextlib.ExitStack()
        self._uid: int | None = None
        self.group: Group | None = None
        self.worker: Worker | None = None

    def open(self) -> None:
        """Claims the user and the control group."""
        self._uid = self._held.enter_context(slot_user())
        self.group = make_group(str(next(_names)))
        if self.group is not None:
            self._held.callback(self.group.remove)

    async def fill(self) -> Worker:
        """A worker that passed its self-test: the present one, or a new one.

        Raises:
            SandboxRefused: no worker can be had that contains what it runs.
        """
        worker = self.worker
        most = self._recycle_jobs
        if worker is not None and not worker.lost and (most is None or worker.jobs <= most):
            return worker
        await self.empty()
        size = f"size={self._work_bytes},nr_inodes={self._work_files}" if self._work_bytes else ""
        doors = () if self.group is None else self.group.doors
        jail = Jail(self._bwrap, self._trees, size, self._uid, doors)
        worker = Worker(jail, self.group, self._work_bytes)
        try:
            await worker.start()
            await self_test(worker)
        except BaseException:
            await worker.close()
            raise
        if self.group is not None:
            self.group.new_kills()
        self.worker = worker
        return worker

    async def empty(self) -> None:
        """Ends the worker."""
        if self.worker is not None:
            worker, self.worker = self.worker, None
            await worker.close()

    async def close(self) -> None:
        """Ends the worker, gives back the user and the control group."""
        await self.empty()
        self._held.close()


async def attempt(slot: Slot, job: Job, limits: Limits) -> Result:
    """Runs `job`, a second time should the worker be lost; "lost" if it is lost twice.

    Raises:
        SandboxRefused: a job cannot be sealed; that is no fault of the program's.
    """
    reason, result = "", LOST
    for _ in range(2):
        worker = await slot.fill()
        try:
            result = await worker.run(job, limits)
        except WorkerLost as error:
            reason = str(error)
        else:
            if result.verdict != "lost":
                return result
    if reason:
        raise refusal(f"a job cannot be sealed: {reason}")
    return result


def fits(job: Job, limits: Limits, work_bytes: int = 0) -> None:
    """Raises InputError where a job's own files are beyond its limits."""
    source = (
        job.program if isinstance(job.program, bytes) else job.program.encode("utf-8", "replace")
    )
    sizes = {MAIN: len(source), **{name: len(content) for name, content in job.files.items()}}
    pages = {name: math.ceil(size / PAGE) * PAGE for name, size in sizes.items()}
    within = sum(size for name, size in pages.items() if name.startswith(f"{WORK}/"))
    if within > work_bytes or sum(pages.values()) - within > limits.tmp_bytes:
        raise InputError(f"a job's files have {sum(sizes.values())} bytes; raise tmp_bytes")
    if max(sizes.values()) > limits.file_bytes:
        raise InputError(f"a job's file has {max(sizes.values())} bytes; raise file_bytes")
    folders = {part for name in job.files for part in name.split("/")}
    if len(sizes) + len(folders) + 2 > limits.tmp_files:
        raise InputError(f"a job has {len(sizes)} files; raise tmp_files")
