"""Several policies in one episode: each request names who is asked.

Knows no model. The driver asks one policy; a `Cast` is that one, and hands each request on to the
policy that plays the part. The part belongs to what a flow asks, so a journal's digests see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Policy, Request, Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTo(Request):
    """A `Request` to whoever plays `part`."""

    part: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuationTo(Continuation):
    """A `Continuation` to be scored by whoever plays `part`."""

    part: str


class Cast:
    """A `rollout.Policy` made of others, by the part each plays.

    Two parts may be one policy. All that a lockstep round asks reaches every policy in the same
    turn of the event loop, in order, so each forms the batches it would form alone.

    Raises:
        InputError: nobody plays anything.
    """

    def __init__(self, parts: Mapping[str, Policy]) -> None:
        if not parts:
            raise InputError("a cast needs at least one part; name a policy")
        self.parts = dict(parts)

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """The completion of whoever plays the request's part.

        Raises:
            InputError: the request names no part, or one that nobody plays.
        """
        return await self._of(request).sample(request, sink)

    async def score(self, request: Continuation) -> Likelihood:
        """See `sample`."""
        return await self._of(request).score(request)

    def _of(self, asked: Request | Continuation) -> Policy:
        known = ", ".join(self.parts)
        if not isinstance(asked, (RequestTo, ContinuationTo)):
            raise InputError(f"a request to a cast names no part; ask one of {known}")
        if asked.part not in self.parts:
            raise InputError(f"nobody plays {asked.part!r}; there are {known}")
        return self.parts[asked.part]
