"""A policy on an event loop in a thread of its own, so that its steps keep nobody else waiting.

Knows no HTTP and no model. Whoever asks does so on one event loop of another thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ontogeny.rollout.policy import (
    Completion,
    Continuation,
    Likelihood,
    PolicyFailed,
    Request,
    Sink,
)

T = TypeVar("T")
Ids = tuple[int, ...]
TopSink = Callable[[tuple[tuple[int, float], ...]], None]
Heard = Callable[[int, float, tuple[tuple[int, float], ...]], None]
"""Told (id, log-prob, likeliest pairs) of each token, on the asker's loop."""
BEAT_SECONDS = 0.5


class Streams(Protocol):
    """A policy and an `Embedder` that keeps askers apart and tells alternatives as they come."""

    async def sample(
        self,
        request: Request,
        sink: Sink | None = None,
        *,
        salt: int = 0,
        tops: TopSink | None = None,
    ) -> Completion:
        """See `rollout.policy.Policy` and `bridge.local_policy`."""
        ...

    async def score(self, request: Continuation, *, salt: int = 0) -> Likelihood:
        """See `bridge.local_policy`."""
        ...

    async def embed(self, texts: Sequence[Ids], begin: int) -> NDArray[np.float32]:
        """See `rollout.embedder.Embedder`."""
        ...

    def forget(self) -> None:
        """Nothing that was read so far is used for another request."""
        ...


class Aside:
    """Runs `policy` aside while inside `with`; a loop that dies is begun anew.

    Attributes:
        deaths: how often that happened.
    """

    def __init__(self, policy: Streams) -> None:
        self._policy: Streams | None = policy
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt = asyncio.Event()
        self._ready = threading.Event()
        self._stopping = self._forgetting = False
        self._thread = threading.Thread(target=self._live, name="policy", daemon=True)
        self._beat = time.monotonic()
        self._asked: set[Future[Any]] = set()
        self._asking = threading.Lock()
        self._outbox: deque[tuple[Heard, tuple[Any, ...]]] = deque()
        self._posted = False
        self.deaths = 0

    def __enter__(self) -> Aside:
        self.begin()
        return self

    def begin(self) -> None:
        """The policy runs; whoever calls this owes an `end`."""
        self._thread.start()
        self._ready.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """The thread ends and lets go of the policy; a second time this does nothing."""
        self._stopping = True
        with suppress(RuntimeError):  # between two loops
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._halt.set)
        self._thread.join(timeout=4 * BEAT_SECONDS)  # it is a daemon: a step may take its time
        self._policy = None

    def forget(self) -> None:
        """Nothing that was read so far is used for another request.

        It happens between two steps.
        """
        self._forgetting = True
        with suppress(RuntimeError):  # between two loops: the next one begins with it
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._forget)

    def _forget(self) -> None:
        if self._forgetting and self._policy is not None:
            self._forgetting = False
            self._policy.forget()

    @property
    def late_seconds(self) -> float:
        """For how long the policy's loop has not moved; a step holds it."""
        return max(0.0, time.monotonic() - self._beat - BEAT_SECONDS)

    async def sample(self, request: Request, hear: Heard, *, salt: int = 0) -> Completion:
        """One completion. Cancelling frees the slot after the step that is under way.

        Raises:
            InputError: for a reason of the request's.
            PolicyFailed: the policy failed, or its loop died.
            Exception: what else the policy raised: it failed, too.
        """
        home = asyncio.get_running_loop()
        latest: list[tuple[tuple[int, float], ...]] = [()]

        def tops(pairs: tuple[tuple[int, float], ...]) -> None:
            latest[0] = pairs

        def sink(id_: int, log_prob: float) -> None:
            self._outbox.append((hear, (id_, log_prob, latest[0])))
            if not self._posted:  # one wake for all tokens of a step
                self._posted = True
                home.call_soon_threadsafe(self._deliver)

        told = tops if request.top_log_probs else None
        return await self._answer(lambda of: of.sample(request, sink, salt=salt, tops=told))

    async def score(self, request: Continuation, *, salt: int = 0) -> Likelihood:
        """How likely a continuation is; raises what `sample` does."""
        return await self._answer(lambda of: of.score(request, salt=salt))

    async def embed(self, texts: Sequence[Ids], begin: int) -> NDArray[np.float32]:
        """A vector for each text; raises what `sample` does."""
        return await self._answer(lambda of: of.embed(texts, begin))

    async def _answer(self, asks: Callable[[Streams], Coroutine[Any, Any, T]]) -> T:
        if self._policy is None:
            raise _ended()
        try:
            return await asyncio.wrap_future(self._submit(asks(self._policy)))
        except (SystemExit, KeyboardInterrupt):  # the policy's loop ends by it, this one does not
            raise _ended() from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _ended() from None

    def _deliver(self) -> None:
        self._posted = False
        while self._outbox:
            hear, words = self._outbox.popleft()
            hear(*words)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        with self._asking:
            try:
                assert self._loop is not None
                future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except RuntimeError:  # between two loops
                coroutine.close()
                raise _ended() from None
            self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future

    def _live(self) -> None:
        while not self._stopping:
            try:
                asyncio.run(self._main())
            except BaseException:  # what a policy raises goes to its requests; this is worse
                self.deaths += 1
            self._tell_left()

    def _tell_left(self) -> None:
        """Who asked while the loop was ending was neither answered nor cancelled by it."""
        with self._asking:
            left = list(self._asked)
        for future in left:
            with suppress(InvalidStateError):  # its asker has left
                future.set_exception(_ended())

    async def _main(self) -> None:
        self._loop, self._halt = asyncio.get_running_loop(), asyncio.Event()
        self._forget()
        self._ready.set()
        while not self._stopping:
            self._beat = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._halt.wait(), BEAT_SECONDS)


def _ended() -> PolicyFailed:
    return PolicyFailed("the thread of the model ended; it begins anew")
