"""What a model answered -> right, normed, nats, item by item, and the series of a suite.

Knows no policy. Ties go to the first choice, as in lm_eval.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import Series, proportion
from ontogeny.evaluate.suite import Suite
from ontogeny.evaluate.suite_answers import (
    Answers,
    Room,
    Scored,
    encoded,
    pair,
    text_until,
)
from ontogeny.evaluate.suite_prompts import Question
from ontogeny.evaluate.suite_rows import Item, Loaded
from ontogeny.plan.sampling import GREEDY
from ontogeny.rollout.policy import Continuation, Request
from ontogeny.text.tokenizer import Tokenizer

SCORES = {"right": "acc", "norm": "acc_norm", "flexible": "flexible"}
"""Series of shares -> what readers know them as."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item's answer.

    Attributes:
        scores: series name -> 1.0 or 0.0, or nats of the gold answer.
        log_probs: of each choice, nats.
        said: the sampled text.
    """

    scores: Mapping[str, float]
    log_probs: tuple[float, ...] = ()
    said: str = ""


def of_choices(question: Question, log_probs: Sequence[float], *, normed: bool) -> Outcome:
    """right: the likeliest choice is the gold one; norm: the likeliest a character."""
    scores = {"right": float(_likeliest(log_probs) == question.gold)}
    if normed:
        each = [nats / len(text) for nats, text in zip(log_probs, question.choices, strict=True)]
        scores["norm"] = float(_likeliest(each) == question.gold)
    return Outcome(scores | {"nats": -log_probs[question.gold]}, tuple(log_probs))


def of_word(scored: Scored) -> Outcome:
    """right: greedy decoding says exactly that."""
    return Outcome({"right": float(scored.greedy), "nats": -scored.log_prob}, (scored.log_prob,))


def of_text(suite: Suite, question: Question, said: str) -> Outcome:
    """What the suite's judge says of a sampled text."""
    judged = suite.judge(said, question.answer)
    return Outcome({name: float(value) for name, value in judged.items()}, said=said)


def answer(
    loaded: Sequence[Loaded], answers: Answers, tokenizer: Tokenizer, room: Room, most: int
) -> list[list[Outcome]]:
    """The outcome of every item of every suite; `most` tokens are sampled where one is sampled.

    Raises:
        InputError: naming file and line, what does not fit the context.
    """
    scored: list[Continuation] = []
    sampled: list[Request] = []
    for each in loaded:
        for item in each.items:
            with at(each, item):
                if each.suite.kind == "answer":
                    sampled.append(_request(item, each.suite, tokenizer, room, most))
                else:
                    scored += _continuations(item, tokenizer, room)
    likely, said = iter(answers.score(scored)), iter(answers.sample(sampled))

    def outcome(suite: Suite, question: Question) -> Outcome:
        if suite.kind == "answer":
            text = text_until(tokenizer, next(said), suite.until)
            return of_text(suite, question, text)
        if suite.kind == "word":
            return of_word(next(likely))
        found = [next(likely).log_prob for _ in question.targets]
        return of_choices(question, found, normed=suite.normed)

    return [[outcome(each.suite, item.question) for item in each.items] for each in loaded]


def _continuations(item: Item, tokenizer: Tokenizer, room: Room) -> list[Continuation]:
    pairs = zip(item.contexts(), item.question.targets, strict=True)
    return [room.continuation(*pair(tokenizer, *each)) for each in pairs]


def _request(item: Item, suite: Suite, tokenizer: Tokenizer, room: Room, most: int) -> Request:
    (context,) = item.contexts()
    return Request(
        prompt=room.prompt(encoded(tokenizer, context), most),
        max_tokens=most,
        sampling=GREEDY,
        stop=tokenizer.stops(chats=True),
        stop_strings=suite.until,
    )


@contextlib.contextmanager
def at(loaded: Loaded, item: Item) -> Iterator[None]:
    """What is raised inside is told of the item's file and line."""
    try:
        yield
    except InputError as error:
        raise InputError(error.reason, file=loaded.path, line=item.line) from None


def series_of(loaded: Loaded, outcomes: Sequence[Outcome]) -> dict[str, Series]:
    """NAME.right, NAME.norm, NAME.nats ...: one unit an item."""
    units = [item.unit for item in loaded.items]
    ones = [1.0] * len(units)
    return {
        f"{loaded.name}.{score}": Series(units, [each.scores[score] for each in outcomes], ones)
        for score in outcomes[0].scores
    }


def rows_of(loaded: Loaded, outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """A line of items.jsonl each: no text of the questions."""
    for item, each in zip(loaded.items, outcomes, strict=True):
        row: dict[str, Any] = {"suite": loaded.name, "unit": item.unit, "line": item.line}
        row |= {"id": item.id} if item.id else {}
        row |= {"group": item.question.group} if item.question.group else {}
        if each.log_probs:
            row |= {"log_probs": each.log_probs, "gold": item.question.gold}
            row |= {"chosen": _likeliest(each.log_probs)}
        else:
            row |= {"said": each.said}
        yield {**row, **each.scores}


def levels_of(series: Mapping[str, Series], seed: int) -> dict[str, Interval]:
    """The level of every series with its 95 % interval: Wilson's of shares, else a bootstrap."""
    return {name: proportion(each, f"{name} {seed}") for name, each in series.items()}


def told(loaded: Loaded, levels: Mapping[str, Interval]) -> str:
    """One line on a suite for a reader."""
    parts = []
    for score, word in SCORES.items():
        if found := levels.get(f"{loaded.name}.{score}"):
            parts.append(f"{word} {found.value:.1%} [{found.low:.1%}, {found.high:.1%}]")
    if nats := levels.get(f"{loaded.name}.nats"):
        last = loaded.suite.kind == "word"
        parts.append(f"perplexity {math.exp(nats.value):.4g}" if last else f"{nats.value:.4g} nats")
    shots = f", {loaded.shots} examples" if loaded.shots else ""
    return f"{loaded.name}: {', '.join(parts)}; {len(loaded.items):,} questions{shots}"


def _likeliest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
