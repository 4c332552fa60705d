"""The options of `ontogeny eval`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def eval_(
    artifact: Annotated[
        str | None, typer.Argument(help="A model: its name or id. Not needed with --list.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE of a known suite, or the FILE of your own. Repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="The first questions of each; 0: all.")] = 0,
    shots: Annotated[int, typer.Option(min=0, help="Examples before each question.")] = 0,
    shots_from: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE that examples are taken from. Repeatable.")
    ] = None,
    through: Annotated[
        str, typer.Option(help="Who puts the questions and judges: ours, lm_eval or both.")
    ] = "ours",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest sampled answer.")] = 256,
    all_: Annotated[bool, typer.Option("--list", help="List the known suites.")] = False,
    store: Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")] = Path(
        "life"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Ask a model the questions of suites such as arc_easy or hellaswag, or your own."""
    from ontogeny.cli import eval_command

    if all_:
        eval_command.list_suites(as_json=as_json)
        return
    asked = eval_command.Asked(
        suites=tuple(suite or ()),
        limit=limit,
        shots=shots,
        shots_from=tuple(shots_from or ()),
        through=through,
        max_tokens=max_tokens,
    )
    eval_command.evaluate(artifact, store, asked, as_json=as_json)
