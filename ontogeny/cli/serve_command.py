"""`ontogeny serve`: a model of the store behind OpenAI's API, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError, printable
from ontogeny.base.store import Store
from ontogeny.cli.arguments import at
from ontogeny.cli.serve_model import Loading
from ontogeny.feedback.channel import channel_file, read_channel
from ontogeny.serve.app import LOOPBACK, application
from ontogeny.serve.aside import Aside
from ontogeny.serve.fleet import Fleet
from ontogeny.serve.following import Following
from ontogeny.serve.gate import Gate, Keys, Limits
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.recording import Recorder, recording
from ontogeny.serve.sampled import Sampled
from ontogeny.serve.server import listening
from ontogeny.serve.server import serve as serve_http
from ontogeny.serve.service import Service
from ontogeny.serve.signals import World
from ontogeny.serve.traffic import Looking
from ontogeny.serve.wanted import Served


@dataclass(frozen=True)
class Options:
    """See `serve_options`."""

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    name: str | None = None
    channel: str | None = None
    slots: int = 4
    length: int | None = None
    waiting: int = 32
    wait_seconds: float = 30.0
    requests_a_minute: float | None = None
    weights: Literal["fp32", "int8", "bf16"] = "fp32"
    grace_seconds: float = 10.0
    ledger: Path | None = None
    sampled: float | None = None
    judge: World = "plain"
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.sampled is not None and self.ledger is None:
            raise at("--sampled", "only what a ledger keeps is judged; give --ledger FILE, too")

    @property
    def limits(self) -> Limits:
        """What is refused before anybody is kept waiting."""
        return Limits(
            slots=self.slots,
            waiting=self.waiting,
            wait_seconds=self.wait_seconds,
            requests_a_minute=self.requests_a_minute,
            grace_seconds=self.grace_seconds,
        )


def serve(reference: str | None, root: Path, options: Options) -> None:
    """Serves until a signal; the address is taken before the model is loaded.

    Args:
        reference: a model; None: the one that is live in `options.channel`, which is followed.

    Raises:
        InputError: when there is no such model or channel, a key file cannot be read, the address
            cannot be had, or it is public and there are no keys.
    """
    store = Store.open(root)
    artifact, name = _served(store, reference, options)
    keys = Keys({}) if options.keys is None else Keys.read(options.keys)
    bound = bound_to(options, keyed=bool(keys))
    with contextlib.closing(bound), contextlib.suppress(KeyboardInterrupt):
        loading = Loading(store, name, options.slots, options.length, options.weights)
        served, policy = loading.load(artifact)
        told = _told(served, artifact, bound.getsockname(), options, bool(keys))
        aside = Aside(policy)
        del policy  # whoever answers next shall find its memory free
        with recording(options.ledger) as recorder:
            asyncio.run(
                _live(Service(served, aside), loading, bound, options, keys, recorder, told)
            )
    print("stopped", file=sys.stderr)


async def _live(
    service: Service,
    loading: Loading,
    bound: socket.socket,
    options: Options,
    keys: Keys,
    recorder: Recorder | None,
    told: str,
) -> None:
    """Everything that runs on the server's event loop."""
    fleet = Fleet(service)
    meters, log = Meters(), None if options.quiet else Log()
    hosts = tuple(dict.fromkeys((*LOOPBACK, options.host.lower())))
    app = application(fleet, Gate(options.limits), keys, meters, log, hosts, recorder)
    if recorder is not None:
        loop = asyncio.get_running_loop()
        recorder.on_forgotten = lambda: _soon(loop, fleet.forget)
    if options.channel is not None:
        kept = recorder is not None
        store, name = loading.store, options.channel
        following = Following(fleet, store, name, loading.another, log, shadows=kept)
        fleet.beside(following.run())
    if options.sampled is not None and options.ledger is not None:
        sampled = Sampled(Looking(share=options.sampled, world=options.judge))
        fleet.beside(sampled.follow(options.ledger, meters, log))

    def ready(_: Callable[[], None]) -> None:
        print(told, flush=True)

    service.policy.begin()
    try:
        await serve_http(app, bound, fleet, options.limits, ready)
    finally:
        await fleet.end()


def bound_to(options: Options, *, keyed: bool) -> socket.socket:
    """The socket of the options' address.

    Raises:
        InputError: it cannot be had, or is public and there are no keys.
    """
    try:
        return listening(options.host, options.port, keyed=keyed)
    except InputError as error:
        option = "--port" if "cannot serve" in error.reason else "--host"
        raise at(option, error.reason) from None


def _served(store: Store, reference: str | None, options: Options) -> tuple[Artifact, str]:
    """The model that answers first, and what clients call it."""
    if (reference is None) == (options.channel is None):
        reason = "serve a model or the channel that names one; give ARTIFACT or --channel NAME"
        raise at("--channel", reason)
    if reference is None:
        assert options.channel is not None
        live = read_channel(store, options.channel).live
        if not store.has(live):
            raise InputError(
                f"{live}, live in '{options.channel}', is not in the store any more; make it "
                "again, or go back by `ontogeny rollback`",
                file=channel_file(store, options.channel),
            )
        return store.get(live), options.name or options.channel
    artifact = store.resolve(reference)
    called = artifact.name if artifact.id.startswith(reference) else reference
    return artifact, options.name or called


def _soon(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
        loop.call_soon_threadsafe(what)


def _told(
    served: Served, artifact: Artifact, address: tuple[str, int], options: Options, keyed: bool
) -> str:
    """What is served where, and how to try it."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{host}:{address[1]}/v1"
    route, field, said = "completions", "prompt", json.dumps("Once")
    if served.chats:
        route, field, said = (
            "chat/completions",
            "messages",
            '[{"role": "user", "content": "Hello!"}]',
        )
    body = f'{{"model": {json.dumps(served.name)}, "{field}": {said}, "max_tokens": 32}}'
    key = " -H 'authorization: Bearer KEY'" if keyed else ""
    follows = []
    if options.channel is not None:
        follows = [f"follows the channel {options.channel}: `ontogeny promote` says who answers"]
    lines = [
        f"serving {served.name} ({artifact.id}) at {url}: "
        f"{options.slots} slots of {served.context} tokens, {options.weights}; end with Ctrl-C",
        *follows,
        f"try: curl {url}/{route}{key} -H 'content-type: application/json' -d '{body}'",
    ]
    return "\n".join(printable(line) for line in lines)
