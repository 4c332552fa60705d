"""The options of `ontogeny serve`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    artifact: Annotated[str, typer.Argument(help="A model: its name or id.")],
    host: Annotated[
        str, typer.Option(help="Address; one that others can reach needs --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    keys: Annotated[
        Path | None, typer.Option(help="File of API keys, each on a line: KEY or NAME:KEY.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What clients call the model; its own name without.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, max=1024, help="Answers under way at once.")] = 4,
    length: Annotated[
        int | None,
        typer.Option(
            min=2, help="Longest prompt and answer together; the model's context without."
        ),
    ] = None,
    waiting: Annotated[
        int, typer.Option(min=0, help="Requests that may wait for a slot; more hear 503.")
    ] = 32,
    wait: Annotated[
        float, typer.Option(min=0.001, help="Seconds of waiting beyond which more hear 503.")
    ] = 30.0,
    requests_a_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Of one key; more hear 429.")
    ] = None,
    weights: Annotated[
        Literal["fp32", "int8", "bf16"],
        typer.Option(help="int8, bf16: faster on a CPU, nearly the same answers."),
    ] = "fp32",
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that answers have left after SIGTERM.")
    ] = 10.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No line for each request.")] = False,
    store: Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")] = Path(
        "life"
    ),
) -> None:
    """Serve a model by OpenAI's API, on this machine alone unless there are keys."""
    from ontogeny.cli import serve_command

    options = serve_command.Options(
        host=host,
        port=port,
        keys=keys,
        name=name,
        slots=slots,
        length=length,
        waiting=waiting,
        wait_seconds=wait,
        requests_a_minute=requests_a_minute,
        weights=weights,
        grace_seconds=grace,
        quiet=quiet,
    )
    serve_command.serve(artifact, store, options)
