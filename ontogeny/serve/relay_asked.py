"""A body that is to go to a backend: what can be checked of it without a tokenizer, and what goes.

Knows no HTTP. Fields, types and ranges are those of our own models (`asked`); whether a backend
honours each of them is the backend's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ontogeny.serve.asked import MOST_PROMPTS, Asked, chat_said, completion_said
from ontogeny.serve.embedding import FORMS, MOST_DIMENSIONS
from ontogeny.serve.fields import Fields
from ontogeny.serve.wanted import ASKERS, Wanted, asker_of, check_model
from ontogeny.text.message import Message

MOST_CONTEXT = 1 << 24
"""Where a backend does not tell its own."""
OURS = ("store", "metadata", "service_tier", *ASKERS)
"""Fields that are answered here and do not go on."""


@dataclass(frozen=True)
class Relayed:
    """A model of a backend; a `wanted.Bounds`.

    Args:
        name: what our clients call it.
        id: what the backend does, which may be a path of its machine: for the ledger alone.
    """

    name: str
    id: str
    created: int
    context: int = MOST_CONTEXT
    vocab_size: int = 1 << 31

    @property
    def names(self) -> tuple[str, ...]:
        """See `wanted.Bounds`."""
        return (self.name,)


@dataclass(frozen=True)
class EmbeddingRelayed:
    """Texts whose vectors are asked for: nothing of them is looked at but their number."""

    asker: str


def chat_relayed(body: Mapping[str, Any], model: Relayed) -> Asked:
    """A request of /v1/chat/completions.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    chat = chat_said(body, model)
    tools = bool(chat.tools)
    return Asked(True, chat.wanted, ((),), (), None, tools, chat.forced, said=chat.messages)


def completion_relayed(body: Mapping[str, Any], model: Relayed) -> Asked:
    """A request of /v1/completions.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    want, echo, _ = completion_said(fields, model)
    texts = _texts(fields, "prompt")
    fields.end()
    first = texts[0]
    known = len(texts) == 1 and isinstance(first, str) and first
    said = (Message("user", str(first)),) if known else ()
    shown = tuple(each if isinstance(each, str) else "" for each in texts)
    return Asked(False, want, ((),) * len(texts), (), echo=shown if echo else (), said=said)


def embedding_relayed(body: Mapping[str, Any], model: Relayed) -> EmbeddingRelayed:
    """A request of /v1/embeddings.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    check_model(fields, model)
    fields.one_of("encoding_format", FORMS, "float")
    fields.whole("dimensions", 1, MOST_DIMENSIONS)
    asker = asker_of(fields)
    _texts(fields, "input")
    fields.end()
    return EmbeddingRelayed(asker)


def sent(body: Mapping[str, Any], model: Relayed, person: str, want: Wanted | None) -> Any:
    """What the backend is sent.

    Args:
        person: tells those who ask apart without naming them; "" where nobody can.
        want: None of what is no stream.
    """
    kept = {name: each for name, each in body.items() if each is not None and name not in OURS}
    kept["model"] = model.id
    if person:
        kept["user"] = person
    if want is not None and want.stream:
        kept["stream_options"] = {"include_usage": True}
    return kept


def _texts(fields: Fields, name: str) -> list[Any]:
    """A text, ids, or a list of these."""
    value = fields.take(name)
    if isinstance(value, str) or (isinstance(value, list) and value and _ids(value)):
        value = [value]
    sound = isinstance(value, list) and 0 < len(value) <= MOST_PROMPTS
    if not sound or not all(isinstance(each, str) or (each and _ids(each)) for each in value):
        reason = f"must be a text or ids, or a list of 1 to {MOST_PROMPTS} of these"
        raise fields.wrong(name, reason)
    found: list[Any] = value
    return found


def _ids(value: object) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


Understands = Callable[[Mapping[str, Any], Relayed], Any]
