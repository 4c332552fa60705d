"""What can be asked of a policy, and the blocking way to ask many things at once.

Knows no tensors, no text and no model: token ids go in, token ids with their log-probs come out.
Implemented by `bridge.local_policy` (our engine), by remote servers in `edge/`, and by the fakes
of `rollout.fakes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from ontogeny.base.errors import InputError

Finish = Literal["stop", "length", "context"]
Sink = Callable[[int, float], None]
"""Called once a token, in order, with (id, log-prob). Raising fails that one request."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """Continue `prompt` by sampling.

    Filters act in the order temperature, top-k, top-p, min-p, each on what the one before left.

    Args:
        prompt: token ids, at least one.
        max_tokens: at most this many new tokens, at least 1.
        temperature: logits are divided by it; 0 is greedy (the lowest id wins a tie).
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set with at least this probability, in (0, 1]
            (nucleus sampling, Holtzman et al. 2019, arXiv:1904.09751, section 3.1).
        min_p: drop tokens below this share of the most likely one's probability, in [0, 1)
            (Nguyen et al. 2024, arXiv:2407.01082, section 3).
        stop: ids that end the completion; the stop token itself belongs to the completion.
        seed: the draws are a function of this and of the position in the completion alone.

    Raises:
        InputError: when a value is out of its range.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.prompt:
            raise InputError("the prompt is empty; give at least one token (the end-of-text id)")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is {self.max_tokens}; give at least 1")
        if not 0.0 <= self.temperature < float("inf"):
            raise InputError(f"temperature is {self.temperature}; give 0 (greedy) or more")
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}; give 0 (off) or more")
        if not 0.0 < self.top_p <= 1.0:
            raise InputError(f"top_p is {self.top_p}; give more than 0 and at most 1 (off)")
        if not 0.0 <= self.min_p < 1.0:
            raise InputError(f"min_p is {self.min_p}; give at least 0 (off) and below 1")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give 0 to 2**63 - 1")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy answered to a `Request`.

    Attributes:
        ids: the sampled tokens, a stop token included.
        log_probs: of each id in nats, under the model's *unmodified* distribution (temperature 1,
            no filters), which is what a trainer's forward pass gives for the same tokens.
        versions: the policy's version at each token; weights may change under a long completion.
        finish: "stop" (a stop id), "length" (max_tokens), "context" (no room left in the slot;
            with no ids at all where the prompt alone filled it).
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    versions: tuple[int, ...]
    finish: Finish

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.log_probs) == len(self.versions)


@dataclass(frozen=True, slots=True)
class Continuation:
    """How likely is `target` after `prompt`? Both are token ids, at least one each."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.prompt or not self.target:
            raise InputError("scoring needs at least one token of prompt and one of target")


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The answer to a `Continuation`.

    Attributes:
        log_probs: of each target id in nats, given everything before it, unmodified distribution.
        greedy: whether that id was the most likely one.
        version: of the policy that scored.
    """

    log_probs: tuple[float, ...]
    greedy: tuple[bool, ...]
    version: int

    def total(self) -> float:
        """Log-probability of the whole target, in nats."""
        return sum(self.log_probs)


class Policy(Protocol):
    """Anything that continues and scores token ids. Whatever waits is answered in batches."""

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """One completion. Cancelling the awaiting task frees its slot."""
        ...

    async def score(self, request: Continuation) -> Likelihood:
        """Log-probs of a given continuation."""
        ...


def sample_all(policy: Policy, requests: Iterable[Request]) -> list[Completion]:
    """Sample all requests together and block; answers stand in the order of the requests.

    Raises:
        InputError: when an answer cannot be given for a reason of the request's.
    """
    return asyncio.run(together(policy.sample(request) for request in requests))


def score_all(policy: Policy, requests: Iterable[Continuation]) -> list[Likelihood]:
    """Score all continuations together and block; answers stand in the order of the requests."""
    return asyncio.run(together(policy.score(request) for request in requests))


async def together(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Results of all, in order. The first failure (or a cancellation) cancels the others.

    `asyncio.gather` alone would leave the others running, and their slots taken.
    """
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
