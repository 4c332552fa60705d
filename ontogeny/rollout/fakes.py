"""Policies without a model, for tests, demonstrations and gold answers.

Know no tensors: one says what a function tells it to, the other draws every token alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from ontogeny.rollout.policy import Completion, Continuation, Finish, Likelihood, Request, Sink

IMPOSSIBLE = -1000.0
"""Log-prob of what a scripted policy would never say: finite, so that logs stay valid JSON."""


class ScriptedPolicy:
    """Says with certainty what `script` makes of each request (a gold answer, a fixed list).

    `ScriptedPolicy(lambda request: gold[request.prompt])`; answers in turn are
    `ScriptedPolicy(lambda _, answers=iter(answers): next(answers))`.
    """

    def __init__(self, script: Callable[[Request], Sequence[int]], version: int = 0) -> None:
        self.script = script
        self.version = version
        self.requests: list[Request] = []

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """The script's answer, cut at the first stop id or at max_tokens; log-probs are 0."""
        self.requests.append(request)
        return _completion(self.script(request), 0.0, self.version, request, sink)

    async def score(self, request: Continuation) -> Likelihood:
        """0 for each token the script would say there, IMPOSSIBLE for every other."""
        said = tuple(self.script(Request(request.prompt, max_tokens=len(request.target))))
        right = tuple(said[i : i + 1] == (id_,) for i, id_ in enumerate(request.target))
        return Likelihood(tuple(0.0 if r else IMPOSSIBLE for r in right), right, self.version)


class UniformPolicy:
    """Draws every token of a vocabulary with equal probability: the floor of any comparison."""

    def __init__(self, vocab_size: int, version: int = 0) -> None:
        self.vocab_size = vocab_size
        self.version = version

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """Seeded by the request; greedy requests get id 0, the lowest of a vocabulary of ties."""
        draw = random.Random(request.sampling.seed)
        if request.sampling.temperature == 0.0:
            ids = [0] * request.max_tokens
        else:
            ids = [draw.randrange(self.vocab_size) for _ in range(request.max_tokens)]
        return _completion(ids, -math.log(self.vocab_size), self.version, request, sink)

    async def score(self, request: Continuation) -> Likelihood:
        """-log(vocabulary size) for each token."""
        log_probs = (-math.log(self.vocab_size),) * len(request.target)
        return Likelihood(log_probs, tuple(id_ == 0 for id_ in request.target), self.version)


def _completion(
    said: Sequence[int], log_prob: float, version: int, request: Request, sink: Sink | None
) -> Completion:
    ids: list[int] = []
    finish: Finish = "length"
    for id_ in said[: request.max_tokens]:
        ids.append(id_)
        if sink is not None:
            sink(id_, log_prob)
        if id_ in request.stop:
            finish = "stop"
            break
    count = len(ids)
    return Completion(tuple(ids), (log_prob,) * count, (version,) * count, finish)
