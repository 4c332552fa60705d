"""Work that is done a step at a time between an engine's steps, so that no answer waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import PolicyFailed

Steps = Generator[None, None, Sequence[Any]]


class Between:
    """Pieces of work that take turns, a step each."""

    def __init__(self) -> None:
        self._work: deque[tuple[Steps, Sequence[asyncio.Future[Any]]]] = deque()

    @property
    def busy(self) -> bool:
        """Whether a step would do something."""
        return bool(self._work)

    def add(self, steps: Steps, futures: Sequence[asyncio.Future[Any]]) -> None:
        """Work that comes to a result for each future; given up when all have been cancelled."""
        self._work.append((steps, futures))

    def step(self) -> None:
        """One step of the piece that has waited longest. What it raises, all its futures are told.

        Raises:
            BaseException: what is no Exception.
        """
        if not self._work:
            return
        steps, futures = self._work[0]  # busy while the step is under way, too
        try:
            goes_on = self._done(steps, futures)
        finally:
            self._work.popleft()
        if goes_on:
            self._work.append((steps, futures))

    @staticmethod
    def _done(steps: Steps, futures: Sequence[asyncio.Future[Any]]) -> bool:
        """One step; whether there is another."""
        left = [each for each in futures if not each.done()]
        if not left:
            steps.close()
            return False
        try:
            next(steps)
        except StopIteration as end:
            for future, result in zip(futures, end.value, strict=True):
                if not future.done():
                    future.set_result(result)
        except BaseException as error:
            # what was asked had been checked: the model failed
            told = PolicyFailed(error.reason) if type(error) is InputError else error
            for future in left:
                future.set_exception(told)
            if not isinstance(error, Exception):
                raise
        else:
            return True
        return False
