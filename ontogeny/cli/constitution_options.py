"""The options of `ontogeny constitution`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

constitution = typer.Typer(
    help="Principles that answers are judged by: show them, and what changing one changed.",
    rich_markup_mode=None,
)
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@constitution.command("show")
def show_(
    file: Annotated[
        str, typer.Argument(help="A file of [[principle]] tables; or constitution, village.")
    ] = "constitution",
    as_json: _Json = False,
) -> None:
    """Print the principles of a constitution."""
    from ontogeny.cli import constitution_command

    constitution_command.show(file, as_json=as_json)


@constitution.command("diff")
def diff_(
    before: Annotated[
        str, typer.Argument(help="Labels: a name, an id, a directory of labels or a store.")
    ],
    after: Annotated[str, typer.Argument(help="The same answers under another constitution.")],
    most: Annotated[
        int, typer.Option(min=0, help="Changed labels to list for each principle; 0 is all.")
    ] = 5,
    store: Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")] = Path(
        "life"
    ),
    as_json: _Json = False,
) -> None:
    """List the labels that changing a principle changed."""
    from ontogeny.cli import constitution_command

    constitution_command.diff(before, after, store, most=most, as_json=as_json)
