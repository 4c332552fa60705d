"""The HTTP server on a socket: deadlines for slow clients, a stop that lets answers end.

Knows no schema and no model.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ontogeny.base.errors import InputError
from ontogeny.base.stop import SIGNALS
from ontogeny.serve.gate import Limits
from ontogeny.serve.library import ASGIApp, H11Protocol, uvicorn

HEAD_BYTES = 32 << 10
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 30
MARGIN_SECONDS = 2
"""After the grace, for the last words to be sent."""


class Stops(Protocol):
    """Whoever answers, when the server stops."""

    def stop(self) -> None:
        """Lets nobody new in."""
        ...

    def cut(self) -> None:
        """Ends answers under way."""
        ...

    async def close(self) -> None:
        """Nothing is left running."""
        ...


def listening(host: str, port: int, *, keyed: bool) -> socket.socket:
    """A socket that listens: whoever comes before the model is loaded waits for it.

    Bound alone, an address could be had twice, and the second server would learn it too late.

    Raises:
        InputError: the address is public and there is no key, or cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise InputError(f"no address '{host}'; give 127.0.0.1") from None
    family, kind, protocol, _, address = found[0]
    if not keyed and not all(loopback(str(each[4][0])) for each in found):
        raise InputError(
            f"'{host}' can be reached from outside and there are no keys; "
            "give --keys FILE, or serve on 127.0.0.1"
        )
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise InputError(
            f"cannot serve on {host}:{port} ({error.strerror}); give another"
        ) from None
    return bound


def loopback(address: str) -> bool:
    """Whether nobody but this machine reaches it."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


async def serve(
    app: ASGIApp,
    bound: socket.socket,
    fleet: Stops,
    limits: Limits,
    ready: Callable[[Callable[[], None]], None],
) -> None:
    """Serves until SIGTERM or Ctrl-C: nobody new comes in, answers under way have their grace.

    A second signal ends the answers at once, a third the process.

    Args:
        ready: called once it listens, with what does as a signal would (on this loop).
    """
    config = uvicorn.Config(
        app,
        http=_line(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(limits.grace_seconds) + MARGIN_SECONDS,
    )
    server = _Server(config)
    loop, signals = asyncio.get_running_loop(), 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        server.should_exit = True
        fleet.stop()
        if signals == 1:
            loop.call_later(limits.grace_seconds, fleet.cut)
        else:
            fleet.cut()

    def stop_or_end() -> None:
        if signals == 2:
            os._exit(1)
        stop()

    with contextlib.ExitStack() as stack:
        for number in SIGNALS:
            if threading.current_thread() is threading.main_thread():
                loop.add_signal_handler(number, stop_or_end)
                stack.callback(loop.remove_signal_handler, number)
        telling = loop.create_task(_when_started(server, lambda: ready(stop)))
        try:
            await server.serve(sockets=[bound])
        finally:
            telling.cancel()
            await fleet.close()


async def _when_started(server: uvicorn.Server, ready: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    ready()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `serve`'s."""
        yield


def _line(limits: Limits) -> type[H11Protocol]:
    """Connections that are dropped where a client is too slow, or one too many."""

    class Line(H11Protocol):
        """One connection."""

        _head: asyncio.TimerHandle | None = None
        _write: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """Room for it, and a deadline for its first head."""
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            else:
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            """No timer outlives it."""
            for timer in (self._head, self._write):
                if timer is not None:
                    timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """The head must be whole in time, whatever else comes."""
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._await_head()
            elif self._head is not None:
                self._head.cancel()
                self._head = None

        def pause_writing(self) -> None:
            """The client does not read."""
            super().pause_writing()
            self._write = self.loop.call_later(limits.write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            """It does again."""
            super().resume_writing()
            if self._write is not None:
                self._write.cancel()
                self._write = None

        def _await_head(self) -> None:
            if self._head is None:
                self._head = self.loop.call_later(limits.header_seconds, self.transport.abort)

    return Line
