"""Our front before another server, in this process, on a port in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from serve.running import NAME, Live

from ontogeny.serve.backend import Backend, Upstream
from ontogeny.serve.gate import Gate, Keys, Limits
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.relay import Relay
from ontogeny.serve.relay_app import relaying_application
from ontogeny.serve.relay_asked import Relayed
from ontogeny.serve.server import listening, serve

PUBLIC = "public"
"""What clients call the backend's model."""


@dataclass
class Gateway(Live):
    """A gateway on a port of this machine."""

    relay: Relay
    gate: Gate
    loop: asyncio.AbstractEventLoop

    def until(self, true: Callable[[], bool]) -> None:
        """Waits on the gateway's loop until this is true there."""

        async def wait() -> None:
            async with asyncio.timeout(20):
                while not true():
                    await asyncio.sleep(0.005)

        asyncio.run_coroutine_threadsafe(wait(), self.loop).result(30)


@contextmanager
def gateway(
    url: str,
    limits: Limits | None = None,
    keys: Mapping[str, str] | None = None,
    *,
    key: str = "",
    model: str = NAME,
    recorder: Recorder | None = None,
    log: TextIO | None = None,
) -> Iterator[Gateway]:
    """A gateway before the server at `url`."""
    limits = limits or Limits(slots=4, waiting=60)
    bound, ready, found = listening("127.0.0.1", 0, keyed=False), threading.Event(), []

    async def main() -> None:
        relay = Relay(Backend(Upstream(url, key)), Relayed(PUBLIC, model, 1), limits.seconds)
        gate, loop = Gate(limits), asyncio.get_running_loop()
        told = None if log is None else Log(log)
        known = Keys(keys or {})
        app = relaying_application(relay, gate, known, Meters(), told, recorder=recorder)

        def begun(stop: Callable[[], None]) -> None:
            def halt() -> None:
                loop.call_soon_threadsafe(stop)

            port: Any = bound.getsockname()[1]
            nothing: Any = None
            found.append(Gateway(port, nothing, nothing, halt, relay, gate, loop))
            ready.set()

        await serve(app, bound, relay, limits, begun)

    with bound:
        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        assert ready.wait(20)
        try:
            yield found[0]
        finally:
            found[0].stop()
            found[0].stop()
            thread.join(20)
            assert not thread.is_alive()
