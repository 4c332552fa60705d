"""One request of the engine from its submission to its end, and what all of them cost.

Knows no model: an engine fills it in, whoever submitted it reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.infer.guide import Guide
from ontogeny.infer.sampling import NOTHING
from ontogeny.plan.sampling import Sampling

Finish = Literal["stop", "length", "context", "cancelled", "failed"]


@dataclass(slots=True, eq=False)
class Handle:
    """One submitted request and what it has received so far.

    Attributes:
        ids: sampled tokens, a stop token included.
        log_probs: of each, in nats, under the unmodified distribution.
        versions: of the weights, at each token.
        top: for each token the likeliest (id, log-prob) pairs, as many as were asked for.
        finish: None while it runs; "stop" at a stop id or where the guide says so; "context" when
            prompt and completion fill the slot; "failed" where `error` says why.
        error: what ended this request alone: nothing was allowed, or its guide raised it.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    stop: frozenset[int]
    guide: Guide | None = None
    tops: int = 0
    """How many of the likeliest are told beside each token."""
    salt: int = 0
    """What was read for another salt is not used for this one."""
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    finish: Finish | None = None
    error: InputError | None = None
    number: int = -1
    """Of its admission."""
    slot: int = -1
    read: int = 0
    """Prompt tokens that are in the cache."""
    source: Handle | None = None
    """Who reads the first `shared` tokens of the prompt for this one, too."""
    shared: int = 0
    keeps: bool = True
    """Whether what its slot holds is all of the weights' present version."""

    @property
    def reads(self) -> bool:
        """Whether a part of the prompt is to be read, and not by somebody else first."""
        return self.source is None and self.read < len(self.prompt)

    def allowed(self) -> NDArray[np.int32] | None:
        """What the guide allows (`Guide.allowed`); None: everything, or the row has ended."""
        if self.guide is None or self.finish is not None:
            return None
        try:
            return self.guide.allowed()
        except InputError as error:
            self.finish, self.error = "failed", error
            return None

    def receive(self, id_: int, log_prob: float, version: int, length: int) -> None:
        """One more token of at most `length` with the prompt; `NOTHING` is a failure."""
        if id_ == NOTHING:
            self.finish = "failed"
            self.error = InputError("a grammar or a bias allows no token here; loosen it")
            return
        self.ids.append(id_)
        self.log_probs.append(log_prob)
        self.versions.append(version)
        try:
            whole = id_ in self.stop or (self.guide is not None and self.guide.accept(id_))
        except InputError as error:
            self.finish, self.error = "failed", error
            return
        if whole:
            self.finish = "stop"
        elif len(self.ids) == self.max_tokens:
            self.finish = "length"
        elif len(self.prompt) + len(self.ids) == length:
            self.finish = "context"


@dataclass(slots=True)
class Counts:
    """What an engine has done since it was made.

    Args:
        requests: that were admitted.
        prompt_tokens: of their prompts; all of them are read or reused.
        read_tokens: of prompts, that went through the model, padding left out.
        reused_tokens: of prompts, whose keys and values somebody else had read.
        sampled_tokens: that were given to requests.
        steps: calls of `Engine.step` that did something.
    """

    requests: int = 0
    prompt_tokens: int = 0
    read_tokens: int = 0
    reused_tokens: int = 0
    sampled_tokens: int = 0
    steps: int = 0


def readers(unread: Sequence[Handle], most: int, *, fair: bool) -> tuple[list[Handle], int]:
    """Whose prompts are read by the next call of at most `most` tokens, and its width.

    As many rows as fit, shortest rests first. `fair`: except that the one admitted first always
    takes part, so that none waits for ever behind those who come later.
    """
    queue = sorted(unread, key=lambda row: len(row.prompt) - row.read)
    if fair:
        first = min(queue, key=lambda row: row.number)
        queue.sort(key=lambda row: row is not first)
    rows: list[Handle] = []
    width = 0
    for row in queue:
        rest = min(len(row.prompt) - row.read, most)
        if rows and (len(rows) + 1) * max(width, rest) > most:
            break
        rows.append(row)
        width = max(width, rest)
    return rows, width
