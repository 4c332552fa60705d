"""The options of `ontogeny traffic`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def traffic(
    ledger: Annotated[Path, typer.Option(help="What `ontogeny serve --ledger` writes.")],
    since: Annotated[
        str | None,
        typer.Option(help="Only what is as young: 90m, 24h, 7d, or from a day on: 2026-11-22."),
    ] = None,
    judge: Annotated[
        Literal["plain", "village"],
        typer.Option(help="Whose rules say what a refusal is: plain English, the small world."),
    ] = "plain",
    sample: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the exchanges that is judged.")
    ] = 1.0,
    reference: Annotated[
        int, typer.Option(min=20, help="First observations of a live model that it is held to.")
    ] = 200,
    run_length: Annotated[
        float, typer.Option(min=1.0, help="Exchanges until a false alarm, on average or more.")
    ] = 10_000.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> int:
    """Tell what users said and heard, by arm and model; ends with 1 where something has drifted."""
    from ontogeny.cli import traffic_command

    options = traffic_command.Options(
        since=since,
        judge=judge,
        sample=sample,
        reference=reference,
        run_length=run_length,
        as_json=as_json,
    )
    return traffic_command.traffic(ledger, options)
