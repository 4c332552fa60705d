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
from ontogeny.plan.sampling import Sampling
from ontogeny.text.grammar import Grammar

PLAIN = Sampling()
"""The model's own distribution."""
MOST_TOP = 20
Finish = Literal["stop", "length", "context"]
Sink = Callable[[int, float], None]
"""Called once a token, in order, with (id, log-prob). Raising fails that one request."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """Continue `prompt` by sampling.

    Args:
        prompt: token ids, at least one.
        max_tokens: at most this many new tokens, at least 1.
        sampling: how each token is chosen.
        stop: ids that end the completion; the stop token itself belongs to the completion.
        stop_strings: texts that end it, wherever they begin within a token.
        grammar: the form that the text of the completion must have.
        top_log_probs: how many of the likeliest ids are told beside each token, 0 to 20.

    Raises:
        InputError: when a value is out of its range.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = PLAIN
    stop: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    grammar: Grammar | None = None
    top_log_probs: int = 0

    def __post_init__(self) -> None:
        if not self.prompt:
            raise InputError("the prompt is empty; give at least one token (the end-of-text id)")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is {self.max_tokens}; give at least 1")
        if not all(self.stop_strings):
            raise InputError("a stop string is empty; leave it out")
        _check_top(self.top_log_probs)


def _check_top(count: int) -> None:
    if not 0 <= count <= MOST_TOP:
        raise InputError(f"top_log_probs is {count}; give 0 to {MOST_TOP}")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy answered to a `Request`.

    Attributes:
        ids: the sampled tokens, a stop token included; where a stop string ended it, up to the
            token that completed the string.
        log_probs: of each id in nats, under the model's *unmodified* distribution (temperature 1,
            no filters), which is what a trainer's forward pass gives for the same tokens. NaN
            where a remote server did not say: such a completion cannot be trained on as a rollout.
        versions: the policy's version at each token; weights may change under a long completion.
        finish: "stop" (a stop id, a stop string, a grammar's end), "length" (max_tokens), "context"
            (no room left in the slot; with no ids at all where the prompt alone filled it).
        matched: the stop string that ended it.
        top: for each token the likeliest (id, log-prob) pairs, likeliest first, if asked for.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    versions: tuple[int, ...]
    finish: Finish
    matched: str | None = None
    top: tuple[tuple[tuple[int, float], ...], ...] = ()

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.log_probs) == len(self.versions)
        assert len(self.top) in (0, len(self.ids))


@dataclass(frozen=True, slots=True)
class Continuation:
    """How likely is `target` after `prompt`? Both are token ids, at least one each.

    Args:
        top_log_probs: how many of the likeliest ids are told beside each target token, 0 to 20.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    top_log_probs: int = 0

    def __post_init__(self) -> None:
        if not self.prompt or not self.target:
            raise InputError("scoring needs at least one token of prompt and one of target")
        _check_top(self.top_log_probs)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The answer to a `Continuation`.

    Attributes:
        log_probs: of each target id in nats, given everything before it, unmodified distribution.
        greedy: whether that id was the most likely one.
        version: of the policy that scored.
        top: for each target id the likeliest (id, log-prob) pairs at its place, likeliest first,
            if asked for and if the policy can tell.
    """

    log_probs: tuple[float, ...]
    greedy: tuple[bool, ...]
    version: int
    top: tuple[tuple[tuple[int, float], ...], ...] = ()

    def total(self) -> float:
        """Log-probability of the whole target, in nats."""
        return sum(self.log_probs)


class PolicyFailed(InputError):
    """What failed is the policy, not the request: others that were under way failed with it."""


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
