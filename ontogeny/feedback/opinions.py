"""Votes put together by what they are about: an answer to a prompt, or two answers to it.

Knows no rules and no weights. Texts are compared as they are after cleaning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from ontogeny.corpus.table import Removal
from ontogeny.feedback.exchange import Answer
from ontogeny.feedback.voters import Item, Vote, digest, prompt_key, removal
from ontogeny.text.message import Message

FINISHED = "stop"
"""How an answer ends that was not cut off."""


@dataclass(frozen=True)
class Told:
    """All that was said of one item.

    Attributes:
        says: user -> from -1 to 1; of two answers, 1 is for the first.
        rejected: the second answer, of two.
        corrections: which of the two are somebody's correction and no answer of a model.
    """

    item: Item
    prompt: tuple[Message, ...]
    answer: Answer
    says: Mapping[str, float]
    rejected: Answer | None = None
    corrections: tuple[bool, bool] = (False, False)

    def turned(self) -> Told:
        """The same with the other answer first."""
        assert self.rejected is not None
        return replace(
            self,
            answer=self.rejected,
            rejected=self.answer,
            says={user: -say for user, say in self.says.items()},
            corrections=self.corrections[::-1],
        )

    @property
    def rejected_correction(self) -> bool:
        """Whether the worse of the two is a correction."""
        return self.rejected is not None and self.corrections[1]


@dataclass
class Heard:
    """What the votes say, by item, and which items have a vote that is new."""

    opinions: dict[Item, dict[str, int]] = field(default_factory=dict)
    fresh: set[Item] = field(default_factory=set)
    prompts: dict[str, tuple[Message, ...]] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    sampled: set[tuple[str, str]] = field(default_factory=set)
    removed: list[Removal] = field(default_factory=list)

    def keep(self, prompt: str, answer: Answer) -> str:
        """The digest of an answer, which is kept; of two alike, one that was not cut off."""
        key = digest("answer", answer.message.content)
        alike = (self.answers.get((prompt, key), answer), answer)
        self.answers[prompt, key] = min(alike, key=lambda e: (e.finish != FINISHED, e.finish))
        return key

    def add(self, vote: Vote, prompt: str, better: str, worse: str = "") -> None:
        """This vote's user finds an answer good, or better than another."""
        turned = bool(worse) and worse < better
        item = Item(prompt, worse, better) if turned else Item(prompt, better, worse)
        self._put(vote, item, -1 if turned else 1)

    def add_against(self, vote: Vote, prompt: str, answer: str) -> None:
        """This vote's user finds an answer bad."""
        self._put(vote, Item(prompt, answer), -1)

    def _put(self, vote: Vote, item: Item, label: int) -> None:
        self.opinions.setdefault(item, {})[vote.rating.user] = label
        if vote.fresh:
            self.fresh.add(item)

    def told(self, item: Item, says: Mapping[str, float]) -> Told:
        """What `says` is about."""
        pair = (item.answer, item.other)
        corrected = [bool(each) and (item.prompt, each) not in self.sampled for each in pair]
        return Told(
            item,
            self.prompts[item.prompt],
            self.answers[item.prompt, item.answer],
            says,
            self.answers[item.prompt, item.other] if item.other else None,
            (corrected[0], corrected[1]),
        )

    def together(self, item: Item) -> dict[str, float]:
        """What users say of two answers: directly, or by what they say of each, at half weight."""
        one, other = (
            self.opinions.get(Item(item.prompt, each), {}) for each in (item.answer, item.other)
        )
        says = {u: (one.get(u, 0) - other.get(u, 0)) / 2 for u in {*one, *other}}
        return says | self.opinions.get(item, {})

    def apart(self, liked: Mapping[Item, float], most: int) -> Iterator[Told]:
        """Two answers to one prompt, one found good and the other bad, by different votes.

        Args:
            liked: log-odds of each answer being good.
            most: answers on each side of a prompt, the surest first.
        """
        by_prompt: defaultdict[str, list[tuple[float, Item]]] = defaultdict(list)
        for item, log_odds in liked.items():
            by_prompt[item.prompt].append((log_odds, item))
        for each in by_prompt.values():
            good = sorted((-odds, item) for odds, item in each if odds > 0)[:most]
            bad = sorted((odds, item) for odds, item in each if odds < 0)[:most]
            for (_, up), (_, down) in product(good, bad):
                first, second = sorted((up.answer, down.answer))
                if up in self.fresh or down in self.fresh:
                    item = Item(up.prompt, first, second)
                    yield self.told(item, self.together(item))


def told_of(said: Heard, *, pairs: bool, fresh: bool = True) -> Iterator[Told]:
    """What was said of each item: of two answers, or of one; in an order of their own.

    Args:
        fresh: only where a vote is new.
    """
    for item in sorted(said.fresh if fresh else said.opinions):
        if bool(item.other) is pairs:
            yield said.told(item, said.together(item) if pairs else said.opinions[item])


def heard(votes: Iterable[Vote]) -> Heard:
    """The votes by what they are about."""
    found = Heard()
    for vote in votes:
        exchange, rating = vote.exchange, vote.rating
        prompt = prompt_key(exchange.messages)
        found.prompts[prompt] = exchange.messages
        keys = [found.keep(prompt, each) for each in exchange.answers]
        found.sampled |= {(prompt, key) for key in keys}
        chosen = keys[rating.choice if rating.preferred is None else rating.preferred]
        if rating.correction:
            _hear_correction(found, vote, prompt, chosen)
        elif rating.preferred is not None:
            for other in sorted({*keys} - {chosen}):
                found.add(vote, prompt, chosen, other)
        elif rating.score is not None and rating.score > 0:
            found.add(vote, prompt, chosen)
        else:
            found.add_against(vote, prompt, chosen)
    return found


def _hear_correction(found: Heard, vote: Vote, prompt: str, wrong: str) -> None:
    """A correction is good, what it corrects is not, and it is better than that."""
    text = vote.rating.correction
    right = digest("answer", text)
    if right == wrong:
        found.removed.append(removal(vote.name, "same_answer", "corrects nothing"))
        return
    found.keep(prompt, Answer(Message("assistant", text), FINISHED, 0))
    found.add(vote, prompt, right)
    found.add_against(vote, prompt, wrong)
    found.add(vote, prompt, right, wrong)
