"""What tests of remote policies share: a prompt, configs, and time that passes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.openai_server import OpenAIServer, serving

from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_policy import RemotePolicy, connect
from ontogeny.edge.remote_spending import Waiting
from ontogeny.rollout.policy import Completion, Request, sample_all
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.message import Message
from ontogeny.text.template import render


def prompt(text: str = "hi") -> tuple[int, ...]:
    """A question to a chat."""
    return render([Message("user", text)], byte_tokenizer(), generation_prompt=True).ids


def text_of(completion: Completion) -> str:
    """What a chat answered."""
    return byte_tokenizer().decode(completion.ids)


def answers(policy: RemotePolicy, count: int = 1, **fields: Any) -> list[Completion]:
    """Its answers to so many questions, asked together."""
    request = Request(prompt(), **{"max_tokens": 20, **fields})
    return sample_all(policy, [request] * count)


@dataclass
class Time:
    """A clock that only sleeping moves, and dice that always fall alike."""

    draw: float = 0.5
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Takes no time."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def waiting(self) -> Waiting:
        """This time, for a policy."""
        return Waiting(lambda: self.now, self.sleep, lambda: self.draw)


@contextmanager
def asked(
    answer: Any, time: Time | None = None, models: Any = None, **config: Any
) -> Iterator[tuple[OpenAIServer, RemotePolicy]]:
    """A server that answers so, and a policy on it."""
    with serving(answer, models) as server:
        waiting = (time or Time()).waiting()
        with connect(RemoteConfig(server.url, **config), waiting=waiting) as policy:
            yield server, policy
