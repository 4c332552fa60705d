"""A rollout policy on a server that speaks OpenAI's API: vLLM, llama.cpp, Ollama, or a vendor.

    with connect(RemoteConfig("http://127.0.0.1:8000/v1")) as policy:
        answers = drive_all(flows(policy.tokenizer), policy, admission="ready")
        print(policy.spent)

Knows no HTTP: how it is spoken to stands in the modules `remote_*` beside this one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from ontogeny.base.errors import InputError, OntogenyError
from ontogeny.edge.remote_asking import Asker
from ontogeny.edge.remote_chat import Chat
from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_http import Client, address_of
from ontogeny.edge.remote_llama_cpp import LlamaCpp
from ontogeny.edge.remote_server import Served, check_tokenizer, served
from ontogeny.edge.remote_spending import Meter, Spent, Waiting
from ontogeny.edge.remote_tokens import VLLM
from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink
from ontogeny.text.tokenizer import Tokenizer


class _Speech(Protocol):
    """One way to ask a server."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    async def sample(self, request: Request, sink: Sink | None) -> Completion: ...

    async def score(self, request: Continuation) -> Likelihood: ...


class RemotePolicy:
    """`rollout.Policy` on a server; made by `connect`.

    Versions are 0 throughout: a server does not say when its weights change. In chat log-probs are
    NaN wherever it does not say them; only completions of ids (speaks="tokens") can be trained on
    as rollouts. One event loop at a time; loops may follow one another.

    Attributes:
        server: what answers, and what of it could not be checked.
    """

    def __init__(self, speech: _Speech, asker: Asker, server: Served) -> None:
        self._speech, self._asker = speech, asker
        self.server = server

    @property
    def tokenizer(self) -> Tokenizer:
        """What a flow renders its prompts with: bytes in chat, else the model's own."""
        return self._speech.tokenizer

    @property
    def spent(self) -> Spent:
        """Requests, tokens and dollars so far."""
        return self._asker.meter.spent

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """One completion, streamed where a sink listens.

        Cancelling the task closes the connection, so the server frees the slot. Where a stream
        breaks off, the request is not repeated: whoever listens has heard its beginning.

        Raises:
            InputError: the server cannot do what is asked, or did not answer; in one line.
            LimitReached: a limit of the config; the run's journal holds what was answered.
            Exception: what the sink raised.
        """
        with self._named():
            return await self._speech.sample(request, sink)

    async def score(self, request: Continuation) -> Likelihood:
        """Log-probs of a given continuation, of servers that are asked by ids.

        Raises:
            InputError, LimitReached: see `sample`.
        """
        with self._named():
            return await self._speech.score(request)

    def close(self) -> None:
        """Closes the connections that are kept open."""
        self._asker.client.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors that name no file are about this server."""
        try:
            yield
        except OntogenyError as error:
            error.file = error.file or self._asker.client.address.url
            raise

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()


def connect(
    config: RemoteConfig,
    tokenizer: Tokenizer | None = None,
    *,
    waiting: Waiting | None = None,
    context: ssl.SSLContext | None = None,
) -> RemotePolicy:
    """A policy on the server of `config`, once it answered; blocks. See `reach`."""
    return asyncio.run(reach(config, tokenizer, waiting=waiting, context=context))


async def reach(
    config: RemoteConfig,
    tokenizer: Tokenizer | None = None,
    *,
    waiting: Waiting | None = None,
    context: ssl.SSLContext | None = None,
) -> RemotePolicy:
    """A policy on the server of `config`, once it answered.

    Args:
        tokenizer: the model's own, to speak by ids; it is compared with the server's.
        waiting: clock and dice of pace and retries.
        context: of TLS, in place of the machine's trusted authorities.

    Raises:
        InputError: nobody answers, the key or the model is not known there, or the server cannot
            be spoken to in this way; in one line.
    """
    client = Client(address_of(config.url), context)
    try:
        asker = Asker(client, config, Meter(config, waiting or Waiting()))
        server = await served(asker)
        if config.speaks == "chat":
            return RemotePolicy(Chat(asker, server), asker, server)
        own = _own(server, tokenizer, client.address.url)
        if unchecked := await check_tokenizer(asker, server, own):
            server = replace(server, notes=(*server.notes, unchecked))
        speech = VLLM if server.kind == "vllm" else LlamaCpp
        return RemotePolicy(speech(asker, server, own), asker, server)
    except BaseException:
        client.close()
        raise


def _own(server: Served, tokenizer: Tokenizer | None, url: str) -> Tokenizer:
    """The tokenizer of a model that is asked by ids.

    Raises:
        InputError: there is none, or the server takes no ids.
    """
    if server.kind not in ("vllm", "llama.cpp"):
        raise InputError(
            "this server does not take token ids (vLLM and llama.cpp's do; if it is one of them, "
            "say so by server=); ask by messages (speaks=chat)",
            file=url,
        )
    if tokenizer is None:
        raise InputError("speaking by ids needs the model's tokenizer; give it, or speaks=chat")
    return tokenizer
