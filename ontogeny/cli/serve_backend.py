"""`ontogeny serve --backend`: our front before another server, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError, printable
from ontogeny.cli.arguments import at
from ontogeny.cli.serve_command import Options, bound_to
from ontogeny.serve.app import LOOPBACK
from ontogeny.serve.backend import Backend, BackendFailed, Upstream
from ontogeny.serve.gate import Gate, Keys
from ontogeny.serve.meters import Log, Meters
from ontogeny.serve.recording import Recorder, recording
from ontogeny.serve.relay import Relay
from ontogeny.serve.relay_app import relaying_application
from ontogeny.serve.relay_asked import MOST_CONTEXT, Relayed
from ontogeny.serve.server import serve as serve_http

_KEY = re.compile(r"[!-~]{1,500}")


@dataclass(frozen=True)
class Behind:
    """See `serve_options`: where the other server is, which of its models, where its key lies."""

    url: str | None
    model: str | None = None
    key_file: Path | None = None


def serve(reference: str | None, behind: Behind, options: Options) -> None:
    """Serves until a signal.

    Raises:
        InputError: options that belong to a model of ours; no such backend, or it has another
            model or several; a key file cannot be read, the address cannot be had, or it is public
            and there are no keys.
    """
    if behind.url is None:
        option = "--backend-key-file" if behind.model is None else "--backend-model"
        raise at(option, "says something of a backend that is not named; give --backend URL, too")
    if reference is not None or options.channel is not None:
        raise at("--backend", "the backend answers; leave out ARTIFACT and --channel")
    if options.length is not None or options.weights != "fp32":
        raise at("--backend", "--length and --weights are the backend's to choose; leave them out")
    try:
        upstream = Upstream(behind.url, _key(behind.key_file))
    except InputError as error:
        raise at("--backend", error.reason) if error.file is None else error from None
    keys = Keys({}) if options.keys is None else Keys.read(options.keys)
    with (
        contextlib.closing(bound_to(options, keyed=bool(keys))) as bound,
        contextlib.suppress(KeyboardInterrupt),
        recording(options.ledger) as recorder,
    ):
        asyncio.run(_live(upstream, behind.model, bound, options, keys, recorder))
    print("stopped", file=sys.stderr)


async def _live(
    upstream: Upstream,
    wanted: str | None,
    bound: socket.socket,
    options: Options,
    keys: Keys,
    recorder: Recorder | None,
) -> None:
    """Everything that runs on the server's event loop."""
    limits, backend = options.limits, Backend(upstream)
    try:
        model, failed = await _model(backend, wanted, options.name)
    except BaseException:
        await backend.close()
        raise
    relay = Relay(backend, model, limits.seconds)
    if failed:
        relay.health.failed(failed)
    meters, log = Meters(), None if options.quiet else Log()
    hosts = tuple(dict.fromkeys((*LOOPBACK, options.host.lower())))
    app = relaying_application(relay, Gate(limits), keys, meters, log, hosts, recorder)

    def ready(_: Callable[[], None]) -> None:
        print(_told(model, upstream, bound.getsockname(), bool(keys), failed), flush=True)

    await serve_http(app, bound, relay, limits, ready)


async def _model(backend: Backend, wanted: str | None, name: str | None) -> tuple[Relayed, str]:
    """The backend's model, and why it cannot be asked yet; "" where it can.

    Raises:
        InputError: nobody said which one, and the backend does not tell, or tells several; or it
            has no such model.
    """
    listed: Mapping[str, Mapping[str, Any]] = {}
    failed = ""
    try:
        listed = await backend.models()
    except BackendFailed as error:
        failed = str(error)
        if wanted is None:
            reason = f"the backend tells no models ({failed}); start it, or give --backend-model"
            raise at("--backend", reason) from None
    known = ", ".join(list(listed)[:5]) or "none"
    if wanted is None and len(listed) != 1:
        raise at("--backend-model", f"the backend has {len(listed)} models ({known}); choose one")
    if wanted is not None and not failed and wanted not in listed:
        raise at("--backend-model", f"the backend has no '{wanted}' but {known}; choose one")
    id_ = wanted or next(iter(listed))
    length = listed.get(id_, {}).get("max_model_len")
    context = length if type(length) is int and 0 < length < MOST_CONTEXT else MOST_CONTEXT
    return Relayed(name or id_, id_, int(time.time()), context), failed


def _key(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError("the backend's key cannot be read; mend its path", file=file) from None
    if not _KEY.fullmatch(key):
        raise InputError("no key; write one line of visible characters", file=file, line=1)
    return key


def _told(
    model: Relayed, upstream: Upstream, address: tuple[str, int], keyed: bool, failed: str
) -> str:
    """What is served where, and how to try it."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{host}:{address[1]}/v1"
    said = '[{"role": "user", "content": "Hello!"}]'
    body = f'{{"model": {json.dumps(model.name)}, "messages": {said}, "max_tokens": 32}}'
    key = " -H 'authorization: Bearer KEY'" if keyed else ""
    lines = [f"serving {model.name} ({model.id} at {upstream.root}) at {url}; end with Ctrl-C"]
    if failed:
        lines.append(f"the backend does not answer yet ({failed}); it is tried until it does")
    lines.append(
        f"try: curl {url}/chat/completions{key} -H 'content-type: application/json' -d '{body}'"
    )
    return "\n".join(printable(line) for line in lines)
