"""What every stage that reads a user's own rows is told, and what it writes about them.

Knows no form of rows and no tokenizer.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.corpus.files import write_table
from ontogeny.corpus.intake import Form, Intake, Item, repeated, take_in
from ontogeny.corpus.sources import fingerprint, parse
from ontogeny.corpus.table import removed_table
from ontogeny.text.message import Message
from ontogeny.text.rows import KNOWN, Misfit

T = TypeVar("T")
Named = list[tuple[str, T]]


@dataclass(frozen=True, kw_only=True)
class OwnRows:
    """Rows of a user's own files.

    `sources` are DOMAIN=path:PATH (see `ontogeny.corpus.sources`); where they lie is execution,
    what they contain is identity. `columns` says what the columns of a set with other names are
    called: the keys of `ontogeny.text.rows.KNOWN`. A row that does not fit is skipped and counted;
    more than the share `tolerated` of such rows is an error. What takes more than `longest` tokens
    is left out (0: nothing is). With `scrubbed`, mail addresses, phone and card numbers and keys
    become placeholders.

    Raises:
        InputError: no source, or a number or column that cannot be meant.
    """

    sources: tuple[str, ...] = execution(())
    columns: Mapping[str, str] = field(default_factory=dict)
    tolerated: float = 0.1
    longest: int = 0
    scrubbed: bool = True

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("no sources; give at least one DOMAIN=path:PATH")
        for meaning in self.columns:
            if meaning not in KNOWN:
                raise InputError(f"no column means '{meaning}'; give {', '.join(KNOWN)}")
        if not 0 <= self.tolerated < 1 or self.longest < 0:
            raise InputError("tolerated is a share below 1, longest a number of tokens or 0")

    def identity(self) -> dict[str, Any]:
        """The content of the sources, in place of where they lie."""
        known = [(parse(spec).domain, _fingerprint(spec, self.trains)) for spec in self.sources]
        return {"sources": [list(each) for each in known]}

    @property
    def trains(self) -> bool:
        """Whether what is read may be trained on."""
        return True

    def taken(self, form: Form[T], progress: Callable[[int, int, str], None]) -> Intake[T]:
        """The rows of all sources that fit `form`, each content once, each by a name of its own.

        Args:
            progress: told (sources done, sources in all, "sources").

        Raises:
            InputError: naming file and line.
        """
        together: Intake[T] = Intake()
        changes: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        for done, spec in enumerate(self.sources):
            progress(done, len(self.sources), "sources")
            found = take_in(
                spec,
                _fingerprint(spec, self.trains),
                form,
                tolerated=self.tolerated,
                scrubbed=self.scrubbed,
                trains=self.trains,
            )
            labels[found.label] += 1
            if labels[found.label] > 1:  # a/rows.jsonl and b/rows.jsonl
                found.call(f"{found.label}#{labels[found.label]}")
            together.items += found.items
            together.removed += found.removed
            changes.update(found.changed)
        together.changed = dict(sorted(changes.items()))
        together.drop(repeated())
        progress(len(self.sources), len(self.sources), "sources")
        return together

    def too_long(self, tokens: Mapping[str, int]) -> Callable[[Item[Any]], tuple[str, str] | None]:
        """For `Intake.drop`: what takes more than `longest` of the tokens counted by name."""
        return longer(self.longest, tokens)


@dataclass(frozen=True, kw_only=True)
class OwnTalks(OwnRows):
    """Rows with prompts and answers, of which the share `heldout` is kept from training.

    Raises:
        InputError: see `OwnRows`, or `heldout` is no share.
    """

    heldout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.heldout < 1:
            raise InputError(f"heldout is {self.heldout}; give a share from 0 to below 1")

    def sides(self, found: Intake[T], asked: Callable[[T], str]) -> dict[str, dict[str, Named[T]]]:
        """`sides_of` for the domains of the sources."""
        return sides_of(found, asked, self.heldout, [parse(spec).domain for spec in self.sources])


def side_of(prompt: str, heldout: float) -> str:
    """ "train" or "heldout", by the folded prompt alone: equal ones are never on both sides."""
    digest = hashlib.sha256(f"held out\0{folded(prompt)}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2.0**64
    return "heldout" if place < heldout else "train"


def sides_of(
    found: Intake[T], asked: Callable[[T], str], heldout: float, domains: Iterable[str]
) -> dict[str, dict[str, Named[T]]]:
    """Domain -> split -> name and value of each item, in the order of the sources.

    Args:
        asked: the prompt that decides the side of a value.
        heldout: the share that is kept from training.
        domains: all that items are of.

    Raises:
        InputError: a domain has nothing on a side, which a later stage would need.
    """
    splits = ("train", "heldout") if heldout else ("train",)
    sides: dict[str, dict[str, Named[T]]] = {
        domain: {split: [] for split in splits} for domain in domains
    }
    for item in found.items:
        sides[item.domain][side_of(asked(item.value), heldout)].append((item.name, item.value))
    for domain, by_split in sides.items():
        if not by_split["train"]:
            raise InputError(
                f"nothing of domain '{domain}' is left to train on ({_why(found)}); bring more"
            )
        if not all(by_split.values()):
            raise InputError(
                f"none of the {len(by_split['train'])} of domain '{domain}' falls into the "
                f"share {heldout:g} that is held out; bring more, raise heldout, or give 0"
            )
    return sides


def longer(
    longest: int, tokens: Mapping[str, int]
) -> Callable[[Item[Any]], tuple[str, str] | None]:
    """For `Intake.drop`: what takes more than `longest` (0: any number) of the tokens by name."""

    def why(item: Item[Any]) -> tuple[str, str] | None:
        over = longest and tokens[item.name] > longest
        detail = f"{tokens[item.name]} tokens, {longest} allowed"
        return ("too_long", detail) if over else None

    return why


@functools.cache
def _fingerprint(spec: str, trains: bool) -> str:
    return fingerprint(spec, trains=trains)


def _why(found: Intake[Any]) -> str:
    reasons = found.reasons().items()
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons) or "nothing was left out"


def questions_in(messages: Iterable[Message]) -> list[str]:
    """What the user says, turn by turn."""
    return [each.content for each in messages if each.role == "user"]


def texts_of(messages: Iterable[Message]) -> list[str]:
    """What the turns say, the arguments of each turn's tool calls behind its content."""
    found: list[str] = []
    for message in messages:
        found += [message.content, *(call.arguments for call in message.tool_calls)]
    return found


