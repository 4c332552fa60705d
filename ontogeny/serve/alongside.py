"""A server on a free port of this machine, in threads of this process, for as long as a block.

Knows no model but the policy that it is given.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from ontogeny.serve.app import application
from ontogeny.serve.aside import Aside, Streams
from ontogeny.serve.fleet import Fleet
from ontogeny.serve.gate import Gate, Keys, Limits
from ontogeny.serve.meters import Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.server import listening, serve
from ontogeny.serve.service import Service
from ontogeny.serve.wanted import Served

HOST = "127.0.0.1"
START_SECONDS = 60.0
Stop = Callable[[], None]


@contextmanager
def alongside(
    policy: Streams, served: Served, limits: Limits, recorder: Recorder | None = None
) -> Iterator[int]:
    """Inside, the model answers on the port that is told; at the end answers are cut off.

    Raises:
        InputError: no port can be had.
        Exception: what kept the server from starting.
    """
    ready: Future[Stop] = Future()
    with listening(HOST, 0, keyed=False) as bound, Aside(policy) as aside:

        async def main() -> None:
            loop, fleet = asyncio.get_running_loop(), Fleet(Service(served, aside))
            app = application(fleet, Gate(limits), Keys({}), Meters(), recorder=recorder)

            def begun(stop: Stop) -> None:
                ready.set_result(lambda: _soon(loop, stop))

            await serve(app, bound, fleet, limits, begun)

        def live() -> None:
            try:
                asyncio.run(main())
            except BaseException as error:
                if ready.done():  # whoever asks next hears that nobody answers
                    raise
                ready.set_exception(error)

        thread = threading.Thread(target=live, name="server", daemon=True)
        thread.start()
        try:
            ready.result(START_SECONDS)
            yield int(bound.getsockname()[1])
        finally:
            with suppress(Exception):  # it has not started: its error is on its way already
                stop = ready.result(START_SECONDS)
                stop()
                stop()
            thread.join(START_SECONDS)


def _soon(loop: asyncio.AbstractEventLoop, what: Stop) -> None:
    with suppress(RuntimeError):  # it has ended
        loop.call_soon_threadsafe(what)
