"""Answers to one request, piece by piece: prompts go to the policy, ids come back as text.

Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, PolicyFailed, Request
from ontogeny.serve.aside import Aside
from ontogeny.serve.asked import Asked, Ids
from ontogeny.serve.gate import overloaded
from ontogeny.serve.health import Health
from ontogeny.serve.refusal import Refused
from ontogeny.serve.teller import Piece, Scored, Teller, scored_prompt
from ontogeny.serve.wanted import Served
from ontogeny.text.constraint import Constraint
from ontogeny.text.grammar import Grammar

T = TypeVar("T")
READERS = 2
"""Bodies understood at once, aside: rendering and encoding may take a while."""
TRIALS, MOST_TRIALS = 2, 64
"""Grammars tried at once, and those that may wait for it: others than theirs are read meanwhile."""
Told = tuple[int, Piece]
Prompt = asyncio.Future[Likelihood | None]
"""Log-probs of a prompt behind its first token, which all answers to it wait for."""
Read = Callable[[Mapping[str, Any], Served], Asked]


class Service:
    """A served model.

    Args:
        policy: entered by whoever made it.
    """

    def __init__(self, served: Served, policy: Aside) -> None:
        self.served, self.policy = served, policy
        self.health = Health(policy, self._trial)
        self._readers = ThreadPoolExecutor(READERS, "reader")
        self._trials = ThreadPoolExecutor(TRIALS, "trial")
        self._trying = 0
        self._live: set[asyncio.Queue[Any]] = set()
        self._cut = False

    async def read(self, read: Read, body: Mapping[str, Any]) -> Asked:
        """A body understood, aside; its prompts fit, its grammar can be followed.

        Raises:
            Refused: 400 or 404; 503 where too many grammars are waiting.
        """
        asked = await self.understood(read, body)
        for prompt in asked.prompts:
            asked.wanted.room(self.served, len(prompt))
        if asked.grammar is not None:
            await self._try(asked.grammar, "tools" if asked.forced else "response_format")
        return asked

    async def understood(
        self, read: Callable[[Mapping[str, Any], Served], T], body: Mapping[str, Any]
    ) -> T:
        """A body understood, aside.

        Raises:
            Refused: 400 or 404.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, read, body, self.served)

    async def _try(self, grammar: Grammar, param: str) -> None:
        if self._trying >= MOST_TRIALS:
            raise overloaded("too many grammars are being tried", 1)
        self._trying += 1
        loop, check, tokenizer = asyncio.get_running_loop(), Constraint.check, self.served.tokenizer
        try:
            await loop.run_in_executor(self._trials, check, grammar, tokenizer)
        except InputError as error:
            raise Refused(error.reason, param=param) from None
        finally:
            self._trying -= 1

    async def end(self) -> None:
        """Nothing is left running, the policy neither; its memory is free."""
        await self.close()
        await asyncio.get_running_loop().run_in_executor(None, self.policy.end)

    async def close(self) -> None:
        """Nothing is left running but the policy."""
        await self.health.end()
        for pool in (self._readers, self._trials):
            pool.shutdown(wait=False, cancel_futures=True)

    def cut(self) -> None:
        """Ends all answers under way, and those yet to begin: the server stops."""
        self._cut = True
        for told in self._live:
            told.put_nowait(self.health.unavailable("stopping"))

    async def answers(self, asked: Asked, salt: int, seconds: float) -> AsyncGenerator[Told, None]:
        """(index of the answer, piece) as they come; each answer's last piece has its end.

        Closing the iterator frees the slots.

        Args:
            seconds: after which an answer is given up.

        Raises:
            Refused: 400 for what only the model could know, 503 where it failed or took too long.
            Exception: a mistake of ours in telling what the model said; the model goes on.
        """
        with self._queue(seconds) as told:
            scores: list[Prompt] = [
                asyncio.ensure_future(self._scored(asked, prompt, salt))
                for prompt in range(len(asked.prompts) * asked.scores)
            ]
            tasks = [
                asyncio.ensure_future(self._answer(asked, index, salt, told, scores))
                for index in range(asked.units)
            ]
            try:
                left = len(tasks)
                while left:
                    each = await told.get()
                    if isinstance(each, BaseException):
                        raise each
                    left -= each[1].finish is not None
                    yield each
            finally:
                begun: list[asyncio.Future[Any]] = [*tasks, *scores]
                for task in begun:
                    task.cancel()
                await asyncio.gather(*begun, return_exceptions=True)

    async def embed(self, texts: Sequence[Ids], seconds: float) -> NDArray[np.float32]:
        """A vector for each text, as `rollout.embedder` has it.

        Raises:
            Refused: as `answers` does.
        """
        with self._queue(seconds) as told:
            task = asyncio.ensure_future(self._vectors(texts, told))
            try:
                found: NDArray[np.float32] | BaseException = await told.get()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if isinstance(found, BaseException):
            raise found
        return found

    @contextmanager
    def _queue(self, seconds: float) -> Iterator[asyncio.Queue[Any]]:
        """Where somebody's answer comes in, or why there is none: so long, or until `cut`."""
        if self._cut:
            raise self.health.unavailable("stopping")
        told: asyncio.Queue[Any] = asyncio.Queue()
        late = Refused(f"not answered within {seconds:g} s; ask for less", 503, code="deadline")
        timer = asyncio.get_running_loop().call_later(seconds, told.put_nowait, late)
        self._live.add(told)
        try:
            yield told
        finally:
            timer.cancel()
            self._live.discard(told)

    async def _vectors(self, texts: Sequence[Ids], told: asyncio.Queue[Any]) -> None:
        try:
            begin = self.served.tokenizer.begin
            told.put_nowait(await self.policy.embed(texts, begin))
        except Exception as error:
            told.put_nowait(self._refusal(error))

    async def _answer(
        self,
        asked: Asked,
        index: int,
        salt: int,
        told: asyncio.Queue[Any],
        scores: Sequence[Prompt],
    ) -> None:
        before: tuple[Scored, ...] = ()
        prompt = index // asked.wanted.choices

        def tell(piece: Piece) -> None:
            nonlocal before
            told.put_nowait((index, replace(piece, prompt=before) if before else piece))
            before = ()

        def hear(id_: int, log_prob: float, top: tuple[tuple[int, float], ...]) -> None:
            try:
                if piece := teller.hear(id_, log_prob, top):
                    tell(piece)
            except Exception as error:  # whoever delivers has words for others, too
                told.put_nowait(error)

        try:
            teller, completion = Teller(asked, self.served), Completion((), (), (), "length")
            try:
                found = await scores[prompt] if scores else None
            except Exception as error:
                raise self._refusal(error) from error
            if scores:
                ids, text = asked.prompts[prompt], asked.echo[prompt]
                before = scored_prompt(ids, text, found, self.served.tokenizer)
            try:
                if asked.wanted.most_tokens != 0:
                    request = self._request(asked, index)
                    completion = await self.policy.sample(request, hear, salt=salt)
            except Exception as error:
                raise self._refusal(error) from error
            tell(teller.end(completion))
        except Exception as error:
            told.put_nowait(error)

    async def _trial(self) -> None:
        request = Request((self.served.tokenizer.begin,), 1)
        await self.policy.sample(request, lambda *_: None)

    async def _scored(self, asked: Asked, prompt: int, salt: int) -> Likelihood | None:
        ids = asked.prompts[prompt]
        if len(ids) == 1:
            return None
        request = Continuation(ids[:1], ids[1:], asked.wanted.top or 0)
        return await self.policy.score(request, salt=salt)

    def _request(self, asked: Asked, index: int) -> Request:
        want = asked.wanted
        prompt, choice = divmod(index, want.choices)
        ids = asked.prompts[prompt]
        return Request(
            prompt=ids,
            max_tokens=want.room(self.served, len(ids)),
            sampling=want.drawn(choice, prompt),
            stop=asked.stop,
            stop_strings=want.stops,
            grammar=asked.grammar,
            top_log_probs=want.top or 0,
        )

    def _refusal(self, error: Exception) -> Refused:
        if isinstance(error, Refused):
            return error
        if isinstance(error, InputError) and not isinstance(error, PolicyFailed):
            return Refused(error.reason)
        self.health.failed(str(error))
        return self.health.unavailable("failing")
