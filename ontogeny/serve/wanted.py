"""What chat and completions have in common: how answers are drawn, how many, where they end.

Knows no messages and no HTTP.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import MOST_TOP
from ontogeny.serve.fields import Fields
from ontogeny.serve.refusal import Refused, shortened
from ontogeny.text.tokenizer import Tokenizer, encodable
from ontogeny.text.tool_calls import Speech, speech

MOST_CHOICES = 16
MOST_STOPS, MOST_STOP_CHARACTERS = 16, 500
MOST_BIASES = 1024
MOST_NAME = 200
ASKERS = ("user", "prompt_cache_key", "safety_identifier")
"""Fields by which a client tells those who ask through it apart."""
PERSON = ("user", "safety_identifier")
"""Those of them that name who it is."""


class Bounds(Protocol):
    """What a request is checked against: a model of ours, or one behind a backend."""

    @property
    def name(self) -> str:
        """What clients call it."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """All that are taken."""
        ...

    @property
    def id(self) -> str:
        """What the ledger calls it."""
        ...

    @property
    def context(self) -> int:
        """Most tokens of prompt and answer together."""
        ...

    @property
    def vocab_size(self) -> int:
        """Ids are below it."""
        ...


@dataclass(frozen=True)
class Served:
    """The model that answers.

    Args:
        name: what clients call it; `id`, its artifact's, is taken, too.
        created: seconds since 1970.
        context: most tokens of prompt and answer together.
        chats: it has learnt to answer in turns.
        most_answer: tokens of an answer whose length nobody bounds.
    """

    name: str
    id: str
    created: int
    context: int
    tokenizer: Tokenizer
    chats: bool
    most_answer: int = 1024

    @property
    def names(self) -> tuple[str, ...]:
        """See `Bounds`."""
        return self.name, self.id

    @property
    def vocab_size(self) -> int:
        """See `Bounds`."""
        return self.tokenizer.vocab_size

    @cached_property
    def longest_token(self) -> int:
        """Bytes of the longest token: a text of more bytes than tokens times this cannot fit."""
        tokenizer = self.tokenizer
        return max(len(tokenizer.token_bytes(id_)) for id_ in range(tokenizer.vocab_size))

    @cached_property
    def speech(self) -> Speech:
        """How the model says calls."""
        return speech(self.tokenizer)

    @property
    def fingerprint(self) -> str:
        """Changes when the answers may."""
        return f"fp_{self.id}"


@dataclass(frozen=True)
class Wanted:
    """How a request is to be answered.

    Attributes:
        most_tokens: of an answer; None where nobody said.
        top: alternatives told beside each token; None: no log-probs at all.
        sampling: of the first answer; see `drawn`.
        asker: the client's names for who asks it, those of each field apart.
        store: whether the exchange is kept in the ledger; None where nobody said.
    """

    stream: bool
    usage: bool
    choices: int
    most_tokens: int | None
    sampling: Sampling
    stops: tuple[str, ...]
    top: int | None
    asker: str
    store: bool | None = None

    @property
    def person(self) -> str:
        """See `person_of`."""
        told = dict(zip(ASKERS, json.loads(self.asker or "[]"), strict=False))
        return person_of(*(told.get(name, "") for name in PERSON))

    def drawn(self, choice: int, prompt: int = 0) -> Sampling:
        """How one of several answers is drawn: the first of one prompt is that of n=1."""
        if not choice and not prompt:
            return self.sampling
        return replace(self.sampling, seed=named_seed(self.sampling.seed, prompt, choice))

    def room(self, served: Served, prompt: int) -> int:
        """Most tokens of an answer after a prompt of so many.

        Raises:
            Refused: 400; there is no room for one of at least a token, if one is wanted.
        """
        most = served.most_answer if self.most_tokens is None else self.most_tokens
        if prompt + (most > 0) > served.context:
            raise too_long(served, f"{prompt} tokens")
        return min(most, served.context - prompt)


def too_long(served: Bounds, size: str) -> Refused:
    """The prompt leaves no room for an answer."""
    return Refused(
        f"the prompt is {size}, this model's context {served.context}; shorten it",
        code="context_length_exceeded",
    )


def check_model(fields: Fields, served: Bounds) -> None:
    """The field `model` must name what is served.

    Raises:
        Refused: 404 where it names another.
    """
    name = fields.text("model")
    if name not in served.names:
        raise unknown_model(name)


def unknown_model(name: str) -> Refused:
    """There is no such model; the name is a name and never a path."""
    told = shortened(name, 60)
    return Refused(
        f"no model '{told}' here; GET /v1/models lists what there is",
        404,
        param="model",
        code="model_not_found",
    )


def wanted(
    fields: Fields, served: Bounds, top: int | None, default: int | None, least: int = 1
) -> Wanted:
    """The common fields; whatever is then left belongs to nobody.

    Args:
        top: see `Wanted`; the two APIs spell it differently.
        default: longest answer where nobody says.
        least: that somebody may ask for.

    Raises:
        Refused: 400, naming the field.
    """
    stream = fields.flag("stream")
    usage = False
    if fields.has("stream_options"):
        if not stream:
            raise fields.wrong("stream_options", "needs 'stream': true")
        options = fields.inner("stream_options")
        usage = options.flag("include_usage")
        options.only("include_obfuscation", False)
        options.end()
    choices = fields.whole("n", 1, MOST_CHOICES, 1) or 1
    store = fields.flag("store") if fields.has("store") else None
    fields.only("metadata", {})
    fields.only("service_tier", "auto", "default")
    asker = asker_of(fields)
    return Wanted(
        stream=stream,
        usage=usage,
        choices=choices,
        most_tokens=_most_tokens(fields, served, default, least),
        sampling=_sampling(fields, served),
        stops=_stops(fields),
        top=top,
        asker=asker,
        store=store,
    )


def person_of(user: str, safety_identifier: str) -> str:
    """Who asks, for the ledger: a name that says which prompts go together is no person."""
    return user or safety_identifier


def asker_of(fields: Fields) -> str:
    """The client's names for who asks it, those of each field apart; "" where it gives none.

    Raises:
        Refused: 400, naming the field.
    """
    names = [fields.text(name, "", most=MOST_NAME) for name in ASKERS]
    return json.dumps(names) if any(names) else ""


def top_of(fields: Fields, name: str) -> int | None:
    """How many alternatives a field wants."""
    return fields.whole(name, 0, MOST_TOP)


def _most_tokens(fields: Fields, served: Bounds, default: int | None, least: int) -> int | None:
    if fields.has("max_tokens") and fields.has("max_completion_tokens"):
        raise fields.wrong("max_tokens", "says what 'max_completion_tokens' says; give one")
    found = fields.whole("max_completion_tokens", least, served.context)
    if found is None:
        found = fields.whole("max_tokens", least, served.context, default)
    return found


def _sampling(fields: Fields, served: Bounds) -> Sampling:
    seed = fields.whole("seed", -(2**63), 2**63 - 1)
    try:
        return Sampling(
            temperature=fields.number("temperature", 0.0, 2.0, 1.0),
            top_p=fields.number("top_p", 1e-6, 1.0, 1.0),
            top_k=fields.whole("top_k", 0, 2**31, 0) or 0,
            min_p=fields.number("min_p", 0.0, 0.999999, 0.0),
            repetition_penalty=fields.number("repetition_penalty", 1e-3, 1e3, 1.0),
            frequency_penalty=fields.number("frequency_penalty", -2.0, 2.0, 0.0),
            presence_penalty=fields.number("presence_penalty", -2.0, 2.0, 0.0),
            bias=_bias(fields, served),
            seed=secrets.randbits(63) if seed is None else seed % 2**63,
        )
    except InputError as error:  # a temperature between 0 and 1e-6
        raise Refused(error.reason) from None


def _bias(fields: Fields, served: Bounds) -> tuple[tuple[int, float], ...]:
    value: Any = fields.take("logit_bias")
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > MOST_BIASES:
        raise fields.wrong("logit_bias", f"must be an object of at most {MOST_BIASES} token ids")
    size, found = served.vocab_size, {}
    inner = Fields(value, "logit_bias")
    for name in value:
        plain = name.isascii() and name.isdecimal() and len(name) < 10
        if not plain or int(name) >= size:
            raise inner.wrong(name, f"is no token id of this model (0 to {size - 1})")
        if value[name] is not None:
            found[int(name)] = inner.number(name, -100.0, 100.0, 0.0)
    return tuple(sorted(found.items()))


def _stops(fields: Fields) -> tuple[str, ...]:
    value: Any = fields.take("stop")
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > MOST_STOPS:
        raise fields.wrong("stop", f"must be a string or a list of at most {MOST_STOPS}")
    for each in listed:
        if not isinstance(each, str) or not 0 < len(each) <= MOST_STOP_CHARACTERS:
            reason = f"holds what is no string of 1 to {MOST_STOP_CHARACTERS} characters"
            raise fields.wrong("stop", reason)
    return tuple(dict.fromkeys(encodable(each) for each in listed))
