"""`ontogeny ask`: one question to a model behind a server, its answer, and what it cost."""

from __future__ import annotations

import asyncio
import json
import sys
from codecs import getincrementaldecoder
from dataclasses import dataclass

from ontogeny.base.errors import InputError, Stopped, printable
from ontogeny.cli.arguments import position
from ontogeny.edge.remote_config import Limits, Price, RemoteConfig
from ontogeny.edge.remote_policy import RemotePolicy, connect
from ontogeny.edge.remote_spending import Spent
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Completion, Request
from ontogeny.text.message import Message
from ontogeny.text.template import render

MOST_PROMPT_CHARACTERS = 10_000_000


@dataclass(frozen=True)
class Asked:
    """What is asked, of whom, and what it may cost (see `ask_options`)."""

    prompt: str | None
    system: str
    model: str
    key_variable: str
    max_tokens: int
    temperature: float
    seed: int
    price: str
    most_dollars: float | None
    deadline_seconds: float


def ask(url: str, asked: Asked, *, stream: bool, as_json: bool) -> None:
    """Prints the answer; tokens and cost go to standard error, or into the JSON.

    Raises:
        InputError: the server cannot be asked so, or does not answer; in one line.
        LimitReached: the answer could cost more than it may.
        Stopped: by Ctrl-C.
    """
    try:
        _ask(url, asked, stream=stream, as_json=as_json)
    except KeyboardInterrupt:
        raise Stopped("stopped before the answer was whole; ask again", file=url) from None


def _ask(url: str, asked: Asked, *, stream: bool, as_json: bool) -> None:
    prompt = asked.prompt if asked.prompt is not None else sys.stdin.read(MOST_PROMPT_CHARACTERS)
    config = RemoteConfig(
        url,
        asked.model,
        asked.key_variable,
        deadline_seconds=asked.deadline_seconds,
        most_retries=3,
        price=_price(asked.price),
        limits=Limits(most_dollars=asked.most_dollars),
    )
    messages = [Message("system", asked.system)] if asked.system else []
    with connect(config) as policy:
        for note in policy.server.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        rendered = render(
            [*messages, Message("user", prompt)], policy.tokenizer, generation_prompt=True
        )
        sampling = Sampling(temperature=asked.temperature, seed=asked.seed)
        request = Request(rendered.ids, asked.max_tokens, sampling)
        completion = _answer(policy, request, stream=stream and not as_json)
        answer = policy.tokenizer.decode(completion.ids)
        if as_json:
            _print_json(policy, prompt, answer, completion)
        else:
            if not stream:
                print(_visible(answer))
            print(_told(policy.spent, completion), file=sys.stderr)


def _answer(policy: RemotePolicy, request: Request, *, stream: bool) -> Completion:
    if not stream:
        return asyncio.run(policy.sample(request))
    decoder = getincrementaldecoder("utf-8")("replace")

    def show(id_: int, _log_prob: float) -> None:
        if id_ < 256:
            print(_visible(decoder.decode(bytes([id_]))), end="", flush=True)

    completion = asyncio.run(policy.sample(request, show))
    print(_visible(decoder.decode(b"", final=True)))
    return completion


def _print_json(policy: RemotePolicy, prompt: str, answer: str, completion: Completion) -> None:
    told = {
        "model": policy.server.model,
        "server": policy.server.kind,
        "prompt": prompt,
        "answer": answer,
        "finish": completion.finish,
        "spent": policy.spent.to_json(),
    }
    print(json.dumps(told))


def _told(spent: Spent, completion: Completion) -> str:
    cost = "price unknown" if spent.dollars is None else f"${spent.dollars:.6f}"
    cached = f" ({spent.cached_tokens} cached)" if spent.cached_tokens else ""
    bound = " at most" if spent.estimated else ""
    retries = f", {spent.retries} repeated" if spent.retries else ""
    cut = "; cut off: --max-tokens" if completion.finish == "length" else ""
    return (
        f"{spent.prompt_tokens} tokens in{cached}, {spent.completion_tokens} out{bound}, {cost}, "
        f"{spent.requests} request{'s' * (spent.requests > 1)}{retries}{cut}"
    )


def _price(text: str) -> Price | None:
    if not text:
        return None
    try:
        into, out = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"'{text}' is no price; give dollars per million tokens in and out: 0.15,0.60",
            line=position("--price", text),
        ) from None
    return Price(into, out)


def _visible(text: str) -> str:
    """`text` without what could steer a terminal; line breaks and tabs stay."""
    return "".join(character if character in "\n\t" else printable(character) for character in text)
