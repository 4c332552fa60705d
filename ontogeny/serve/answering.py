"""The routes that a model answers, whole or as a stream, for a client who may leave.

Knows no model: the `Service` that `Fleet` chooses answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

from ontogeny.serve.asked import Asked
from ontogeny.serve.fleet import Chosen, Fleet
from ontogeny.serve.gate import Gate, salt_of
from ontogeny.serve.hearing import Hearing
from ontogeny.serve.library import Message, Receive, Scope, Send
from ontogeny.serve.meters import Meters
from ontogeny.serve.reading import Gone, read_body
from ontogeny.serve.recording import Recorder
from ontogeny.serve.refusal import Refused
from ontogeny.serve.service import Read, Service, Told
from ontogeny.serve.shadow import Repeat, Shadowing
from ontogeny.serve.shapes import DONE, Shapes, event
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

    fleet: Fleet
    gate: Gate
    meters: Meters
    read: Read
    shadowing: Shadowing
    recorder: Recorder | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of ASGI 3.

        Raises:
            Refused: nothing was sent yet.
        """
        self.fleet.check()
        await answered(self._reply, self.gate, scope, receive, send)

    async def _reply(self, data: bytes, note: Note, send: Send) -> None:
        with ExitStack() as held:
            with self.gate.reading():
                body = await self.fleet.parsed(data)
                chosen = held.enter_context(self.fleet.chosen(note.owner, body))
                asked = await chosen.service.read(self.read, body)
            with self.gate.entered(asked.units):
                work = self._stream if asked.wanted.stream else self._whole
                id_ = await work(chosen, asked, note, send)
        if id_ is None:
            return
        self.meters.add("answers_total", arm=chosen.arm)
        if chosen.shadow is not None and asked.said:  # else no ledger would keep its answer
            self.shadowing.offer(Repeat(chosen.shadow, body, self.read, note.owner, id_))

    async def _whole(self, chosen: Chosen, asked: Asked, note: Note, send: Send) -> str | None:
        shapes = Shapes(asked, chosen.service.served)
        hearing = self._hearing(chosen, asked, note, shapes.id)
        answers: list[list[Piece]] = [[] for _ in range(asked.units)]
        async with aclosing(self._answers(chosen.service, asked, note)) as told:
            async for index, piece in told:
                answers[index].append(piece)
                hearing.hear(index, piece)
        await hearing.end()
        await send_all(send, await _made(lambda: shapes.encoded(answers), asked.scores))
        return shapes.id

    async def _stream(self, chosen: Chosen, asked: Asked, note: Note, send: Send) -> str | None:
        """The head goes out with the first piece, so what fails before has a status of its own.

        Returns:
            The response's id; None where it failed on the way.
        """
        shapes = Shapes(asked, chosen.service.served)
        tokens, begun = [0] * asked.units, False
        hearing = self._hearing(chosen, asked, note, shapes.id)
        try:
            async with aclosing(self._answers(chosen.service, asked, note)) as told:
                async for index, piece in told:
                    if not begun:
                        begun = True
                        await send(EVENTS)
                    tokens[index] = piece.tokens
                    hearing.hear(index, piece)
                    chunks = partial(_events, shapes, index, piece)
                    if data := await _made(chunks, bool(piece.prompt)):
                        await send_part(send, data)
            await hearing.end()
        except Refused as refused:
            if not begun:
                raise
            note.ended = refused.code or "refused"
            await send_part(send, event(refused.body()), more=False)
            return None
        finally:
            hearing.cut()
        if asked.wanted.usage:
            await send_part(send, event(shapes.last(tokens)))
        await send_part(send, DONE, more=False)
        return shapes.id

    def _hearing(self, chosen: Chosen, asked: Asked, note: Note, id_: str) -> Hearing:
        served = chosen.service.served
        about = (self.recorder, self.meters, asked, served)
        return Hearing(*about, owner=note.owner, id_=id_, arm=chosen.arm)

    async def _answers(
        self, service: Service, asked: Asked, note: Note
    ) -> AsyncGenerator[Told, None]:
        """What the service tells, and what is counted of it."""
        note.prompt_tokens = sum(map(len, asked.prompts))
        salt = salt_of(note.owner, asked.wanted.asker)
        first = True
        answers = service.answers(asked, salt, self.gate.limits.seconds)
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


def _events(shapes: Shapes, index: int, piece: Piece) -> bytes:
    return b"".join(map(event, shapes.chunks(index, piece)))


async def _made(make: Callable[[], bytes], large: bool) -> bytes:
    """What is to be sent; made aside where it holds log-probs of prompts, which takes seconds."""
    return await asyncio.get_running_loop().run_in_executor(None, make) if large else make()


async def answered(
    reply: Callable[[bytes, Note, Send], Awaitable[None]],
    gate: Gate,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """One request: its key's rate, its body, and `reply` to it for as long as the client stays.

    Raises:
        Refused: nothing was sent yet.
    """
    note: Note = scope["note"]
    gate.check_rate(note.owner)
    try:
        data = await read_body(scope, receive, gate.limits)
        await unless_gone(reply(data, note, send), receive)
    except Gone:
        note.ended = "client left"


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


EVENTS: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}
"""The head of a stream."""


async def send_part(send: Send, data: bytes, *, more: bool = True) -> None:
    """A part of an answer's body."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def send_all(send: Send, data: bytes) -> None:
    """A whole answer of JSON."""
    size = str(len(data)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send_part(send, data, more=False)
