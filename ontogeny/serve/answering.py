"""The routes that the model answers, whole or as a stream, for a client who may leave.

Knows no model: `Service` answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from ontogeny.serve.asked import Asked
from ontogeny.serve.fields import read_object
from ontogeny.serve.gate import Gate, salt_of
from ontogeny.serve.library import Message, Receive, Scope, Send
from ontogeny.serve.meters import Meters
from ontogeny.serve.reading import Gone, read_body
from ontogeny.serve.refusal import Refused
from ontogeny.serve.service import Read, Service, Told
from ontogeny.serve.shapes import DONE, Shapes, encoded, event
from ontogeny.serve.teller import Piece


@dataclass
class Note:
    """What the log tells of a request."""

    owner: str = ""
    prompt_tokens: int = 0
    sampled_tokens: int = 0
    ended: str = ""
    begun: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Answering:
    """A route that the model answers."""

    service: Service
    gate: Gate
    meters: Meters
    read: Read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of ASGI 3.

        Raises:
            Refused: nothing was sent yet.
        """
        note: Note = scope["note"]
        self.service.health.check()
        self.gate.check_rate(note.owner)
        try:
            body = await read_body(scope, receive, self.gate.limits)
            await unless_gone(self._reply(body, note, send), receive)
        except Gone:
            note.ended = "client left"

    async def _reply(self, body: bytes, note: Note, send: Send) -> None:
        with self.gate.reading():
            asked = await self.service.read(self.read, lambda: read_object(body))
        with self.gate.entered(asked.units):
            work = self._stream if asked.wanted.stream else self._whole
            await work(asked, note, send)

    async def _whole(self, asked: Asked, note: Note, send: Send) -> None:
        answers: list[list[Piece]] = [[] for _ in range(asked.units)]
        async with aclosing(self._answers(asked, note)) as told:
            async for index, piece in told:
                answers[index].append(piece)
        shapes = Shapes(asked, self.service.served)
        await _send_all(send, encoded(shapes.whole(answers)))

    async def _stream(self, asked: Asked, note: Note, send: Send) -> None:
        """The head goes out with the first piece, so what fails before has a status of its own."""
        shapes, tokens, begun = Shapes(asked, self.service.served), [0] * asked.units, False
        try:
            async with aclosing(self._answers(asked, note)) as told:
                async for index, piece in told:
                    if not begun:
                        begun = True
                        await send(_EVENTS)
                    tokens[index] = piece.tokens
                    if chunks := shapes.chunks(index, piece):
                        await _send(send, b"".join(map(event, chunks)))
        except Refused as refused:
            if not begun:
                raise
            note.ended = refused.code or "refused"
            await _send(send, event(refused.body()), more=False)
            return
        if asked.wanted.usage:
            await _send(send, event(shapes.last(tokens)))
        await _send(send, DONE, more=False)

    async def _answers(self, asked: Asked, note: Note) -> AsyncGenerator[Told, None]:
        """What the service tells, and what is counted of it."""
        note.prompt_tokens = sum(map(len, asked.prompts))
        salt = salt_of(note.owner, asked.wanted.asker)
        first = True
        answers = self.service.answers(asked, salt, self.gate.limits.seconds)
        async with aclosing(answers):
            async for index, piece in answers:
                if first:
                    self.meters.time("first_token_seconds", time.monotonic() - note.begun)
                    self.meters.add("prompt_tokens_total", note.prompt_tokens)
                    first = False
                if piece.finish:
                    note.sampled_tokens += piece.tokens
                    self.meters.add("sampled_tokens_total", piece.tokens)
                    note.ended = piece.finish
                yield index, piece


async def unless_gone(work: Awaitable[None], receive: Receive) -> None:
    """Does the work; gives it up as soon as the client has left.

    Raises:
        Gone: it has.
    """
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Gone
        await doing
    finally:
        for task in (doing, leaving):
            task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.gather(doing, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_EVENTS: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}


async def _send(send: Send, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def _send_all(send: Send, data: bytes) -> None:
    size = str(len(data)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _send(send, data, more=False)
