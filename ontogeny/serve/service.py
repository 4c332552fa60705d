"""Answers to one request, piece by piece: prompts go to the policy, ids come back as text.

Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import PolicyFailed, Request
from ontogeny.serve.aside import Aside
from ontogeny.serve.asked import Asked
from ontogeny.serve.gate import overloaded
from ontogeny.serve.health import Health
from ontogeny.serve.refusal import Refused
from ontogeny.serve.teller import Piece, Teller
from ontogeny.serve.wanted import Served
from ontogeny.text.constraint import Constraint
from ontogeny.text.grammar import Grammar

READERS = 2
"""Bodies understood at once, aside: rendering and encoding may take a while."""
TRIALS, MOST_TRIALS = 2, 64
"""Grammars tried at once, and those that may wait for it: others than theirs are read meanwhile."""
Told = tuple[int, Piece]
Read = Callable[[Mapping[str, Any], Served], Asked]


class Service:
    """A served model.

    Args:
        policy: entered by whoever made it.
    """

    def __init__(self, served: Served, policy: Aside) -> None:
        self.served, self.policy = served, policy
        self.health = Health(policy, served)
        self._readers = ThreadPoolExecutor(READERS, "reader")
        self._trials = ThreadPoolExecutor(TRIALS, "trial")
        self._trying = 0
        self._live: set[asyncio.Queue[Told | BaseException]] = set()
        self._cut = False

    async def read(self, read: Read, body: Callable[[], Mapping[str, Any]]) -> Asked:
        """A body understood, aside; its prompts fit, its grammar can be followed.

        Raises:
            Refused: 400 or 404; 503 where too many grammars are waiting.
        """
        loop, served = asyncio.get_running_loop(), self.served
        asked = await loop.run_in_executor(self._readers, lambda: read(body(), served))
        for prompt in asked.prompts:
            asked.wanted.room(served, len(prompt))
        if asked.grammar is not None:
            await self._try(asked.grammar, "tools" if asked.forced else "response_format")
        return asked

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

    async def close(self) -> None:
        """Nothing is left running."""
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
        if self._cut:
            raise self.health.unavailable("stopping")
        told: asyncio.Queue[Told | BaseException] = asyncio.Queue()
        late = Refused(f"not answered within {seconds:g} s; ask for less", 503, code="deadline")
        timer = asyncio.get_running_loop().call_later(seconds, told.put_nowait, late)
        self._live.add(told)
        tasks = [
            asyncio.ensure_future(self._answer(asked, index, salt, told))
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
            timer.cancel()
            self._live.discard(told)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self, asked: Asked, index: int, salt: int, told: asyncio.Queue[Told | BaseException]
    ) -> None:
        def hear(id_: int, log_prob: float, top: tuple[tuple[int, float], ...]) -> None:
            try:
                if piece := teller.hear(id_, log_prob, top):
                    told.put_nowait((index, piece))
            except Exception as error:  # whoever delivers has words for others, too
                told.put_nowait(error)

        try:
            teller, request = Teller(asked, self.served), self._request(asked, index)
            try:
                completion = await self.policy.sample(request, hear, salt=salt)
            except Exception as error:
                raise self._refusal(error) from error
            told.put_nowait((index, teller.end(completion)))
        except Exception as error:
            told.put_nowait(error)

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
