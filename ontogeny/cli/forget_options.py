"""The options of `ontogeny forget`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def forget(
    ledger: Annotated[Path, typer.Option(help="The file that `ontogeny serve --ledger` writes.")],
    user: Annotated[str, typer.Option(help="As requests name who asks: their field `user`.")],
    key: Annotated[
        str, typer.Option(help="Name of the API key that the user asked by; none without keys.")
    ] = "",
    store: Annotated[
        Path | None, typer.Option("--store", help="Directory of the artifacts; life without it.")
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="Also erase the models that learnt from this user.")
    ] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Erase one user: from the ledger, and from every artifact made of what they wrote."""
    from ontogeny.cli import forget_command

    options = forget_command.Options(user=user, key=key, models=models, dry=dry, as_json=as_json)
    forget_command.forget(ledger, store, options)