def with_texts(messages: Iterable[Message], texts: Sequence[str]) -> tuple[Message, ...]:
    """The turns with cleaned texts in the order of `texts_of`.

    Raises:
        Misfit: `empty_turn`, `bad_turn`.
    """
    rest = iter(texts)
    found: list[Message] = []
    for message in messages:
        content = next(rest)
        if message.content and not content.strip() and not message.tool_calls:
            raise Misfit("empty_turn", f"after cleaning, a turn of the {message.role} says nothing")
        try:
            calls = tuple(replace(call, arguments=next(rest)) for call in message.tool_calls)
        except InputError as error:
            raise Misfit("bad_turn", f"after cleaning, {error.reason}") from None
        found.append(replace(message, content=content, tool_calls=calls))
    return tuple(found)


def write_account(directory: Path, found: Intake[Any], kept: Mapping[str, int]) -> dict[str, float]:
    """Writes removed.parquet and report.json; returns the counts as metrics.

    Args:
        kept: how many are in which split.
    """
    write_table(directory, "removed", removed_table(found.removed))
    account = {"kept": dict(kept), "removed": found.reasons(), "changed": found.changed}
    write_json(directory / "report.json", account)
    return {
        f"{section}.{name}": float(count)
        for section, counts in account.items()
        for name, count in counts.items()
    }


def told(what: str, found: Intake[Any], kept: Mapping[str, int]) -> str:
    """One line for a person: what was kept, where, and what was not."""
    sides = ", ".join(f"{count:,} {name}" for name, count in kept.items() if count)
    return f"{what}: {sides}; {len(found.removed):,} left out" + (
        f" ({_why(found)})" if found.removed else ""
    )


def contaminated(
    examined: Container[str], asked: Callable[[T], list[str]]
) -> Callable[[Item[T]], tuple[str, str] | None]:
    """For `Intake.drop`: what asks a question that an examination asks.

    Args:
        examined: such questions, `folded`.
        asked: the questions in a value.
    """

    def why(item: Item[T]) -> tuple[str, str] | None:
        if any(folded(question) in examined for question in asked(item.value)):
            return "contaminated", "asks what a held-out or exam task asks"
        return None

    return why


def folded(text: str) -> str:
    """`text` without what makes no other question of it: capitals and white space."""
    return " ".join(text.split()).casefold()
