"""A rollout policy on our own engine: many tasks wait, one pump steps the engine for all of them.

The engine runs on the event loop's own thread and yields between steps, so a cancellation takes
effect within one step, and no lock is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ontogeny.base.errors import InputError
from ontogeny.infer.engine import Engine
from ontogeny.infer.handle import Handle
from ontogeny.infer.scoring import check, score
from ontogeny.rollout.policy import (
    Completion,
    Continuation,
    Likelihood,
    PolicyFailed,
    Request,
    Sink,
)
from ontogeny.rollout.text_guide import guide
from ontogeny.text.constraint import Constraint
from ontogeny.text.tokenizer import Tokenizer

TopSink = Callable[[tuple[tuple[int, float], ...]], None]
SCORED_TOKENS = 8192
"""Scored without looking at anything else, under ready admission."""


class LocalPolicy:
    """`rollout.Policy` on an `Engine`; whatever waits when a step begins is batched.

    Requests that start in one turn of the event loop (as in `sample_all`, or a lockstep round of
    `drive`) are submitted in order before the first step, so under the engine's lockstep admission
    the batches, and every bit of the answers, follow from the requests alone.

    Under ready admission nothing holds the event loop for longer than one step and the scoring of
    `SCORED_TOKENS`: an unknown grammar is tried in a thread (its request is submitted when that is
    done), and many continuations are scored a few at a time.

    One event loop at a time: loops may follow one another, as `sample_all` makes one a call.

    Args:
        tokenizer: of the model; for requests with stop strings or a grammar.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer | None = None) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self._running: dict[Handle, tuple[asyncio.Future[None], Sink | None, TopSink | None]] = {}
        self._scoring: list[tuple[Continuation, asyncio.Future[Likelihood]]] = []
        self._pump: asyncio.Task[None] | None = None

    async def sample(
        self,
        request: Request,
        sink: Sink | None = None,
        *,
        salt: int = 0,
        tops: TopSink | None = None,
    ) -> Completion:
        """One completion; cancelling the task frees its slot (in lockstep: when its wave ends).

        Args:
            salt: who asks (`Engine.submit`).
            tops: told the likeliest pairs of each token before the sink is told the token.

        Raises:
            InputError: when an id is outside the vocabulary; when a grammar is refused or leaves
                no token to choose; when stop strings or a grammar are asked for and there is no
                tokenizer.
            PolicyFailed: when the logits are not finite.
            Exception: what the sink raised; other requests go on.
        """
        if request.grammar and self.tokenizer and not self.engine.lockstep:
            await asyncio.to_thread(Constraint.check, request.grammar, self.tokenizer)
        followed = guide(request, self.tokenizer)
        handle = self.engine.submit(
            request.prompt,
            request.max_tokens,
            request.sampling,
            request.stop,
            followed,
            request.top_log_probs,
            salt,
        )
        if handle.finish is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._running[handle] = (done, sink, tops)
            self._wake()
            try:
                await done
            finally:
                self._running.pop(handle, None)
                self.engine.cancel(handle)
        assert handle.finish in ("stop", "length", "context")
        return Completion(
            tuple(handle.ids),
            tuple(handle.log_probs),
            tuple(handle.versions),
            handle.finish,
            None if followed is None else followed.matched,
            tuple(handle.top),
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
        while self._running or self._scoring:
            try:
                self._score_waiting()
                if self.engine.busy:
                    self._step()
            except BaseException as error:  # whoever waits is told; nobody else can be
                told = PolicyFailed(error.reason) if type(error) is InputError else error
                for done, *_ in self._running.values():
                    if not done.done():
                        done.set_exception(told)
                if not isinstance(error, Exception):
                    raise
            await asyncio.sleep(0)

    def _step(self) -> None:
        for handle in self.engine.step():
            done, sink, tops = self._running.get(handle, (None, None, None))
            if done is None or done.done():  # left, or cancelled in this turn of the loop
                continue
            if handle.error is not None:
                done.set_exception(handle.error)
                continue
            if sink is not None:
                try:
                    if tops is not None:
                        tops(handle.top[-1])
                    sink(handle.ids[-1], handle.log_probs[-1])
                except (Exception, asyncio.CancelledError) as error:
                    self.engine.cancel(handle)
                    done.set_exception(_raisable(error))
                    continue
            if handle.finish is not None:
                done.set_result(None)

    def _score_waiting(self) -> None:
        waiting = [(request, future) for request, future in self._scoring if not future.done()]
        count = len(waiting) if self.engine.lockstep else _fitting([r for r, _ in waiting])
        waiting, self._scoring = waiting[:count], waiting[count:]
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


def _raisable(error: BaseException) -> BaseException:
    """A future cannot hold StopIteration (PEP 479)."""
    return RuntimeError("a sink raised StopIteration") if type(error) is StopIteration else error


def _fitting(requests: Sequence[Continuation]) -> int:
    """How many of the first, at least one, have `SCORED_TOKENS` tokens together."""
    total = 0
    for count, request in enumerate(requests):
        total += len(request.prompt) + len(request.target)
        if total > SCORED_TOKENS and count:
            return count
    return len(requests)
