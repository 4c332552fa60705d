"""What requests cost, and what holds them back: concurrency, pace and limits. Knows no HTTP."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ontogeny.edge.remote_config import LimitReached, Price, RemoteConfig

_MILLION = 1_000_000
_DRAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request: read (of those, found in the server's cache) and written."""

    prompt: int
    completion: int
    cached: int = 0

    @property
    def total(self) -> int:
        """Read and written."""
        return self.prompt + self.completion

    def dollars(self, price: Price) -> float:
        """What they cost."""
        read, written = price.dollars_per_million_in, price.dollars_per_million_out
        return (self.prompt * read + self.completion * written) / _MILLION


@dataclass(slots=True)
class Spent:
    """What a policy has spent since it was made.

    Attributes:
        requests: sent to the model, repeated ones too.
        retries: those that repeated another.
        prompt_tokens, completion_tokens, cached_tokens: as the server counts them.
        estimated: requests whose tokens it never told (it broke off, or was left); they count as
            the most that they can have been.
        dollars: None where the price is unknown.
        seconds_waited: for our own pace and before retries.
    """

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: int = 0
    dollars: float | None = None
    seconds_waited: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class Waiting:
    """How time passes and dice fall; another one makes both repeatable.

    Attributes:
        now: seconds on a clock that never goes back.
        sleep: waits so many seconds.
        draw: a number in [0, 1), for the jitter of retries.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random


class Meter:
    """Lets requests through, and counts them.

    One event loop at a time; loops may follow one another.
    """

    def __init__(self, config: RemoteConfig, waiting: Waiting) -> None:
        self.spent = Spent(dollars=None if config.price is None else 0.0)
        self.waiting = waiting
        self._limits, self._price = config.limits, config.price
        self._concurrency = config.concurrency
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: dict[Ticket, Usage] = {}
        self._next_request = self._next_token = 0.0

    @asynccontextmanager
    async def admitted(self, most: Usage) -> AsyncIterator[Ticket]:
        """A ticket for one request that costs at most `most`; waits for a place.

        Raises:
            LimitReached: the request could pass a limit. What is under way is answered first.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._gate = loop, asyncio.Semaphore(self._concurrency)
            self._left, self._under_way = asyncio.Condition(), {}
        async with self._gate:
            await self._room(most)
            ticket = Ticket(self, most)
            self._under_way[ticket] = most
            try:
                yield ticket
            finally:
                ticket.lose()
                del self._under_way[ticket]
                async with self._left:
                    self._left.notify_all()

    async def _room(self, most: Usage) -> None:
        while why := self._over(most, self._under_way.values()):
            if self._under_way:
                async with self._left:
                    await self._left.wait()
            else:  # what was answered just now has yet to reach the journal
                await asyncio.sleep(_DRAIN_SECONDS)
                if not self._under_way:
                    raise LimitReached(why)

    def _over(self, most: Usage, held: Collection[Usage] = ()) -> str:
        """Which limit `most` more could pass, for a person; "" where there is room."""
        limits, spent = self._limits, self.spent
        if limits.most_requests is not None and spent.requests >= limits.most_requests:
            return f"{spent.requests} requests are sent, all that most_requests allows; {ONWARD}"
        tokens = spent.prompt_tokens + spent.completion_tokens
        could = tokens + most.total + sum(each.total for each in held)
        if limits.most_tokens is not None and could > limits.most_tokens:
            return (
                f"{tokens} tokens are spent and the next request may take {most.total}, more than "
                f"most_tokens ({limits.most_tokens}) allows; {ONWARD}"
            )
        if limits.most_dollars is not None and self._price is not None:
            assert spent.dollars is not None
            next_ = most.dollars(self._price)
            could_cost = spent.dollars + next_ + sum(each.dollars(self._price) for each in held)
            if could_cost > limits.most_dollars:
                return (
                    f"${spent.dollars:.4f} are spent and the next request may cost ${next_:.4f}, "
                    f"more than most_dollars (${limits.most_dollars:g}) allows; {ONWARD}"
                )
        return ""

    async def pace(self, most: Usage) -> None:
        """Waits until the limits a minute let a request through."""
        now = self.waiting.now()
        begin = now
        if self._limits.requests_a_minute is not None:
            begin = max(now, self._next_request)
            self._next_request = begin + 60.0 / self._limits.requests_a_minute
        if self._limits.tokens_a_minute is not None:
            begin_tokens = max(now, self._next_token)
            self._next_token = begin_tokens + most.total * 60.0 / self._limits.tokens_a_minute
            begin = max(begin, begin_tokens)
        if begin > now:
            await self.sleep(begin - now)

    async def sleep(self, seconds: float) -> None:
        """Waits, and counts it."""
        self.spent.seconds_waited += seconds
        await self.waiting.sleep(seconds)

    def refuse_request(self) -> None:
        """Raises LimitReached where not one request more may be sent."""
        most = self._limits.most_requests
        if most is not None and self.spent.requests >= most:
            raise LimitReached(self._over(Usage(0, 0)))

    def add(self, used: Usage, most: Usage) -> None:
        """Counts what was used of what was set aside."""
        spent = self.spent
        spent.prompt_tokens += used.prompt
        spent.completion_tokens += used.completion
        spent.cached_tokens += used.cached
        if self._price is not None and spent.dollars is not None:
            spent.dollars += used.dollars(self._price)
        if self._limits.tokens_a_minute is not None:
            self._next_token -= (most.total - used.total) * 60.0 / self._limits.tokens_a_minute


ONWARD = "what was answered is in the journal: run again with a higher limit"
"""The remedy for a run; who keeps no journal says something else."""


class Ticket:
    """Leave to send one request, and to repeat it."""

    def __init__(self, meter: Meter, most: Usage) -> None:
        self._meter, self._most = meter, most
        self._sent = 0
        self._open = False

    async def attempt(self) -> None:
        """Before each time that the request is sent. Raises LimitReached."""
        self.lose()
        self._meter.refuse_request()
        self._meter.spent.requests += 1
        self._meter.spent.retries += self._sent > 0
        self._sent += 1
        await self._meter.pace(self._most)
        self._open = True

    def settle(self, used: Usage | None) -> None:
        """The server said what it cost; None: an error, which costs nothing."""
        if self._open:
            self._open = False
            self._meter.add(used or Usage(0, 0), self._most)

    def lose(self) -> None:
        """The server never said what it cost."""
        if self._open:
            self._open = False
            self._meter.spent.estimated += 1
            self._meter.add(self._most, self._most)
