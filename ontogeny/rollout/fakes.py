"""Policies without a model, for tests, demonstrations and gold answers.

Know no tensors: one says what a function tells it to, the other draws every token alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Continuation, Finish, Likelihood, Request, Sink
from ontogeny.rollout.text_guide import guide
from ontogeny.text.tokenizer import Tokenizer

IMPOSSIBLE = -1000.0
"""Log-prob of what a scripted policy would never say: finite, so that logs stay valid JSON."""


class ScriptedPolicy:
    """Says with certainty what `script` makes of each request (a gold answer, a fixed list).

    `ScriptedPolicy(lambda request: gold[request.prompt])`; answers in turn are
    `ScriptedPolicy(lambda _, answers=iter(answers): next(answers))`.
    """

    def __init__(
        self,
        script: Callable[[Request], Sequence[int]],
        version: int = 0,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.script = script
        self.version = version
        self.tokenizer = tokenizer
        self.requests: list[Request] = []

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """The script's answer up to the first stop id, stop string or max_tokens; log-probs are 0.

        Raises:
            InputError: it is not what the request's grammar allows; see `TextGuide`.
        """
        self.requests.append(request)
        said = iter(self.script(request))
        return _completion(lambda _: next(said, None), 0.0, self, request, sink)

    async def score(self, request: Continuation) -> Likelihood:
        """0 for each token the script would say there, IMPOSSIBLE for every other."""
        said = tuple(self.script(Request(request.prompt, max_tokens=len(request.target))))
        right = tuple(said[i : i + 1] == (id_,) for i, id_ in enumerate(request.target))
        return Likelihood(tuple(0.0 if r else IMPOSSIBLE for r in right), right, self.version)


class UniformPolicy:
    """Draws every token of a vocabulary with equal probability: the floor of any comparison."""

    def __init__(
        self, vocab_size: int, version: int = 0, tokenizer: Tokenizer | None = None
    ) -> None:
        self.vocab_size = vocab_size
        self.version = version
        self.tokenizer = tokenizer

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """Seeded by the request; greedy requests get the lowest id of those that may come.

        Raises:
            InputError: see `TextGuide`.
        """
        draw = random.Random(request.sampling.seed)

        def chosen(words: NDArray[np.int32] | None) -> int | None:
            if words is None:
                may: Sequence[int] = range(self.vocab_size)
            else:
                bits = np.unpackbits(words.view(np.uint8), bitorder="little")[: self.vocab_size]
                may = np.flatnonzero(bits).tolist()
            if not may:
                raise InputError("a grammar allows no token here; loosen it")
            return may[0 if request.sampling.temperature == 0.0 else draw.randrange(len(may))]

        return _completion(chosen, -math.log(self.vocab_size), self, request, sink)

    async def score(self, request: Continuation) -> Likelihood:
        """-log(vocabulary size) for each token."""
        log_probs = (-math.log(self.vocab_size),) * len(request.target)
        return Likelihood(log_probs, tuple(id_ == 0 for id_ in request.target), self.version)


def _completion(
    choose: Callable[[NDArray[np.int32] | None], int | None],
    log_prob: float,
    policy: ScriptedPolicy | UniformPolicy,
    request: Request,
    sink: Sink | None,
) -> Completion:
    """What `choose` picks among the ids that may come, until the end that a request sets."""
    followed = guide(request, policy.tokenizer)
    ids: list[int] = []
    finish: Finish = "length"
    while finish == "length" and len(ids) < request.max_tokens:
        id_ = choose(None if followed is None else followed.allowed())
        if id_ is None:
            break
        ids.append(id_)
        if id_ in request.stop or (followed is not None and followed.accept(id_)):
            finish = "stop"
        if sink is not None:
            sink(id_, log_prob)
    matched = None if followed is None else followed.matched
    count = len(ids)
    return Completion(tuple(ids), (log_prob,) * count, (policy.version,) * count, finish, matched)
