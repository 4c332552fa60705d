"""The sandbox that programs are judged in, kept between calls: a worker for each processor.

Knows no tests. A verdict that says more of the machine than of the program is not one: such a job
runs again, alone and with more time, and at last ends the stage instead of scoring 0.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Sequence
from dataclasses import replace

from ontogeny.base.errors import SandboxRefused
from ontogeny.base.machine import processors
from ontogeny.environments.programs_run import LIMITS
from ontogeny.rollout.policy import together
from ontogeny.rollout.sandbox.job import Job, Result
from ontogeny.rollout.sandbox.pool import Sandbox

MOST_WORKERS = 16
MORE_TIME = (1, 4, 16)
"""Times `wall_seconds`, for one attempt after the other."""


class Pool:
    """Opens a sandbox with the first jobs and holds it until `close`. Blocking."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._sandbox: Sandbox | None = None

    def run_all(self, jobs: Sequence[Job]) -> list[Result]:
        """Results in the order of the jobs.

        Raises:
            SandboxRefused: programs cannot be contained here, or a job was starved of a processor
                or killed from outside again and again.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
            atexit.register(self.close)
        try:
            return self._runner.run(self._run_all(jobs))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the workers."""
        atexit.unregister(self.close)
        runner, self._runner = self._runner, None
        sandbox, self._sandbox = self._sandbox, None
        if runner is not None:
            with runner:
                if sandbox is not None:
                    runner.run(sandbox.close())

    async def _run_all(self, jobs: Sequence[Job]) -> list[Result]:
        if self._sandbox is None:
            workers = min(processors().threads, MOST_WORKERS)
            self._sandbox = await Sandbox(LIMITS, workers=workers).__aenter__()
        sandbox = self._sandbox
        results = await together(sandbox.run(job) for job in jobs)
        for number, job in enumerate(jobs):
            for times in MORE_TIME[1:]:
                if _says_something(results[number]):
                    break
                limits = job.limits or LIMITS
                longer = replace(limits, wall_seconds=limits.wall_seconds * times)
                results[number] = await sandbox.run(replace(job, limits=longer))
            if not _says_something(results[number]):
                raise SandboxRefused(
                    f"a program could not be judged ({results[number].verdict} in "
                    f"{len(MORE_TIME)} attempts, which says nothing of it); the machine is too "
                    "busy or kills its workers: lower the load and run it again",
                    file="sandbox",
                )
        return results


def _says_something(result: Result) -> bool:
    return result.verdict != "lost" and not result.starved


POOL = Pool()
"""One for all environments of programs, so that a stage has one."""
