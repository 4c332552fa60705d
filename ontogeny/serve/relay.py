"""Routes that a backend answers: our keys, limits, log, meters and ledger before somebody else's.

Knows no model; `backend` asks the other server.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ontogeny.serve.answering import EVENTS, Note, answered, send_all, send_part
from ontogeny.serve.asked import Asked
from ontogeny.serve.backend import Backend, BackendFailed, Reply
from ontogeny.serve.fields import read_object
from ontogeny.serve.gate import Gate
from ontogeny.serve.health import Health
from ontogeny.serve.hearing import Hearing
from ontogeny.serve.library import Receive, Scope, Send
from ontogeny.serve.meters import Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.refusal import Refused
from ontogeny.serve.relay_asked import EmbeddingRelayed, Relayed, Understands, sent
from ontogeny.serve.relay_told import Retelling
from ontogeny.serve.service import READERS
from ontogeny.serve.shapes import DONE, encoded_apart, event

JSON, STREAM = "application/json", "text/event-stream"


class Relay:
    """A backend that answers for us. Belongs to one event loop.

    Attributes:
        deaths, late_seconds: see `health.Alive`; a backend's own affair.
    """

    deaths = 0
    late_seconds = 0.0

    def __init__(self, backend: Backend, model: Relayed, seconds: float) -> None:
        self.backend, self.model = backend, model
        self.health = Health(self, backend.models)
        self._seconds = seconds
        self._secret = secrets.token_bytes(32)
        self._readers = ThreadPoolExecutor(READERS, "body")
        self._under_way: set[asyncio.Timeout] = set()
        self._doubts: set[asyncio.Task[None]] = set()
        self._cut = False

    def check(self) -> None:
        """Lets nobody in where there is no answer to be had.

        Raises:
            Refused: 503.
        """
        self.health.check()

    async def parsed(self, data: bytes) -> Mapping[str, Any]:
        """A body's JSON, read aside.

        Raises:
            Refused: 400; it is none.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, read_object, data)

    async def understood(self, understands: Understands, body: Mapping[str, Any]) -> Any:
        """What a body asks for, understood aside.

        Raises:
            Refused: 400 or 404.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, understands, body, self.model)

    async def encoded(self, told: Mapping[str, Any], rows: str) -> bytes:
        """An answer as JSON, made aside; `rows` is where most of it is."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, encoded_apart, told, rows)

    def person(self, owner: str, asker: str) -> str:
        """Who asks, as the backend is told it: it can tell them apart and knows no name."""
        if not owner and not asker:
            return ""
        data = f"{owner}\x1e{asker}".encode()
        return hmac.new(self._secret, data, hashlib.sha256).hexdigest()[:32]

    @asynccontextmanager
    async def asked(self, path: str, body: Mapping[str, Any], kind: str) -> AsyncIterator[Reply]:
        """The backend's answer, for so long and until `cut`; leaving ends it there, too.

        Raises:
            Refused: its own 4xx; 502 or 503 with the seconds to wait where it failed.
        """
        if self._cut:
            raise self.health.unavailable("stopping")
        try:
            async with asyncio.timeout(self._seconds) as timer:
                self._under_way.add(timer)
                try:
                    async with self.backend.asked(path, body, kind) as reply:
                        yield reply
                finally:
                    self._under_way.discard(timer)
        except TimeoutError:
            if self._cut:
                raise self.health.unavailable("stopping") from None
            self._doubt()
            reason = f"not answered within {self._seconds:g} s; ask for less"
            raise Refused(reason, 503, code="deadline", retry_after=1) from None
        except BackendFailed as failed:
            raise self._refusal(failed) from None

    def _refusal(self, failed: BackendFailed) -> Refused:
        if failed.busy_seconds is not None:
            self._doubt()
            reason, wait = "the backend has no room; try again", failed.busy_seconds
            return Refused(reason, 503, code="overloaded", retry_after=wait)
        if failed.lost:
            self.health.failed(str(failed))
        else:  # by what it was asked, perhaps: nobody else shall wait for that
            self._doubt()
        return Refused("the backend failed; try again", 502, code="bad_gateway", retry_after=1)

    def _doubt(self) -> None:
        """Whether it still answers is looked at; only if not, nobody is let in."""
        if not self._doubts:
            task = asyncio.get_running_loop().create_task(self._look())
            self._doubts.add(task)
            task.add_done_callback(self._doubts.discard)

    async def _look(self) -> None:
        try:
            await self.backend.models()
        except BackendFailed as failed:
            self.health.failed(str(failed))

    def stop(self) -> None:
        """Lets nobody new in; answers under way go on."""
        self.health.stopping = True

    def cut(self) -> None:
        """Ends all answers under way, and those yet to begin."""
        self._cut = True
        for timer in self._under_way:
            if not timer.expired():  # one that is ending cannot be set again
                timer.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Nothing is left running."""
        for task in self._doubts:
            task.cancel()
        await asyncio.gather(*self._doubts, return_exceptions=True)
        await self.health.end()
        self._readers.shutdown(wait=False, cancel_futures=True)
        await self.backend.close()


@dataclass(frozen=True)
class Relaying:
    """A route that the backend answers.

    Args:
        path: of the backend's route, behind its root.
        understands: checks a body.
    """

    relay: Relay
    gate: Gate
    meters: Meters
    path: str
    understands: Understands
    recorder: Recorder | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of ASGI 3.

        Raises:
            Refused: nothing was sent yet.
        """
        self.relay.check()
        await answered(self._reply, self.gate, scope, receive, send)

    async def _reply(self, data: bytes, note: Note, send: Send) -> None:
        with self.gate.reading():
            body = await self.relay.parsed(data)
            asked = await self.relay.understood(self.understands, body)
        if isinstance(asked, EmbeddingRelayed):
            with self.gate.entered(1):
                await self._vectors(body, asked, note, send)
            return
        with self.gate.entered(asked.units):
            person = self.relay.person(note.owner, asked.wanted.asker)
            goes = sent(body, self.relay.model, person, asked.wanted)
            work = self._stream if asked.wanted.stream else self._whole
            await work(goes, asked, note, send)

    async def _whole(self, goes: Any, asked: Asked, note: Note, send: Send) -> None:
        retelling = Retelling(asked, self.relay.model)
        hearing = self._hearing(retelling, asked, note)
        async with self.relay.asked(self.path, goes, JSON) as reply:
            told = retelling.told(await reply.value())
            for index, piece in retelling.pieces(told["choices"], "message"):
                hearing.hear(index, piece)
        await self._end(retelling, hearing, note)
        await send_all(send, await self.relay.encoded(told, "choices"))

    async def _stream(self, goes: Any, asked: Asked, note: Note, send: Send) -> None:
        """The head goes out with the first event, so what fails before has a status of its own."""
        retelling, begun = Retelling(asked, self.relay.model), False
        hearing = self._hearing(retelling, asked, note)
        try:
            async with (
                self.relay.asked(self.path, goes, STREAM) as reply,
                aclosing(reply.events()) as events,
            ):
                async for each in events:
                    told = retelling.told(each)
                    for index, piece in retelling.pieces(told["choices"], "delta"):
                        hearing.hear(index, piece)
                    if not begun:
                        begun = True
                        self.meters.time("first_token_seconds", time.monotonic() - note.begun)
                        await send(EVENTS)
                    if retelling.passes(told):
                        await send_part(send, event(told))
            await self._end(retelling, hearing, note)
        except Refused as refused:
            if not begun:
                raise
            note.ended = refused.code or "refused"
            await send_part(send, event(refused.body()), more=False)
            return
        finally:
            hearing.cut()
        if not begun:
            await send(EVENTS)
        await send_part(send, DONE, more=False)

    async def _vectors(
        self, body: Mapping[str, Any], asked: EmbeddingRelayed, note: Note, send: Send
    ) -> None:
        person = self.relay.person(note.owner, asked.asker)
        goes = sent(body, self.relay.model, person, None)
        async with self.relay.asked(self.path, goes, JSON) as reply:
            told = await reply.value()
            if not isinstance(told.get("data"), list):
                raise BackendFailed("its answer has no data")
        note.ended = "embedded"
        told = {**told, "model": self.relay.model.name}
        await send_all(send, await self.relay.encoded(told, "data"))

    def _hearing(self, retelling: Retelling, asked: Asked, note: Note) -> Hearing:
        about = (self.recorder, self.meters, asked, self.relay.model)
        return Hearing(*about, owner=note.owner, id_=retelling.id)

    async def _end(self, retelling: Retelling, hearing: Hearing, note: Note) -> None:
        """All was heard: it is counted and kept."""
        note.prompt_tokens = hearing.prompt_tokens = retelling.prompt_tokens
        note.sampled_tokens = retelling.sampled_tokens
        self.meters.add("prompt_tokens_total", note.prompt_tokens)
        self.meters.add("sampled_tokens_total", note.sampled_tokens)
        for index, piece in retelling.ends():
            hearing.hear(index, piece)
            note.ended = piece.finish or ""
        await hearing.end()
