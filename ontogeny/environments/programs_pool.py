"""The sandbox that programs are judged in, kept between calls: a worker for each processor.

Knows no tests. A verdict that says more of the machine than of the program is not one: such a job
runs again, alone and with more time, and at last ends the stage instead of scoring 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ontogeny.base.errors import SandboxRefused
from ontogeny.base.machine import processors
from ontogeny.environments.programs_run import LIMITS
from ontogeny.environments.room import Room
from ontogeny.rollout.sandbox.job import Job, Result

MOST_WORKERS = 16
MORE_TIME = (1, 4, 16)
"""Times `wall_seconds`, for one attempt after the other."""


class Pool:
    """Opens a sandbox with the first jobs and holds it until `close`. Blocking."""

    def __init__(self) -> None:
        self._room: Room | None = None

    def run_all(self, jobs: Sequence[Job]) -> list[Result]:
        """Results in the order of the jobs.

        Raises:
            SandboxRefused: programs cannot be contained here, or a job was starved of a processor
                or killed from outside again and again.
        """
        if self._room is None:
            self._room = Room(LIMITS, min(processors().threads, MOST_WORKERS))
        try:
            results = self._room.run_all(jobs)
            return [_settled(self._room, *pair) for pair in zip(jobs, results, strict=True)]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the workers."""
        room, self._room = self._room, None
        if room is not None:
            room.release()


def _settled(room: Room, job: Job, result: Result) -> Result:
    """A result that says something of the program, after more attempts if need be."""
    limits = job.limits or LIMITS
    for times in MORE_TIME[1:]:
        if _says_something(result):
            break
        longer = replace(limits, wall_seconds=limits.wall_seconds * times)
        (result,) = room.run_all([replace(job, limits=longer)])
    if not _says_something(result):
        raise SandboxRefused(
            f"a program could not be judged ({result.verdict} in {len(MORE_TIME)} attempts, which "
            "says nothing of it); the machine is too busy or kills its workers: lower the load and "
            "run it again",
            file="sandbox",
        )
    return result


def _says_something(result: Result) -> bool:
    return result.verdict != "lost" and not result.starved


POOL = Pool()
"""One for all environments of programs, so that a stage has one."""
