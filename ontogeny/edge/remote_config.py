"""How a remote policy is reached and what it may spend: plain data. Knows no HTTP."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ontogeny.base.config import execution
from ontogeny.base.errors import InputError, NoSpace

Kind = Literal["vllm", "llama.cpp", "ollama", "openai", "other"]
Speaks = Literal["chat", "tokens"]
_OURS = ("messages", "prompt", "stream", "stream_options", "model", "n")


class LimitReached(NoSpace):
    """A limit of the config is reached; what was answered before is kept by the journal.

    It exits as a full disk does (4): what was set aside does not suffice, nothing is lost, and
    going on is a person's decision. Not 75: schedulers run again what exits so, without end.
    """


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in dollars. Cached ones count in full, so a sum is a bound."""

    dollars_per_million_in: float
    dollars_per_million_out: float

    def __post_init__(self) -> None:
        for value in (self.dollars_per_million_in, self.dollars_per_million_out):
            if not 0.0 <= value < math.inf:
                raise InputError(f"a price of {value}; give dollars per million tokens")


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be asked for; None is without limit.

    Args:
        requests_a_minute: requests are spread this thin.
        tokens_a_minute: prompt and longest answer together, corrected by what was used.
        most_requests: sent in all, repeated ones too.
        most_tokens: read and written in all.
        most_dollars: in all; needs a price.
    """

    requests_a_minute: float | None = None
    tokens_a_minute: float | None = None
    most_requests: int | None = None
    most_tokens: int | None = None
    most_dollars: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} is {value}; give more than 0, or leave it out")


NO_LIMITS = Limits()


@dataclass(frozen=True)
class RemoteConfig:
    """A model behind an OpenAI-compatible server.

    What answers is identity; where it is reached, by which key and what it may cost is not.

    Args:
        url: of the API, as in http://127.0.0.1:8000/v1.
        model: its name there; "" where the server has one.
        key_variable: the environment variable that holds the key; "" without a key. The key
            itself stands in no config, record or message.
        plain_key: send the key over http, too, where whoever carries it can read it. To this
            machine itself it always is.
        speaks: "chat" sends messages and gets text, from any server; "tokens" sends ids and gets
            ids with log-probs, from vLLM and llama.cpp's server.
        server: what it runs; "auto" sees for itself.
        log_probs: ask for them in chat, too (tokens always have them); not every model gives them.
        fields: sent with each request as they stand, over ours; None leaves one of ours out
            ({"seed": None} for a server that refuses it).
        deadline_seconds: of one completion with all that is asked for it and its retries; waiting
            for our own limits is not in it.
        most_retries: of one request.
        concurrency: requests under way at once.
        price: of this model; None is unknown.
        limits: of all requests of one policy together.

    Raises:
        InputError: a value is out of its range, or a limit in dollars stands without a price.
    """

    url: str = field(metadata={"execution": True})
    model: str = ""
    key_variable: str = execution("")
    plain_key: bool = execution(False)
    speaks: Speaks = "chat"
    server: Literal["auto", "vllm", "llama.cpp", "ollama", "openai", "other"] = "auto"
    log_probs: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    deadline_seconds: float = execution(600.0)
    most_retries: int = execution(6)
    concurrency: int = execution(8)
    price: Price | None = execution(None)
    limits: Limits = execution(NO_LIMITS)

    def __post_init__(self) -> None:
        if self.speaks not in get_args(Speaks):
            raise InputError(f"speaks is '{self.speaks}'; give chat or tokens")
        if self.server not in ("auto", *get_args(Kind)):
            raise InputError(f"no server '{self.server}'; give auto, {', '.join(get_args(Kind))}")
        if self.key_variable and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.key_variable):
            raise InputError(
                "key_variable is no name of an environment variable in capitals; put the key into "
                "one, say OPENAI_API_KEY, and name that"
            )
        if not 0.0 < self.deadline_seconds < math.inf or self.most_retries < 0:
            raise InputError("deadline_seconds must be above 0 and most_retries at least 0")
        if self.concurrency < 1:
            raise InputError(f"concurrency is {self.concurrency}; give at least 1")
        if self.limits.most_dollars is not None and self.price is None:
            raise InputError(
                "most_dollars needs the price of the model; give price, in dollars per million "
                "tokens in and out"
            )
        for name in self.fields:
            if name in _OURS:
                raise InputError(f"the field '{name}' is ours; leave it out of fields")

    def key(self) -> str:
        """The key, "" without one.

        Raises:
            InputError: the variable is not set, or holds what no header may.
        """
        if not self.key_variable:
            return ""
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise InputError(f"the environment variable {self.key_variable} holds no key; set it")
        if not re.fullmatch(r"[!-~]+", key):
            raise InputError(f"the key in {self.key_variable} has spaces or odd characters")
        return key
