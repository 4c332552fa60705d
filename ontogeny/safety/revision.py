"""Answer, then rounds of critique and revision under a principle drawn at random.

The supervised half of Bai et al. 2022 (arXiv:2212.08073, section 3): the author answers, a critic
says where the answer breaks a principle, the author revises; every revision is kept. A principle
with a rule can be judged by that instead of in words: then the rule's reason is the critique, and
the revision is what the rule prescribes, or the author's next answer where it prescribes none.

Knows no policy and no model; parts are asked through `constitution_voice`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ontogeny.base.seeds import named_seed
from ontogeny.rollout.flow import Flow
from ontogeny.safety.constitution import Constitution, Principle
from ontogeny.safety.constitution_prompts import Prompt
from ontogeny.safety.constitution_voice import Voice, turn

BY_RULE = "rule:"


@dataclass(frozen=True, slots=True)
class Round:
    """One critique and what came of it.

    Attributes:
        principle: its name.
        critic: who judged: a part of the cast, or "rule:NAME".
        critique: its words.
        kept: whether a rule found the principle kept; None where the critic spoke in words.
        answer: after this round.
    """

    principle: str
    critic: str
    critique: str
    kept: bool | None
    answer: str


@dataclass(frozen=True, slots=True)
class Revised:
    """One prompt with its first answer and all rounds, in order."""

    asked: Prompt
    first: str
    rounds: tuple[Round, ...]

    @property
    def answers(self) -> list[str]:
        """The first answer, and the one after each round."""
        return [self.first, *(each.answer for each in self.rounds)]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        names = Round.__slots__
        return {
            "task": self.asked.id,
            "prompt": self.asked.text,
            "label": self.asked.label,
            "category": self.asked.category,
            "first": self.first,
            "rounds": [{name: getattr(each, name) for name in names} for each in self.rounds],
        }


def revise(
    asked: Prompt,
    constitution: Constitution,
    author: Voice,
    critic: Voice | None,
    *,
    rounds: int,
    seed: int,
) -> Flow[Revised]:
    """The episode of one prompt.

    Principles come in the order of `Constitution.order`; one comes again only when all that apply
    have been. Where none applies the first answer stands.

    Args:
        critic: speaks in words; None judges by the principles' rules.
    """
    question = turn("user", asked.text)
    answer = author.text((yield author.says([question], named_seed(seed, "answer"))))
    first, done = answer, []
    order = constitution.order(asked, seed, by_rule=critic is None)
    for number in range(rounds if order else 0):
        principle = order[number % len(order)]
        draw = named_seed(seed, "round", number)
        if critic is None:
            made = yield from _by_rule(asked, principle, author, answer, draw)
        else:
            made = yield from _in_words(asked, principle, author, critic, answer, draw)
        done.append(made)
        answer = made.answer
    return Revised(asked, first, tuple(done))


def _by_rule(
    asked: Prompt, principle: Principle, author: Voice, answer: str, seed: int
) -> Flow[Round]:
    rule = principle.programmed()
    assert rule is not None
    critic = f"{BY_RULE}{principle.rule}"
    verdict = rule.judge(asked, answer, principle.number)
    if verdict.kept:
        return Round(principle.name, critic, verdict.reason, True, answer)
    better = rule.remedy(asked, answer, principle.number)
    if better is None:
        question = turn("user", asked.text)
        again = author.text((yield author.says([question], named_seed(seed, "again"))))
        better = again if rule.judge(asked, again, principle.number).kept else answer
    return Round(principle.name, critic, verdict.reason, False, better)


def _in_words(
    asked: Prompt, principle: Principle, author: Voice, critic: Voice, answer: str, seed: int
) -> Flow[Round]:
    talk = [turn("user", asked.text), turn("assistant", answer)]
    talk.append(turn("user", principle.asks("critique")))
    critique = critic.text((yield critic.says(talk, named_seed(seed, "critique"))))
    talk += [turn("assistant", critique), turn("user", principle.asks("revision"))]
    better = author.text((yield author.says(talk, named_seed(seed, "revision"))))
    return Round(principle.name, critic.part, critique, None, better or answer)
