"""`ontogeny serve`: a model of the store behind OpenAI's API, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError, printable
from ontogeny.base.store import Store
from ontogeny.cli.arguments import at
from ontogeny.serve.app import LOOPBACK, application
from ontogeny.serve.aside import Aside
from ontogeny.serve.gate import Gate, Keys, Limits
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.server import listening
from ontogeny.serve.server import serve as serve_http
from ontogeny.serve.service import Service
from ontogeny.serve.wanted import Served

PREFILL_TOKENS = 512
"""Prompt tokens read by one step: answers under way wait for no more than these."""


@dataclass(frozen=True)
class Options:
    """See `serve_options`."""

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    name: str | None = None
    slots: int = 4
    length: int | None = None
    waiting: int = 32
    wait_seconds: float = 30.0
    requests_a_minute: float | None = None
    weights: Literal["fp32", "int8", "bf16"] = "fp32"
    grace_seconds: float = 10.0
    quiet: bool = False


def serve(reference: str, root: Path, options: Options) -> None:
    """Serves until a signal; the address is taken before the model is loaded.

    Raises:
        InputError: when there is no such model, a key file cannot be read, the address cannot be
            had, or it is public and there are no keys.
    """
    artifact = Store.open(root).resolve(reference)
    keys = Keys({}) if options.keys is None else Keys.read(options.keys)
    try:
        bound = listening(options.host, options.port, keyed=bool(keys))
    except InputError as error:
        option = "--port" if "cannot serve" in error.reason else "--host"
        raise at(option, error.reason) from None
    with contextlib.closing(bound), contextlib.suppress(KeyboardInterrupt):
        limits = Limits(
            slots=options.slots,
            waiting=options.waiting,
            wait_seconds=options.wait_seconds,
            requests_a_minute=options.requests_a_minute,
            grace_seconds=options.grace_seconds,
        )
        policy, tokenizer = bridge.load_policy(
            artifact,
            options.slots,
            options.length,
            admission="ready",
            weights=options.weights,
            prefill_tokens=PREFILL_TOKENS,
        )
        served = Served(
            name=options.name
            or (artifact.name if artifact.id.startswith(reference) else reference),
            id=artifact.id,
            created=int(time.time()),
            context=bridge.context_of(policy),
            tokenizer=tokenizer,
            chats=bridge.chats(artifact),
        )

        async def live() -> None:
            service = Service(served, aside)
            meters, log = Meters(), None if options.quiet else Log()
            hosts = tuple(dict.fromkeys((*LOOPBACK, options.host.lower())))
            app = application(service, Gate(limits), keys, meters, log, hosts)

            def ready(_: Callable[[], None]) -> None:
                print(_told(served, artifact, bound.getsockname(), options, bool(keys)), flush=True)

            await serve_http(app, bound, service, limits, ready)

        with Aside(policy) as aside:
            asyncio.run(live())
    print("stopped", file=sys.stderr)


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
    lines = [
        f"serving {served.name} ({artifact.id}) at {url}: "
        f"{options.slots} slots of {served.context} tokens, {options.weights}; end with Ctrl-C",
        f"try: curl {url}/{route}{key} -H 'content-type: application/json' -d '{body}'",
    ]
    return "\n".join(printable(line) for line in lines)
