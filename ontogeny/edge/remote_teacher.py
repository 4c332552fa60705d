"""A model behind a server as a player in a stage: its config, and what it spent over all sessions.

Knows no HTTP (see `remote_policy`). Which model answers is identity; where it is reached, by which
key and what it may cost is not, so a limit can be raised and the same work goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ontogeny.base.config import execution
from ontogeny.base.errors import InputError, printable
from ontogeny.base.files import read_json, write_json
from ontogeny.edge.remote_config import LimitReached, Limits, Price, RemoteConfig
from ontogeny.edge.remote_policy import RemotePolicy, connect
from ontogeny.edge.remote_spending import ONWARD
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Server:
    """A model behind an OpenAI-compatible server, asked by messages; "" without one.

    `model` is its name there and identifies the answers, with the `fields` that are sent along;
    the rest is how it is reached, see `RemoteConfig`. `price` is dollars per million tokens in and
    out. The limits hold for all sessions of a stage together.

    Raises:
        InputError: a value is out of its range, or a model is not named.
    """

    model: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    url: str = execution("")
    key_variable: str = execution("")
    plain_key: bool = execution(False)
    concurrency: int = execution(8)
    deadline_seconds: float = execution(600.0)
    price: tuple[float, ...] = execution(())
    most_requests: int | None = execution(None)
    most_tokens: int | None = execution(None)
    most_dollars: float | None = execution(None)
    requests_a_minute: float | None = execution(None)

    def __post_init__(self) -> None:
        if self.url and not self.model:
            raise InputError(
                "server.url stands without server.model; name the model, for another one may "
                "answer at the same place tomorrow"
            )
        if len(self.price) not in (0, 2):
            raise InputError(
                "server.price is dollars per million tokens in and out, as in 0.15,0.6"
            )
        self.config()

    def config(self) -> RemoteConfig:
        """How it is reached."""
        return RemoteConfig(
            self.url,
            self.model,
            self.key_variable,
            plain_key=self.plain_key,
            fields=self.fields,
            deadline_seconds=self.deadline_seconds,
            concurrency=self.concurrency,
            price=Price(*self.price) if self.price else None,
            limits=Limits(
                requests_a_minute=self.requests_a_minute,
                most_requests=self.most_requests,
                most_tokens=self.most_tokens,
                most_dollars=self.most_dollars,
            ),
        )


@dataclass(frozen=True)
class Account:
    """What was spent, kept in a file: a killed session's spending counts in the next one."""

    file: Path
    before: Mapping[str, float]

    @classmethod
    def open(cls, file: Path) -> Account:
        """The account so far."""
        return cls(file, read_json(file) if file.exists() else {})

    def left(self, config: RemoteConfig) -> RemoteConfig:
        """The config with the limits less what is spent.

        Raises:
            LimitReached: nothing is left.
        """
        limits, tokens = config.limits, self._of("prompt_tokens") + self._of("completion_tokens")
        spent = {
            "most_requests": self._of("requests"),
            "most_tokens": tokens,
            "most_dollars": self._of("dollars"),
        }
        left: dict[str, Any] = {
            name: getattr(limits, name) - value
            for name, value in spent.items()
            if getattr(limits, name) is not None
        }
        for name, value in left.items():
            if value <= 0:
                reason = f"{spent[name]:g} is spent, all that {name} allows; {ONWARD}"
                raise LimitReached(reason, file=config.url)
        whole = {name: int(left[name]) for name in ("most_requests", "most_tokens") if name in left}
        return replace(config, limits=replace(limits, **(left | whole)))

    def keep(self, spent: Mapping[str, float | None]) -> dict[str, float]:
        """Adds what this session spent, and writes the sum."""
        total = {name: self._of(name) + (value or 0.0) for name, value in spent.items()}
        write_json(self.file, total)
        return total

    def _of(self, name: str) -> float:
        return self.before.get(name, 0.0)


class Teacher:
    """`rollout.Policy` of a server; after each answer the account is written."""

    def __init__(self, policy: RemotePolicy, account: Account) -> None:
        self._policy, self._account = policy, account

    @property
    def tokenizer(self) -> Tokenizer:
        """Bytes in chat, else the model's own."""
        return self._policy.tokenizer

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """See `RemotePolicy.sample`."""
        try:
            return await self._policy.sample(request, sink)
        finally:
            self._account.keep(self._policy.spent.to_json())

    async def score(self, request: Continuation) -> Likelihood:
        """See `RemotePolicy.score`."""
        try:
            return await self._policy.score(request)
        finally:
            self._account.keep(self._policy.spent.to_json())

    def told(self) -> str:
        """What it cost so far, all sessions together, and what could not be checked of it."""
        total = self._account.keep(self._policy.spent.to_json())
        priced = self._policy.spent.dollars is not None
        cost = f"${total['dollars']:.4f} at most" if priced else "price unknown"
        spent = (
            f"{self._policy.server.model}: {total['requests']:.0f} requests, "
            f"{total['prompt_tokens']:.0f} tokens in, {total['completion_tokens']:.0f} out, {cost}"
        )
        return printable("; ".join((spent, *self._policy.server.notes)))


@contextmanager
def teacher(server: Server, account: Path) -> Iterator[Teacher]:
    """The model behind a server.

    Args:
        account: the file that keeps what it cost.

    Raises:
        InputError: it is not said where the server is, or it cannot be asked; in one line.
        LimitReached: earlier sessions have spent what may be spent.
    """
    if not server.url:
        raise InputError(
            f"server.url is not set, and nothing that '{server.model}' answered is kept here; "
            "say where it is"
        )
    with accounted(server.config(), account) as policy:
        yield policy


@contextmanager
def accounted(
    config: RemoteConfig, account: Path, tokenizer: Tokenizer | None = None
) -> Iterator[Teacher]:
    """The model behind a config whose limits hold for all sessions together; see `teacher`.

    Args:
        tokenizer: the model's own, to speak by ids.
    """
    kept = Account.open(account)
    with connect(kept.left(config), tokenizer) as policy:
        yield Teacher(policy, kept)
