"""The options of `ontogeny chat`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def chat(
    artifact: Annotated[str, typer.Argument(help="A model: its name or id.")],
    prompt: Annotated[
        str | None, typer.Option(help="Answer this one prompt and end, instead of asking.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens.")] = 120,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 is greedy; higher is more random.")
    ] = 0.8,
    top_p: Annotated[
        float, typer.Option(help="Draw from the likeliest tokens that hold this share.")
    ] = 0.95,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends the answer. Repeatable.")
    ] = None,
    regex: Annotated[
        str | None, typer.Option(help="A regular expression that the answer matches.")
    ] = None,
    json_schema: Annotated[
        Path | None, typer.Option(help="File of a JSON schema that the answer follows.")
    ] = None,
    weights: Annotated[
        Literal["fp32", "int8", "bf16"],
        typer.Option(help="int8, bf16: faster on a CPU, nearly the same answers."),
    ] = "fp32",
    seed: Annotated[int, typer.Option(help="Makes an answer repeatable.")] = 0,
    store: Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")] = Path(
        "life"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Talk to a model; one that has not learnt to chat continues your text."""
    from ontogeny.cli import chat_command, chat_form

    manner = chat_form.Manner(
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
        as_json=as_json,
        top_p=top_p,
        stop=tuple(stop or ()),
        regex=regex,
        schema=json_schema,
        weights=weights,
    )
    chat_command.chat(artifact, store, prompt=prompt, manner=manner)
