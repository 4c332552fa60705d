"""The sandbox: workers that stand ready, and the promise that nothing runs without its walls.

    async with Sandbox(Limits(cpu_seconds=5), workers=2) as sandbox:
        result = await sandbox.run(Job("print(1 + 1)"))

Knows no environment and no policy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType

from ontogeny.base import machine
from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import together
from ontogeny.rollout.sandbox.jail import find_bwrap, refusal
from ontogeny.rollout.sandbox.job import Job, Result, Tree
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.session import Session
from ontogeny.rollout.sandbox.slot import RECYCLE_JOBS, Slot, attempt, fits


class Sandbox:
    """Runs programs that nobody trusts; an async context manager.

    Args:
        limits: of every job that has none of its own.
        workers: jobs at once; each worker keeps one interpreter warm.
        trees: what all jobs see below /trees.
        most_bytes: of memory that all jobs together could come to hold where no control group
            bounds them; by default half of what is free now.
        recycle_jobs: a worker is replaced after so many.

    Attributes:
        landlock: the ABI of the kernel's Landlock.
        tier: 1 where a control group bounds memory as a whole, 2 where only each process is bound.

    Raises (at `async with`):
        SandboxRefused: this machine cannot contain programs; the reason and the remedy in a line.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        workers: int = 1,
        trees: Iterable[Tree] = (),
        most_bytes: int | None = None,
        recycle_jobs: int = RECYCLE_JOBS,
    ) -> None:
        if workers < 1 or recycle_jobs < 1:
            raise InputError("a sandbox needs at least one worker, and one job for each")
        self.limits = limits or Limits()
        self.tier = self.landlock = 0
        self._workers, self._trees = workers, tuple(trees)
        self._recycle_jobs = recycle_jobs
        self._most_bytes = most_bytes
        self._slots: list[Slot] = []
        self._idle: asyncio.Queue[Slot] = asyncio.Queue()
        self._sessions: list[int] = []

    async def __aenter__(self) -> Sandbox:
        bwrap = find_bwrap()
        if self._most_bytes is None:
            self._most_bytes = (machine.available_memory() or 0) // 2
        try:
            for _ in range(self._workers):
                slot = Slot(bwrap, self._trees, self._recycle_jobs)
                self._slots.append(slot)
                slot.open()
            grouped = all(slot.group is not None for slot in self._slots)
            self.tier = 1 if grouped else 2
            self.affords(self.limits)
            await together(slot.fill() for slot in self._slots)
        except BaseException:
            await self.close()
            raise
        for slot in self._slots:
            self._idle.put_nowait(slot)
            self.landlock = slot.worker.landlock if slot.worker is not None else 0
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all workers. Nothing is left of them."""
        for slot in self._slots:
            await slot.close()
        self._slots.clear()

    async def run(self, job: Job) -> Result:
        """Runs one job when a worker is free. Cancelling kills it.

        A job whose worker was lost, or that waited for a processor more than it ran, runs once
        more: neither says anything of the program.

        Raises:
            InputError: the job's files do not fit into its limits.
            SandboxRefused: no worker can be had any more, or the limits are beyond `most_bytes`.
        """
        limits = job.limits or self.limits
        self.affords(limits)
        fits(job, limits)
        slot = await self._idle.get()
        try:
            result = await attempt(slot, job, limits)
            return await attempt(slot, job, limits) if result.starved else result
        finally:
            self._idle.put_nowait(slot)

    @contextlib.asynccontextmanager
    async def session(
        self, *, trees: Sequence[Tree] = (), work_bytes: int = 64 << 20, work_files: int = 8192
    ) -> AsyncIterator[Session]:
        """A worker of its own whose /episode outlives its jobs: an episode of several commands.

        Args:
            trees: what its jobs see below /trees, beside the sandbox's own.
            work_bytes: of all in /episode, which lies in memory.
            work_files: files and directories in it.
        """
        self._sessions.append(work_bytes)
        slot = Slot(find_bwrap(), (*self._trees, *trees), None, (work_bytes, work_files))
        try:
            self.affords(self.limits)
            slot.open()
            worker = await slot.fill()
            yield Session(worker, self.limits, work_bytes, work_files, self.affords)
        finally:
            self._sessions.remove(work_bytes)
            await slot.close()

    def affords(self, limits: Limits) -> None:
        """Raises SandboxRefused where the sum of what single processes may hold is too much."""
        assert self._most_bytes is not None, "a sandbox runs jobs within `async with`"
        jobs = self._workers + len(self._sessions)
        whole = jobs * limits.unbounded_sum + sum(self._sessions)
        if self.tier == 2 and whole > self._most_bytes:
            raise refusal(
                f"no memory control group can be written, and {limits.processes} processes of "
                f"{limits.memory_bytes} bytes in {jobs} jobs at once could hold {whole} bytes "
                f"of the {self._most_bytes} allowed; lower `processes`, `memory_bytes` or the "
                "workers, raise `most_bytes`, or run where control groups are delegated"
            )


def run_all(
    jobs: Iterable[Job],
    limits: Limits | None = None,
    *,
    workers: int = 1,
    trees: Iterable[Tree] = (),
) -> list[Result]:
    """Runs all jobs and blocks; results stand in the order of the jobs.

    Raises:
        SandboxRefused: this machine cannot contain programs.
    """

    async def all_of_them() -> list[Result]:
        async with Sandbox(limits, workers=workers, trees=trees) as sandbox:
            return await together(sandbox.run(job) for job in jobs)

    return asyncio.run(all_of_them())
