"""A rollout policy on our own engine: many tasks wait, one pump steps the engine for all of them.

Knows no text. The engine runs on the event loop's own thread and yields between steps, so a
cancellation takes effect within one step, and no lock is needed.
"""

from __future__ import annotations

import asyncio

from ontogeny.infer.engine import Engine, Handle
from ontogeny.infer.scoring import check, score
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink


class LocalPolicy:
    """`rollout.Policy` on an `Engine`; whatever waits when a step begins is batched.

    Requests that start in one turn of the event loop (as in `sample_all`, or a lockstep round of
    `drive`) are submitted in order before the first step, so under the engine's lockstep admission
    the batches, and every bit of the answers, follow from the requests alone.

    One event loop at a time: loops may follow one another, as `sample_all` makes one a call.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._running: dict[Handle, tuple[asyncio.Future[None], Sink | None]] = {}
        self._scoring: list[tuple[Continuation, asyncio.Future[Likelihood]]] = []
        self._pump: asyncio.Task[None] | None = None

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """One completion; cancelling the task frees its slot (in lockstep: when its wave ends).

        Raises:
            InputError: when an id is outside the vocabulary, or the logits are not finite.
            Exception: what the sink raised; other requests go on.
        """
        handle = self.engine.submit(
            request.prompt, request.max_tokens, request.sampling, request.stop
        )
        if handle.finish is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._running[handle] = (done, sink)
            self._wake()
            try:
                await done
            finally:
                self._running.pop(handle, None)
                self.engine.cancel(handle)
        assert handle.finish in ("stop", "length", "context")
        return Completion(
            tuple(handle.ids), tuple(handle.log_probs), tuple(handle.versions), handle.finish
        )

    async def score(self, request: Continuation) -> Likelihood:
        """Log-probs of a continuation; all that wait share packed forward passes.

        Raises:
            InputError: when it exceeds the model's context or its vocabulary.
        """
        check(self.engine.model, request.prompt, request.target)
        future: asyncio.Future[Likelihood] = asyncio.get_running_loop().create_future()
        self._scoring.append((request, future))
        self._wake()
        return await future

    def _wake(self) -> None:
        """Start the pump behind everything this turn of the loop still submits."""
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._running or self._scoring:
                self._score_waiting()
                if self.engine.busy:
                    self._step()
                await asyncio.sleep(0)
        except Exception as error:  # whoever waits is told; nobody else can be
            for done, _ in self._running.values():
                if not done.done():
                    done.set_exception(error)
            await asyncio.sleep(0)

    def _step(self) -> None:
        for handle in self.engine.step():
            done, sink = self._running.get(handle, (None, None))
            if done is None or done.done():  # left, or cancelled in this turn of the loop
                continue
            if sink is not None:
                try:
                    sink(handle.ids[-1], handle.log_probs[-1])
                except Exception as error:
                    self.engine.cancel(handle)
                    done.set_exception(error)
                    continue
            if handle.finish is not None:
                done.set_result(None)

    def _score_waiting(self) -> None:
        waiting = [(request, future) for request, future in self._scoring if not future.done()]
        self._scoring = []
        if not waiting:
            return
        pairs = [(request.prompt, request.target) for request, _ in waiting]
        try:
            answers = score(self.engine.model, pairs)
        except Exception as error:
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), (log_probs, greedy) in zip(waiting, answers, strict=True):
            future.set_result(Likelihood(tuple(log_probs), tuple(greedy), self.engine.version))
