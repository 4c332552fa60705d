"""A rollout policy on our own engine: many tasks wait, one pump steps the engine for all of them.

The engine runs on the event loop's own thread and yields between steps, so a cancellation takes
effect within one step, and no lock is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.bridge import embedding
from ontogeny.bridge.between import Between
from ontogeny.infer.engine import Engine
from ontogeny.infer.handle import Handle
from ontogeny.infer.scoring import check, scoring
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
Ids = tuple[int, ...]
SCORED_TOKENS = 8192
"""Of continuations that share their passes, under ready admission."""
MOST_READ = 4096
"""Tokens of one of these passes."""


class LocalPolicy:
    """`rollout.Policy` on an `Engine`; whatever waits when a step begins is batched.

    Requests that start in one turn of the event loop (as in `sample_all`, or a lockstep round of
    `drive`) are submitted in order before the first step, so under the engine's lockstep admission
    the batches, and every bit of the answers, follow from the requests alone.

    Under ready admission nothing holds the event loop for longer than one step, and one pass of as
    many tokens for scores and embeddings: an unknown grammar is tried in a thread (its request is
    submitted when that is done).

    One event loop at a time: loops may follow one another, as `sample_all` makes one a call.

    Args:
        tokenizer: of the model; for requests with stop strings or a grammar.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer | None = None) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self._running: dict[Handle, tuple[asyncio.Future[None], Sink | None, TopSink | None]] = {}
        self._scoring: list[tuple[Continuation, int, asyncio.Future[Likelihood]]] = []
        self._scored: list[asyncio.Future[Likelihood]] = []
        self._between = Between()
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

    async def score(self, request: Continuation, *, salt: int = 0) -> Likelihood:
        """Log-probs of a continuation; those that wait share packed forward passes.

        Args:
            salt: who asks; passes are shared among requests of one salt alone.

        Raises:
            InputError: when it exceeds the model's context or its vocabulary.
        """
        check(self.engine.model, request.prompt, request.target)
        future: asyncio.Future[Likelihood] = asyncio.get_running_loop().create_future()
        self._scoring.append((request, salt, future))
        self._wake()
        return await future

    async def embed(self, texts: Sequence[Ids], begin: int) -> NDArray[np.float32]:
        """vectors_SC of length 1, a row for each text (`bridge.embedding`).

        Raises:
            InputError: when a text is empty or exceeds the model's context or its vocabulary.
        """
        embedding.check(self.engine.model, texts, begin)
        future: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        self._between.add(self._vectors(texts, begin), [future])
        self._wake()
        return await future

    def forget(self) -> None:
        """Nothing that was computed so far is used for another request; called between steps."""
        self.engine.forget()

    def _wake(self) -> None:
        """Start the pump behind everything this turn of the loop still submits."""
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._running or self._scoring or self._between.busy:
            try:
                self._begin_scoring()
                self._between.step()
                while self._between.busy and self.engine.lockstep:
                    self._between.step()
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

    def _begin_scoring(self) -> None:
        """Those that wait, as soon as those before them have been answered."""
        waiting = [each for each in self._scoring if not each[2].done()]
        if any(not each.done() for each in self._scored) or not waiting:
            self._scoring = waiting
            return
        chosen = waiting
        if not self.engine.lockstep:
            salt = waiting[0][1]
            chosen = [each for each in waiting if each[1] == salt]
            chosen = chosen[: _fitting([request for request, *_ in chosen])]
        taken = {future for *_, future in chosen}
        self._scoring = [each for each in waiting if each[2] not in taken]
        self._scored = [future for *_, future in chosen]
        self._between.add(self._likelihoods([request for request, *_ in chosen]), self._scored)

    def _likelihoods(
        self, requests: Sequence[Continuation]
    ) -> Generator[None, None, list[Likelihood]]:
        pairs = [(request.prompt, request.target) for request in requests]
        tops = [request.top_log_probs for request in requests]
        version = None
        while version != self.engine.version:  # other weights: begun anew
            version = self.engine.version
            found = yield from scoring(self.engine.model, pairs, self._most_read, max(tops))
        return [
            Likelihood(
                tuple(each.log_probs),
                tuple(each.greedy),
                self.engine.version,
                tuple(pairs[:top] for pairs in each.top) if top else (),
            )
            for each, top in zip(found, tops, strict=True)
        ]

    def _vectors(
        self, texts: Sequence[Ids], begin: int
    ) -> Generator[None, None, list[NDArray[np.float32]]]:
        version = None
        while version != self.engine.version:
            version = self.engine.version
            found = yield from embedding.embedding(self.engine.model, texts, begin, self._most_read)
        return [found]

    @property
    def _most_read(self) -> int:
        """Tokens of one pass of scoring or embedding."""
        return MOST_READ if self.engine.lockstep else min(MOST_READ, self.engine.prefill_tokens)


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
