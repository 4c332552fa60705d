"""A sandbox for the tests, or a skip that says why; under CI_SANDBOX=1 a skip is a failure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from rollout.sandbox.processes import below
from support.contained import or_skip

from ontogeny.rollout.sandbox.job import Job, Result
from ontogeny.rollout.sandbox.limits import MEGABYTE, Limits
from ontogeny.rollout.sandbox.pool import Sandbox

R = TypeVar("R")
LIMITS = Limits(
    cpu_seconds=4,
    wall_seconds=40.0,
    memory_bytes=128 * MEGABYTE,
    processes=12,
    tmp_bytes=8 * MEGABYTE,
    tmp_files=512,
    file_bytes=4 * MEGABYTE,
)


class Blocking:
    """A sandbox and the event loop it lives in, for tests, which have none."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.loop = asyncio.new_event_loop()
        self._others = below(os.getpid())
        try:
            self.wait(sandbox.__aenter__())
        except BaseException:
            self.loop.close()
            raise

    def wait(self, what: Coroutine[Any, Any, R]) -> R:
        """Its result."""
        return self.loop.run_until_complete(what)

    def run(self, program: str | bytes, **others: Any) -> Result:
        """One job."""
        return self.wait(self.sandbox.run(Job(program, **others)))

    def processes(self) -> set[tuple[int, str]]:
        """(pid, start) of all of its processes."""
        return below(os.getpid()) - self._others

    def close(self) -> None:
        """Ends the sandbox and the loop."""
        if not self.loop.is_closed():
            self.wait(self.sandbox.close())
            self.loop.close()


Fresh = Callable[..., Blocking]


def opened(limits: Limits = LIMITS, **others: Any) -> Blocking:
    """A sandbox; a skip by name where this machine cannot have one, a failure under CI."""
    with or_skip():
        return Blocking(Sandbox(limits, **others))
    raise AssertionError("unreachable: or_skip raises")


@pytest.fixture
def fresh() -> Iterator[Fresh]:
    """`opened`, for as many as a test wants; all are closed after it, whatever happened."""
    made: list[Blocking] = []

    def make(limits: Limits = LIMITS, **others: Any) -> Blocking:
        made.append(opened(limits, **others))
        return made[-1]

    yield make
    for blocking in made:
        blocking.close()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Blocking]:
    """One worker, shared: what one test leaves would meet the next."""
    blocking = opened()
    yield blocking
    blocking.close()
