"""A small model served for real: in this process without sockets, or on a port in a thread."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, TextIO, TypeVar

from support.bench import small_tokenizer, sometimes_right

from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.infer.engine import Engine
from ontogeny.serve.app import Front, application
from ontogeny.serve.aside import Aside
from ontogeny.serve.fleet import Fleet
from ontogeny.serve.gate import Gate, Keys, Limits
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.server import listening, serve
from ontogeny.serve.service import Service
from ontogeny.serve.wanted import Served

T = TypeVar("T")
NAME = "small"
CONTEXT = 4000
SAY = {"model": NAME, "messages": [{"role": "user", "content": "Say"}], "max_tokens": 5}
KEY, OTHER = "k" * 16, "o" * 16


@functools.cache
def model() -> Any:
    """One for all tests; none of them keeps a change."""
    return sometimes_right(CONTEXT)


def policy(slots: int = 4) -> LocalPolicy:
    """A fresh engine behind it."""
    engine = Engine(model(), slots, CONTEXT, admission="ready", prefill_tokens=512)
    return LocalPolicy(engine, small_tokenizer())


def served(*, chats: bool = True) -> Served:
    """What is told of it."""
    return Served(NAME, "0123456789abcdef", 1, CONTEXT, small_tokenizer(), chats)


def endless(most: int = 3900, **more: Any) -> dict[str, Any]:
    """A request whose answer does not end by itself."""
    ends = {str(id_): -100 for id_ in small_tokenizer().stops(chats=True)}
    return SAY | {"max_tokens": most, "logit_bias": ends, "seed": 1} | more


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def events(self) -> list[Any]:
        """Of a stream; the last line must be [DONE]."""
        *lines, last, _ = self.body.decode().split("\n\n")
        assert last == "data: [DONE]", last
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@dataclass
class Inside:
    """An application without a socket."""

    app: Front
    service: Service
    policy: LocalPolicy
    gate: Gate
    fleet: Fleet

    async def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        leaves: asyncio.Event | None = None,
    ) -> Reply:
        """One request; a body that is no bytes goes as JSON. Status 0: the client left first."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"content-type": "application/json", "host": "localhost"} | dict(headers or {})
        sent: list[Any] = []
        coming = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            if not coming:
                await (leaves or asyncio.Event()).wait()
                return {"type": "http.disconnect"}
            return coming.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in told.items()],
        }
        await self.app(scope, receive, send)
        if not sent:
            return Reply(0, {}, b"")
        head = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Reply(sent[0]["status"], head, b"".join(each["body"] for each in sent[1:]))

    async def chat(self, **more: Any) -> Reply:
        """A short chat."""
        return await self.ask("/v1/chat/completions", SAY | more)


def inside(
    play: Callable[[Inside], Awaitable[T]],
    limits: Limits | None = None,
    keys: Mapping[str, str] | None = None,
    log: TextIO | None = None,
    *,
    chats: bool = True,
    clock: Callable[[], float] | None = None,
    of: Any = None,
    recorder: Recorder | None = None,
) -> T:
    """Plays with an application on an event loop of its own."""
    limits = limits or Limits(slots=4, waiting=60)
    local = of or policy(limits.slots)

    async def main(aside: Aside) -> T:
        service = Service(served(chats=chats), aside)
        gate = Gate(limits, clock) if clock else Gate(limits)
        told = None if log is None else Log(log)
        fleet = Fleet(service)
        app = application(fleet, gate, Keys(keys or {}), Meters(), told, recorder=recorder)
        try:
            return await play(Inside(app, service, local, gate, fleet))
        finally:
            await fleet.end()

    with Aside(local) as aside:
        return asyncio.run(main(aside))


@dataclass
class Live:
    """A server on a port of this machine."""

    port: int
    service: Service
    policy: LocalPolicy
    stop: Callable[[], None]

    def ask(self, path: str, body: Any = None, method: str = "", **headers: str) -> Reply:
        """One request on a connection of its own."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            told = {"content-type": "application/json"} | headers
            data = None if body is None else json.dumps(body)
            line.request(method or ("GET" if body is None else "POST"), path, data, told)
            reply = line.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())

    def raw(self, data: bytes, *, seconds: float = 10.0) -> bytes:
        """What the server says to these bytes until it closes, or falls silent so long."""
        with self.line() as line:
            line.settimeout(seconds)
            found = b""
            try:
                line.sendall(data)
                while part := line.recv(65536):
                    found += part
            except OSError:
                pass
            return found

    def line(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def live(
    limits: Limits | None = None,
    keys: Mapping[str, str] | None = None,
    recorder: Recorder | None = None,
) -> Iterator[Live]:
    """A server in a thread."""
    limits = limits or Limits(slots=4, waiting=60)
    bound, local = listening("127.0.0.1", 0, keyed=False), policy(limits.slots)
    ready = threading.Event()
    found: list[Live] = []

    async def main(aside: Aside) -> None:
        service, loop = Service(served(), aside), asyncio.get_running_loop()
        fleet = Fleet(service)
        app = application(fleet, Gate(limits), Keys(keys or {}), Meters(), recorder=recorder)

        def begun(stop: Callable[[], None]) -> None:
            def halt() -> None:
                loop.call_soon_threadsafe(stop)

            found.append(Live(bound.getsockname()[1], service, local, halt))
            ready.set()

        await serve(app, bound, fleet, limits, begun)

    with bound, Aside(local) as aside:
        thread = threading.Thread(target=lambda: asyncio.run(main(aside)))
        thread.start()
        assert ready.wait(20)
        try:
            yield found[0]
        finally:
            found[0].stop()
            found[0].stop()
            thread.join(20)
            assert not thread.is_alive()
