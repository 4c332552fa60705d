"""The options of `ontogeny ask`. Imports nothing heavy (see `cli.app`)."""

from __future__ import annotations

from typing import Annotated

import typer


def ask_(
    url: Annotated[str, typer.Argument(help="Of the API, as in http://127.0.0.1:8000/v1.")],
    prompt: Annotated[
        str | None, typer.Option(help="What to ask; standard input without it.")
    ] = None,
    system: Annotated[str, typer.Option(help="Instructions that come before it.")] = "",
    model: Annotated[str, typer.Option(help="Its name there; not needed if there is one.")] = "",
    key_env: Annotated[str, typer.Option(help="The environment variable that holds the key.")] = "",
    plain_key: Annotated[
        bool, typer.Option("--plain-key", help="Send the key over http, too, for all to read.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in its tokens.")] = 512,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 is greedy; higher is more random.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="For servers that repeat an answer.")] = 0,
    price: Annotated[
        str, typer.Option(help="Dollars per million tokens in and out: 0.15,0.60.")
    ] = "",
    most_dollars: Annotated[
        float | None, typer.Option(help="Ask nothing that could cost more; needs --price.")
    ] = None,
    deadline: Annotated[float, typer.Option(help="Give up after so many seconds.")] = 120.0,
    stream: Annotated[bool, typer.Option("--stream", help="Print as it comes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Ask a model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, a vendor)."""
    from ontogeny.cli import ask_command

    asked = ask_command.Asked(
        prompt=prompt,
        system=system,
        model=model,
        key_variable=key_env,
        plain_key=plain_key,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
        price=price,
        most_dollars=most_dollars,
        deadline_seconds=deadline,
    )
    ask_command.ask(url, asked, stream=stream, as_json=as_json)
