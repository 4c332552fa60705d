"""The options of `ontogeny serve`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Artifact = Annotated[
    str | None,
    typer.Argument(help="A model: its name or id. Or give --channel, or --backend."),
]
Channel = Annotated[
    str | None,
    typer.Option(help="Serve who is live in this channel, and follow `ontogeny promote`."),
]
Backend = Annotated[
    str | None,
    typer.Option(help="URL of another server with OpenAI's API, to be asked instead."),
]
BackendModel = Annotated[
    str | None, typer.Option(help="What the backend calls its model; its only one without.")
]
BackendKeyFile = Annotated[
    Path | None, typer.Option(help="File that holds the key which the backend wants.")
]
Host = Annotated[str, typer.Option(help="Address; one that others can reach needs --keys.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
Keys = Annotated[
    Path | None, typer.Option(help="File of API keys, each on a line: KEY or NAME:KEY.")
]
Name = Annotated[
    str | None, typer.Option(help="What clients call the model; its own name without.")
]
Slots = Annotated[int, typer.Option(min=1, max=1024, help="Answers under way at once.")]
Length = Annotated[
    int | None,
    typer.Option(min=2, help="Longest prompt and answer together; the model's context without."),
]
Waiting = Annotated[
    int, typer.Option(min=0, help="Requests that may wait for a slot; more hear 503.")
]
Wait = Annotated[
    float, typer.Option(min=0.001, help="Seconds of waiting beyond which more hear 503.")
]
RequestsAMinute = Annotated[float | None, typer.Option(min=0.01, help="Of one key; more hear 429.")]
Weights = Annotated[
    Literal["fp32", "int8", "bf16"],
    typer.Option(help="int8, bf16: faster on a CPU, nearly the same answers."),
]
Grace = Annotated[
    float, typer.Option(min=0.0, help="Seconds that answers have left after SIGTERM.")
]
Ledger = Annotated[
    Path | None,
    typer.Option(help="Keep what is asked, answered and rated in this file; begun if need be."),
]
Sampled = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Judge this share of what the ledger keeps; watch for drift."
    ),
]
Judge = Annotated[
    Literal["plain", "village"], typer.Option(help="Whose rules --sampled judges by.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No line for each request.")]
Store = Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")]


def serve(
    artifact: Artifact = None,
    channel: Channel = None,
    backend: Backend = None,
    backend_model: BackendModel = None,
    backend_key_file: BackendKeyFile = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keys: Keys = None,
    name: Name = None,
    slots: Slots = 4,
    length: Length = None,
    waiting: Waiting = 32,
    wait: Wait = 30.0,
    requests_a_minute: RequestsAMinute = None,
    weights: Weights = "fp32",
    grace: Grace = 10.0,
    ledger: Ledger = None,
    sampled: Sampled = None,
    judge: Judge = "plain",
    quiet: Quiet = False,
    store: Store = Path("life"),
) -> None:
    """Serve a model by OpenAI's API, on this machine alone unless there are keys."""
    from ontogeny.cli import serve_command

    options = serve_command.Options(
        host=host,
        port=port,
        keys=keys,
        name=name,
        channel=channel,
        slots=slots,
        length=length,
        waiting=waiting,
        wait_seconds=wait,
        requests_a_minute=requests_a_minute,
        weights=weights,
        grace_seconds=grace,
        ledger=ledger,
        sampled=sampled,
        judge=judge,
        quiet=quiet,
    )
    if (backend, backend_model, backend_key_file) != (None, None, None):
        from ontogeny.cli import serve_backend

        behind = serve_backend.Behind(backend, backend_model, backend_key_file)
        serve_backend.serve(artifact, behind, options)
        return
    serve_command.serve(artifact, store, options)
