"""What was asked and answered, and what was said of it, as values and as rows of JSON.

Knows no database and no HTTP: `ledger` keeps these, `harvest` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import write_jsonl
from ontogeny.text.message import Message, message_from_row, message_to_row

T = TypeVar("T")
EXCHANGES, RATINGS = "exchanges.jsonl", "ratings.jsonl"
MOST_COMMENT = 2000
SILENCE = Message("system", "")
"""The message of an answer that says nothing: an assistant's may not be empty."""
Arm = Literal["live", "canary", "shadow"]
ARMS: tuple[Arm, ...] = ("live", "canary", "shadow")


@dataclass(frozen=True)
class Answer:
    """One answer as the client heard it: an assistant's message, why it ended, its tokens."""

    message: Message
    finish: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and all answers to it.

    Attributes:
        id: as the response told it, `chatcmpl-...`.
        user: pseudonym of who asked (`Ledger.pseudonym`); never a name.
        model: id of the artifact that answered, or what a backend calls it.
        arm: which share of the traffic it was; a shadow's answers nobody saw.
        messages: the prompt's turns; a text to continue is one turn of the user.
        temperature: of sampling.
        of: a shadow's: the live exchange that it repeats.
        at: seconds since 1970; 0 in an export that must be equal each time it is made.
    """

    id: str
    user: str
    model: str
    messages: tuple[Message, ...]
    answers: tuple[Answer, ...]
    arm: Arm = "live"
    chat: bool = True
    temperature: float = 1.0
    prompt_tokens: int = 0
    of: str = ""
    at: float = 0.0

    def __post_init__(self) -> None:
        if not (self.id and self.user and self.messages and self.answers):
            raise InputError("an exchange needs an id, a user, messages and answers")
        if self.arm not in ARMS:
            raise InputError(f"arm '{self.arm}' is unknown; give one of {', '.join(ARMS)}")


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What a user said of one exchange: exactly one of score, preferred and correction.

    Attributes:
        key: what makes the same rating sent again the same row.
        exchange: its id.
        user: pseudonym of who rates.
        score: from -1 to 1.
        preferred: index of the answer that is better than all others of the exchange.
        choice: index of the answer that score or correction is about.
        correction: a better answer in the user's words.
        comment: anything; never trained on.
    """

    key: str
    exchange: str
    user: str
    score: float | None = None
    preferred: int | None = None
    choice: int = 0
    correction: str = ""
    comment: str = ""
    at: float = 0.0

    def __post_init__(self) -> None:
        said = (self.score is not None) + (self.preferred is not None) + bool(self.correction)
        if said != 1:
            raise InputError("a rating says exactly one of score, preferred and correction")
        if self.score is not None and not -1.0 <= self.score <= 1.0:
            raise InputError(f"score is {self.score}; give a number from -1 to 1")
        if self.choice < 0 or (self.preferred or 0) < 0:
            raise InputError("choice and preferred are indices of answers, from 0")
        if not (self.key and self.exchange and self.user):
            raise InputError("a rating needs a key, an exchange and a user")


def exchange_to_row(each: Exchange) -> dict[str, Any]:
    """As JSON data; what has its default is left out."""
    row: dict[str, Any] = {"id": each.id, "user": each.user, "model": each.model}
    row["messages"] = [message_to_row(message) for message in each.messages]
    row["answers"] = [
        {"message": message_to_row(a.message), "finish": a.finish, "tokens": a.tokens}
        for a in each.answers
    ]
    return row | _told(each, ("arm", "chat", "temperature", "prompt_tokens", "of", "at"))


def exchange_from_row(row: Mapping[str, Any]) -> Exchange:
    """The inverse of `exchange_to_row`.

    Raises:
        InputError: `row` is no exchange.
    """
    try:
        rest = dict(row)
        messages = tuple(message_from_row(each) for each in rest.pop("messages"))
        answers = tuple(
            Answer(message_from_row(each["message"]), str(each["finish"]), int(each["tokens"]))
            for each in rest.pop("answers")
        )
        return Exchange(messages=messages, answers=answers, **rest)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not an exchange ({error})") from None


def rating_to_row(each: Rating) -> dict[str, Any]:
    """As JSON data; what has its default is left out."""
    row = {"key": each.key, "exchange": each.exchange, "user": each.user}
    names = ("score", "preferred", "choice", "correction", "comment", "at")
    return row | _told(each, names)


def rating_from_row(row: Mapping[str, Any]) -> Rating:
    """The inverse of `rating_to_row`.

    Raises:
        InputError: `row` is no rating.
    """
    try:
        return Rating(**row)
    except TypeError as error:
        raise InputError(f"not a rating ({error})") from None


def _told(each: Exchange | Rating, names: Sequence[str]) -> dict[str, Any]:
    defaults = {name: type(each).__dataclass_fields__[name].default for name in names}
    return {name: getattr(each, name) for name in names if getattr(each, name) != defaults[name]}


def write_export(directory: Path, exchanges: Sequence[Exchange], ratings: Sequence[Rating]) -> None:
    """Writes `EXCHANGES` and `RATINGS` into a payload, in the order given."""
    write_jsonl(directory / EXCHANGES, map(exchange_to_row, exchanges))
    write_jsonl(directory / RATINGS, map(rating_to_row, ratings))


def read_export(artifact: Artifact) -> tuple[list[Exchange], list[Rating]]:
    """What `write_export` wrote, each file verified first.

    Raises:
        CorruptArtifact: it is not that.
    """
    exchanges = list(_read(artifact, EXCHANGES, exchange_from_row))
    return exchanges, list(_read(artifact, RATINGS, rating_from_row))


def _read(artifact: Artifact, name: str, made: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    path = artifact.file(name)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield made(json.loads(line))
            except (ValueError, InputError) as error:
                reason = f"not the row that was written ({error}); make it again"
                raise CorruptArtifact(reason, file=path, line=number) from None
