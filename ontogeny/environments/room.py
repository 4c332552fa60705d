"""A sandbox that stands open beside whatever event loop asks it: a thread with a loop of its own.

Knows no environment. An executor is asked inside a driver's loop, a judge outside of any; both
share these workers.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from ontogeny.rollout.policy import together
from ontogeny.rollout.sandbox.job import Job, Result, Tree
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.pool import Sandbox

R = TypeVar("R")


class Room:
    """Workers that are opened at the first job and given back by `release`.

    Args:
        limits: of every job.
        workers: jobs at once.
        trees: what all jobs see.
    """

    def __init__(self, limits: Limits, workers: int, trees: Iterable[Tree] = ()) -> None:
        self._limits, self._workers, self._trees = limits, workers, tuple(trees)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sandbox: Sandbox | None = None
        self._lock = threading.RLock()  # opening may have to release

    def run_all(self, jobs: Iterable[Job]) -> list[Result]:
        """All jobs; blocks.

        Raises:
            SandboxRefused: this machine cannot contain programs.
        """
        sandbox = self._opened()
        return self._wait(_all(sandbox, list(jobs)))

    async def run(self, job: Job) -> Result:
        """One job, for a caller inside an event loop. Raises as `run_all`."""
        sandbox = await asyncio.to_thread(self._opened)
        assert self._loop is not None
        waiting = asyncio.run_coroutine_threadsafe(sandbox.run(job), self._loop)
        return await asyncio.wrap_future(waiting)

    def release(self) -> None:
        """Ends the workers and the thread; the next job opens others."""
        with self._lock:
            sandbox, loop, self._sandbox, self._loop = self._sandbox, self._loop, None, None
        if loop is None:
            return
        atexit.unregister(self.release)
        if sandbox is not None:
            asyncio.run_coroutine_threadsafe(sandbox.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)

    def _opened(self) -> Sandbox:
        with self._lock:
            if self._sandbox is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_turn, args=(self._loop,), daemon=True).start()
                atexit.register(self.release)
                sandbox = Sandbox(self._limits, workers=self._workers, trees=self._trees)
                try:
                    self._wait(sandbox.__aenter__())
                except BaseException:
                    self.release()
                    raise
                self._sandbox = sandbox
            return self._sandbox

    def _wait(self, what: Coroutine[Any, Any, R]) -> R:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()


async def _all(sandbox: Sandbox, jobs: list[Job]) -> list[Result]:
    return await together(sandbox.run(job) for job in jobs)


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
