"""`ontogeny ask`: one question to a model behind a server, its answer, and what it cost."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from codecs import getincrementaldecoder
from dataclasses import dataclass

from ontogeny.base.errors import COMMAND_LINE, InputError, Stopped, printable
from ontogeny.cli.arguments import at
from ontogeny.cli.terminal import forgiving, visible
from ontogeny.edge.remote_config import LimitReached, Limits, Price, RemoteConfig
from ontogeny.edge.remote_policy import RemotePolicy, connect
from ontogeny.edge.remote_spending import ONWARD, Spent
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Completion, Request
from ontogeny.text.message import Message
from ontogeny.text.template import render

MOST_PROMPT_CHARACTERS = 10_000_000
_OPTIONS = {
    "deadline_seconds": "--deadline",
    "key_variable": "--key-env",
    "plain_key": "--plain-key",
}
"""What a config calls them -> what the command line does."""
_CUT = {
    "stop": "",
    "length": "; cut off: --max-tokens",
    "context": "; cut off: the server's context is full",
}


@dataclass(frozen=True)
class Asked:
    """What is asked, of whom, and what it may cost (see `ask_options`)."""

    prompt: str | None
    system: str
    model: str
    key_variable: str
    plain_key: bool
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
    except LimitReached as error:  # no journal is kept, and the limit is one of dollars
        reason = error.reason.removesuffix(ONWARD).replace("most_dollars", "--most-dollars")
        line = at("--most-dollars", "").line
        raise LimitReached(
            f"{reason}raise it, or lower --max-tokens", file=COMMAND_LINE, line=line
        ) from None
    except InputError as error:
        for name, option in _OPTIONS.items():
            error.reason = error.reason.replace(name, option)
        raise
    except KeyboardInterrupt:
        raise Stopped("stopped before the answer was whole; ask again", file=url) from None


def _ask(url: str, asked: Asked, *, stream: bool, as_json: bool) -> None:
    prompt, config, sampling = _prompt(asked.prompt), _config(url, asked), _sampling(asked)
    messages = [Message("system", asked.system)] if asked.system else []
    with connect(config) as policy:
        for note in policy.server.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        rendered = render(
            [*messages, Message("user", prompt)], policy.tokenizer, generation_prompt=True
        )
        request = Request(rendered.ids, asked.max_tokens, sampling)
        completion = _answer(policy, request, stream=stream and not as_json)
        answer = policy.tokenizer.decode(completion.ids)
        if as_json:
            _print_json(policy, prompt, answer, completion)
        else:
            if not stream:
                print(visible(answer))
            print(_told(policy.spent, completion), file=sys.stderr)


def _prompt(given: str | None) -> str:
    """What is asked, from the option or standard input."""
    if given is None:
        forgiving()
        given = sys.stdin.read(MOST_PROMPT_CHARACTERS + 1)
        if not given:
            raise InputError("standard input is empty; ask something, there or by --prompt")
        if len(given) > MOST_PROMPT_CHARACTERS:
            raise InputError(
                f"standard input has more than {MOST_PROMPT_CHARACTERS:,} characters; ask for less"
            )
    if not given:
        raise at("--prompt", "--prompt is empty; ask something")
    return given


def _config(url: str, asked: Asked) -> RemoteConfig:
    """How the server is reached, each mistake told at its option."""
    price, most, deadline = _price(asked.price), asked.most_dollars, asked.deadline_seconds
    if most is not None and price is None:
        told = "--most-dollars needs the price of the model; give --price, as in --price 0.15,0.60"
        raise at("--most-dollars", told)
    if most is not None and not 0 < most < math.inf:
        raise at("--most-dollars", f"--most-dollars is {most}; give more than 0, or leave it out")
    if not 0 < deadline < math.inf:
        raise at("--deadline", f"--deadline is {deadline}; give seconds, more than 0")
    try:
        config = RemoteConfig(
            url,
            asked.model,
            asked.key_variable,
            plain_key=asked.plain_key,
            deadline_seconds=deadline,
            most_retries=3,
            price=price,
            limits=Limits(most_dollars=most),
        )
        config.key()
    except InputError as error:  # nothing else is left to be wrong
        raise at("--key-env", error.reason) from None
    return config


def _sampling(asked: Asked) -> Sampling:
    try:
        return Sampling(temperature=asked.temperature, seed=asked.seed)
    except InputError as error:
        option = "--seed" if error.reason.startswith("seed") else "--temperature"
        raise at(option, f"--{error.reason}") from None


def _answer(policy: RemotePolicy, request: Request, *, stream: bool) -> Completion:
    if not stream:
        return asyncio.run(policy.sample(request))
    decoder = getincrementaldecoder("utf-8")("replace")
    begun = False

    def show(id_: int, _log_prob: float) -> None:
        nonlocal begun
        if id_ < 256:
            begun = True
            print(visible(decoder.decode(bytes([id_]))), end="", flush=True)

    try:
        completion = asyncio.run(policy.sample(request, show))
    except BaseException:
        if begun:  # what is told of it begins on a line of its own
            print(flush=True)
        raise
    print(visible(decoder.decode(b"", final=True)))
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
    return (
        f"{spent.prompt_tokens} tokens in{cached}, {spent.completion_tokens} out{bound}, {cost}, "
        f"{spent.requests} request{'s' * (spent.requests > 1)}{retries}{_CUT[completion.finish]}"
    )


def _price(text: str) -> Price | None:
    if not text:
        return None
    try:
        into, out = (float(part) for part in text.split(","))
        return Price(into, out)
    except (ValueError, InputError):
        told = f"'{text}' is no price; give dollars per million tokens in and out: 0.15,0.60"
        raise at("--price", told) from None
