"""`ontogeny chat`: a person writes, the model goes on; a base model continues the text."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from ontogeny import bridge
from ontogeny.base.errors import InputError, printable
from ontogeny.base.seeds import named_seed
from ontogeny.base.store import Store
from ontogeny.rollout.policy import Completion, Policy, Request
from ontogeny.text.tokenizer import Tokenizer


def chat(
    reference: str,
    root: Path,
    *,
    prompt: str | None,
    max_tokens: int,
    temperature: float,
    seed: int,
    as_json: bool,
) -> None:
    """Answers one prompt, or each line of standard input until its end.

    Raises:
        InputError: when there is no such model, or a prompt does not fit its context.
    """
    artifact = Store.open(root).resolve(reference)
    policy, tokenizer = bridge.load_policy(artifact, slots=1)
    context = bridge.context_of(policy)
    if prompt is None and sys.stdin.isatty() and not as_json:
        print(
            f"{artifact.name} continues what you write (context {context} tokens); end with Ctrl-D"
        )
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends a chat like Ctrl-D
        _converse(policy, tokenizer, prompt, max_tokens, temperature, seed, context, as_json)


def _converse(
    policy: Policy,
    tokenizer: Tokenizer,
    prompt: str | None,
    max_tokens: int,
    temperature: float,
    seed: int,
    context: int,
    as_json: bool,
) -> None:
    for number, text in enumerate([prompt] if prompt is not None else _lines(as_json)):
        request = _request(
            tokenizer, text, max_tokens, temperature, named_seed(seed, "chat", number), context
        )
        completion = _answer(policy, tokenizer, request, stream=not as_json)
        if as_json:
            answer = tokenizer.decode(completion.ids)
            print(json.dumps({"prompt": text, "answer": answer, "finish": completion.finish}))


def _lines(as_json: bool) -> Iterator[str]:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    while True:
        if sys.stdin.isatty() and not as_json:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


def _request(
    tokenizer: Tokenizer, text: str, max_tokens: int, temperature: float, seed: int, context: int
) -> Request:
    ids = (tokenizer.end_of_text, *tokenizer.encode(text))
    if len(ids) >= context:
        raise InputError(
            f"the prompt is {len(ids)} tokens, the model's context {context}; shorten it"
        )
    return Request(
        prompt=ids,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=0.95,
        stop=(tokenizer.end_of_text,),
        seed=seed,
    )


def _answer(policy: Policy, tokenizer: Tokenizer, request: Request, *, stream: bool) -> Completion:
    """Samples; streamed text is printed as soon as its bytes are whole characters."""
    pending: list[int] = []

    def show(token: int, _log_prob: float) -> None:
        pending.append(token)
        text = tokenizer.decode(pending)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            print(_visible(text), end="", flush=True)
            pending.clear()

    completion = asyncio.run(policy.sample(request, show if stream else None))
    if stream:
        print(_visible(tokenizer.decode(pending)))
    return completion


def _visible(text: str) -> str:
    """`text` without what could steer a terminal; line breaks and tabs stay."""
    return "".join(character if character in "\n\t" else printable(character) for character in text)
