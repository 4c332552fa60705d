"""The options of `ontogeny harvest`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def harvest(
    ledger: Annotated[
        Path, typer.Option(help="The file that `ontogeny serve --ledger` keeps; it may be serving.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="A model: also make pairs and conversations in its tokens, to learn."),
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the harvest in the store.")] = "harvest",
    since: Annotated[
        str | None,
        typer.Option(help="A former harvest (or the row it read up to): learn newer votes alone."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="Tasks whose held-out and exam questions are left out. Repeatable."),
    ] = None,
    heldout: Annotated[float, typer.Option(help="Share kept from training; 0: none.")] = 0.1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one number: most_votes=50, copies=1. Repeatable."),
    ] = None,
    store: Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")] = Path(
        "life"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Take what users rated out of a ledger: cleaned conversations and preference pairs."""
    from ontogeny.cli import harvest_command

    wanted = harvest_command.Wanted(
        ledger=ledger,
        model=model,
        name=name,
        since=since,
        tasks=tuple(tasks or ()),
        heldout=heldout,
        settings=tuple(settings or ()),
    )
    harvest_command.harvest(wanted, store, as_json=as_json)
