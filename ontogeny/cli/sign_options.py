"""The options of `ontogeny keygen`, `sign` and `verify`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keygen(
    name: Annotated[Path, typer.Argument(help="Makes NAME.key.pem and NAME.pub.pem.")],
) -> None:
    """Make a pair of keys: sign bundles with the one, give others the other."""
    from ontogeny.cli import sign_command

    sign_command.keygen(name)


def sign(
    bundle: Annotated[Path, typer.Argument(help="The directory of a bundle.")],
    key: Annotated[Path, typer.Option(help="Your private key (PEM, elliptic curve).")],
) -> None:
    """Sign a bundle: check it, and write a signature over every file of it."""
    from ontogeny.cli import sign_command

    sign_command.sign(bundle, key)


def verify(
    bundle: Annotated[Path, typer.Argument(help="The directory of a bundle.")],
    key: Annotated[
        Path | None,
        typer.Option(help="Public key (PEM) of whoever must have signed it."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Also compare the evidence with this store.")
    ] = None,
    rerun: Annotated[
        list[str] | None,
        typer.Option(help="Make this measurement of the card again, and compare. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> int:
    """Check a bundle: signature, every byte by its sha256, every number of the card."""
    from ontogeny.cli import verify_command

    asked = verify_command.Asked(key=key, store=store, rerun=tuple(rerun or ()))
    return verify_command.verify(bundle, asked, as_json=as_json)
