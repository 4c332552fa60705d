"""The options of `ontogeny promote`, `rollback` and `channel`. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

StoreOption = Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ChannelOption = Annotated[str, typer.Option(help="The channel that is changed.")]
DEFAULT_STORE = Path("life")


def promote(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="GATE", help="What the stage gate made; a model, where nothing is live yet."
        ),
    ],
    channel: ChannelOption = "released",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Make a model live for the clients of a channel, if a gate says that it may."""
    from ontogeny.cli import promote_command

    promote_command.promote(reference, channel, store, as_json=as_json)


def rollback(
    channel: ChannelOption = "released",
    to: Annotated[
        str | None, typer.Option(help="The release to go back to; the one before without.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Make the release before the live one live again."""
    from ontogeny.cli import promote_command

    promote_command.roll_back(channel, store, to, as_json=as_json)


def channel(
    name: Annotated[str, typer.Argument(help="The channel.")] = "released",
    canary: Annotated[
        str | None, typer.Option(help="A model that answers --share of those who ask.")
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(help="A model that is asked, too, what --share ask; nobody hears it."),
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Above 0, at most 1: of the people, not of requests.")
    ] = None,
    end: Annotated[Literal["canary", "shadow"] | None, typer.Option(help="End this trial.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show who is live in a channel and was before; try a model beside it."""
    from ontogeny.cli import channel_command

    trial = channel_command.Trial(canary=canary, shadow=shadow, share=share, end=end)
    channel_command.channel(name, store, trial, as_json=as_json)
