"""SIGTERM and Ctrl-C: stop soon, keep what was done, exit 75.

Outside `deferred()` a signal raises `Stopped` at once (the stage starts again later); inside, it
sets `requested` and the caller stops at its next safe point. A second signal ends the process
immediately; everything on disk is still resumable, because nothing there is ever half-written.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from ontogeny.base.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether someone asked this process to stop."""

    def __init__(self) -> None:
        self.requested = False
        self._depth = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Handles the signals inside the block (main thread only)."""
        before = [signal.signal(number, self._on_signal) for number in SIGNALS]
        try:
            yield self
        finally:
            for number, handler in zip(SIGNALS, before, strict=True):
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a first signal only sets `requested`; on the way out it takes effect."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        self.check()

    def check(self) -> None:
        """Raises `Stopped` when a stop was requested and this is a safe point."""
        if self.requested and not self._depth:
            raise stopped()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            os._exit(Stopped.exit_code)
        self.requested = True
        self.check()


def stopped() -> Stopped:
    """The one line that a person sees after a stop."""
    return Stopped("stopped by a signal; run the same command again to continue", file="run")
