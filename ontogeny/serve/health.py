"""Whether a model answers: red when it failed, green again when a trial answer came.

Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from ontogeny.serve.refusal import Refused, shortened

LATE_SECONDS = 60.0
"""A model that made no step for so long counts as dead."""
FIRST_WAIT_SECONDS, LAST_WAIT_SECONDS = 0.2, 5.0


class Alive(Protocol):
    """Somebody who answers, watched from outside."""

    @property
    def deaths(self) -> int:
        """How often it had to begin anew."""
        ...

    @property
    def late_seconds(self) -> float:
        """For how long it has not moved."""
        ...


class Health:
    """Follows one model.

    Args:
        trial: asks it for something small; raises where no answer comes.

    Attributes:
        reason: why it is red; "" while it is green.
        failures: how often it became red.
        stopping: nobody new is let in.
    """

    def __init__(self, policy: Alive, trial: Callable[[], Awaitable[object]]) -> None:
        self._policy, self._asks = policy, trial
        self._trial: asyncio.Task[None] | None = None
        self._deaths = policy.deaths
        self.reason = ""
        self.failures = 0
        self.stopping = False

    @property
    def state(self) -> str:
        """ok, failing or stopping."""
        if self.stopping:
            return "stopping"
        if self._policy.deaths != self._deaths:
            self._deaths = self._policy.deaths
            self.failed("the thread of the model ended")
        late = self._policy.late_seconds > LATE_SECONDS
        return "failing" if self.reason or late else "ok"

    def check(self) -> None:
        """Lets nobody in where there is no answer to be had.

        Raises:
            Refused: 503.
        """
        state = self.state
        if state != "ok":
            raise self.unavailable(state)

    def unavailable(self, state: str) -> Refused:
        """What those hear who come now."""
        what = "the server is stopping" if state == "stopping" else "the model has failed"
        return Refused(f"{what}; try again", 503, code=state, retry_after=1)

    def failed(self, reason: str) -> None:
        """The model failed; it is tried until it answers."""
        self.reason = shortened(reason, 200) or "unknown"
        if self._trial is None or self._trial.done():
            self.failures += 1
            self._trial = asyncio.get_running_loop().create_task(self._try())

    async def end(self) -> None:
        """No further trials."""
        if self._trial is not None:
            self._trial.cancel()
            await asyncio.gather(self._trial, return_exceptions=True)

    async def _try(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            await asyncio.sleep(wait)
            wait = min(2 * wait, LAST_WAIT_SECONDS)
            try:
                await self._asks()
            except Exception as error:
                self.reason = shortened(str(error), 200) or "unknown"
                continue
            self.reason = ""
            return
