"""Model -> measurement: how fast the engine answers so many clients at a time."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.evaluate.series import Series, write_series
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Request
from ontogeny.run.work import Made, Work

SAMPLING = Sampling(temperature=0.8, top_p=0.95)


class Round(NamedTuple):
    """One round: seconds from the first question to the last answer, seconds to first tokens."""

    seconds: float
    first: list[float]


@dataclass(frozen=True, kw_only=True)
class MeasureServing:
    """Asks the engine as `ontogeny serve` does, by `clients` at a time, without a network.

    Each client sends `requests` a round, the next when the last is answered. A prompt is
    `prompt_tokens` drawn ids, so that none begins like another; an answer is `answer_tokens` long,
    whatever it says. Of `rounds` rounds behind one that is not counted, medians are kept.

    What was asked is the payload and equal in every run. Speeds come from a clock, so they are part
    of the record's execution: `speeds` holds N.tokens_per_second (answered, reading prompts
    included), N.seconds_per_thousand and N.first_token_seconds for N clients.

    Series: serving.tokens, one unit a request of one round.

    Raises:
        InputError: no clients, a number below 1, or more tokens than the model's context.
    """

    clients: tuple[int, ...] = (1, 8)
    requests: int = 4
    prompt_tokens: int = 128
    answer_tokens: int = 64
    rounds: int = 3

    stage: ClassVar[str] = "measure_serving"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        if not self.clients or len(set(self.clients)) != len(self.clients):
            raise InputError("measure_serving: give numbers of clients, each once, such as (1, 8)")
        least = min(
            *self.clients, self.requests, self.prompt_tokens, self.answer_tokens, self.rounds
        )
        if least < 1:
            raise InputError("measure_serving: every number is at least 1")

    def __call__(self, work: Work, model: Artifact) -> Made:
        """Writes series.json; the record keeps the speeds."""
        context = bridge.shape_of(model).context
        if self.prompt_tokens + self.answer_tokens > context:
            raise InputError(
                f"{self.prompt_tokens} and {self.answer_tokens} tokens exceed the context of "
                f"'{model.name}', {context}; ask for fewer prompt_tokens or answer_tokens"
            )
        policy, tokenizer = bridge.load_policy(model, max(self.clients), admission="ready")
        draw = np.random.default_rng(work.named_seed("prompts"))
        total, speeds = len(self.clients) * (self.rounds + 1), dict[str, float]()
        for place, clients in enumerate(self.clients):
            found = []
            for number in range(self.rounds + 1):
                work.progress(place * (self.rounds + 1) + number, total, "rounds")
                found.append(asyncio.run(self._round(policy, clients, draw, tokenizer.vocab_size)))
            speeds |= self._speeds(clients, found[1:])
        units = [f"{n} clients/{k}" for n in self.clients for k in range(n * self.requests)]
        write_series(
            work.payload,
            {
                "serving.tokens": Series(
                    units, [float(self.answer_tokens)] * len(units), [1.0] * len(units)
                )
            },
        )
        asked = len(units) * (self.rounds + 1)
        tokens = asked * (self.prompt_tokens + self.answer_tokens)
        return Made(
            metrics={
                "requests": asked,
                "prompt_tokens": asked * self.prompt_tokens,
                "answer_tokens": asked * self.answer_tokens,
            },
            summary=(
                f"{asked:,} requests of {self.prompt_tokens} tokens, answered by "
                f"{self.answer_tokens}; by {', '.join(map(str, self.clients))} clients at a time",
            ),
            notes=tuple(self._note(clients, speeds) for clients in self.clients),
            tokens=tokens,
            flops=tokens * bridge.shape_of(model).forward_flops_per_token(),
            speeds=speeds,
        )

    async def _round(
        self, policy: Any, clients: int, draw: np.random.Generator, vocabulary: int
    ) -> Round:
        """Every client's requests, one after the other; the clients together."""
        size = (clients, self.requests, self.prompt_tokens)
        prompts = draw.integers(vocabulary, size=size).tolist()
        first: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(self._client(policy, each, first) for each in prompts))
        return Round(time.perf_counter() - began, first)

    async def _client(
        self, policy: Any, prompts: Sequence[Sequence[int]], first: list[float]
    ) -> None:
        for prompt in prompts:
            began, seen = time.perf_counter(), list[float]()

            def hear(_id: int, _log_prob: float, seen: list[float] = seen) -> None:
                if not seen:
                    seen.append(time.perf_counter())

            request = Request(tuple(prompt), self.answer_tokens, SAMPLING)
            answer = await policy.sample(request, hear)
            assert len(answer.ids) == self.answer_tokens, answer.finish
            first.append(seen[0] - began)

    def _speeds(self, clients: int, rounds: Sequence[Round]) -> dict[str, float]:
        answered = clients * self.requests * self.answer_tokens
        seconds = statistics.median(each.seconds for each in rounds)
        waits = statistics.median(wait for each in rounds for wait in each.first)
        return {
            f"{clients}.tokens_per_second": answered / seconds,
            f"{clients}.seconds_per_thousand": 1000 * seconds / answered,
            f"{clients}.first_token_seconds": waits,
        }

    def _note(self, clients: int, speeds: dict[str, float]) -> str:
        speed, wait = (
            speeds[f"{clients}.{name}"] for name in ("tokens_per_second", "first_token_seconds")
        )
        return (
            f"{clients} at a time: {speed:,.0f} tokens/s, {1000 * wait:.0f} ms to the first token"
        )
