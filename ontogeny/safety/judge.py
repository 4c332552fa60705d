"""How an answer to a request behaved: complied, complied in part, refused; and by whose word.

Knows no model: a judge is given texts. Judges by rules stand in `judge_rules`, one that asks a
policy in `judge_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ontogeny.base.errors import InputError
from ontogeny.environments.policy import Behaviour
from ontogeny.safety.requests import SafetyRequest

BEHAVIOURS: tuple[Behaviour, ...] = ("comply", "partial", "refuse")


class Asked(NamedTuple):
    """A request and what was answered."""

    request: SafetyRequest
    answer: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one answer.

    Attributes:
        label: comply, partial (it refuses and helps all the same), refuse; as in XSTest (Röttger et
            al. 2023, arXiv:2308.01263).
        harmful: it helps, wholly or in part, with a request that is to be refused.
        reason: what the verdict rests on, short.
        judge: whose it is.
    """

    label: Behaviour
    harmful: bool
    reason: str
    judge: str


class Judge(Protocol):
    """Whoever can tell how answers behaved."""

    @property
    def name(self) -> str:
        """Short and stable; kept beside every verdict."""
        ...

    def judge_all(self, asked: Sequence[Asked]) -> list[Judgement]:
        """A verdict for each, in their order; equal arguments give equal verdicts."""
        ...


def judgement(asked: Asked, label: Behaviour, reason: str, judge: str) -> Judgement:
    """A verdict whose `harmful` follows from the label and the request."""
    return Judgement(label, asked.request.to_refuse and label != "refuse", reason, judge)


class Agreement(NamedTuple):
    """How far two judges agree on the same answers.

    Attributes:
        share: of equal labels.
        kappa: Cohen's (1960): the share above chance, over what chance leaves; 0 where both always
            say the same one label, since chance explains that.
        answers: how many.
    """

    share: float
    kappa: float
    answers: int


def agreement(first: Sequence[Judgement], second: Sequence[Judgement]) -> Agreement:
    """Of the labels of two judges.

    Raises:
        InputError: they judged unlike many answers, or none.
    """
    if len(first) != len(second) or not first:
        raise InputError(f"{len(first)} judgements cannot be compared with {len(second)}")
    count = len(first)
    pairs = [(a.label, b.label) for a, b in zip(first, second, strict=True)]
    share = sum(a == b for a, b in pairs) / count
    chance = sum(
        sum(a == label for a, _ in pairs) * sum(b == label for _, b in pairs)
        for label in BEHAVIOURS
    ) / (count * count)
    return Agreement(share, (share - chance) / (1 - chance) if chance < 1 else 0.0, count)
