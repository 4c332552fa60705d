"""Which of two answers keeps a principle better: a judge's soft label, both positions heard.

The feedback of Bai et al. 2022 (arXiv:2212.08073, section 4): a judge reads both answers and a
principle, and the probabilities of "(A)" and "(B)" are the label. Judges favour a position, so
each pair is shown in both orders and the two probabilities are averaged. After a chain of thought
probabilities are near 0 or 1; they are clamped to 0.4 to 0.6 as there. A judge that cannot be
asked for likelihoods says its letter. A rule gives a hard label with its reason.

Knows no policy and no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ontogeny.base.seeds import named_seed
from ontogeny.rollout.flow import Flow
from ontogeny.safety.constitution import Constitution, Principle
from ontogeny.safety.constitution_prompts import Prompt
from ontogeny.safety.constitution_voice import SILENCE, Voice, turn
from ontogeny.safety.revision import BY_RULE
from ontogeny.text.message import Message

LETTERS = ("A", "B")
CLAMP = (0.4, 0.6)
"""Of a probability behind a chain of thought."""
PUT = """Two assistants answered this message:
{prompt}

Answer (A): {a}

Answer (B): {b}

{question}"""
LETTER_ALONE = "Reply with the letter of the better answer, A or B, and nothing else."
THINK = "Think about both answers in a few sentences, then name the better one: (A) or (B)."
VERDICT = "The better answer is ("
_MARKED = re.compile(r"\(([AB])\)")
_NAMED = (
    re.compile(r"\bbetter (?:answer |one )?is:? \W*([AB])\b"),
    re.compile(r"\b([AB])\)? is (?:the |clearly |much |far |slightly )*better\b"),
    re.compile(r"\A\W*(?:[Aa]nswer:? \W*)?([AB])\)?(?=\W*\Z|\s*[.,:;\n]| because\b)"),
    re.compile(r"(?<!than )(?<!over )(?<!not )(?<!and )(?<!or )(?<!to )\(([AB])\)\W*\Z"),
)
"""How a letter is named as the better one, the plainest way first."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """A label for two answers, the first and the second.

    Attributes:
        p: probability that the first is better, the mean of both orders.
        principle: its name; "" where none told them apart.
        judge: a part of the cast, or "rule:NAME".
        reason: the judge's words, or what it said of its letters.
        orders: that the first is better where it stood as (A), and where it stood as (B).
    """

    p: float
    principle: str
    judge: str
    reason: str
    orders: tuple[float, float]

    @property
    def decided(self) -> bool:
        """Whether one of the two is better at all."""
        return self.p != 0.5


def compare(
    asked: Prompt,
    answers: tuple[str, str],
    constitution: Constitution,
    judge: Voice | None,
    *,
    seed: int,
    thinks: bool = False,
) -> Flow[Opinion]:
    """The episode of one pair.

    The principle is the first of `Constitution.order`; of those with rules the first that tells
    the answers apart. Where none does, p is one half.

    Args:
        judge: by words; None is judged by the principles' rules.
        thinks: the judge writes a chain of thought before its letter.
    """
    opinion = Opinion(0.5, "", "", "no principle tells the answers apart", (0.5, 0.5))
    for principle in constitution.order(asked, seed, by_rule=judge is None):
        if judge is None:
            opinion = _by_rule(asked, answers, principle)
        else:
            draw = named_seed(seed, "judge", principle.name)
            opinion = yield from _in_words(asked, answers, principle, judge, draw, thinks)
        if opinion.decided or judge is not None:
            return opinion
    return Opinion(0.5, "", opinion.judge, opinion.reason, opinion.orders)


def _by_rule(asked: Prompt, answers: tuple[str, str], principle: Principle) -> Opinion:
    rule = principle.programmed()
    assert rule is not None
    first, second = (rule.judge(asked, each, principle.number) for each in answers)
    p = 0.5 + 0.5 * (first.kept - second.kept)
    reason = f"first: {first.reason}; second: {second.reason}"
    return Opinion(p, principle.name, f"{BY_RULE}{principle.rule}", reason, (p, p))


def _in_words(
    asked: Prompt,
    answers: tuple[str, str],
    principle: Principle,
    judge: Voice,
    seed: int,
    thinks: bool,
) -> Flow[Opinion]:
    orders = (answers, answers[::-1])
    question = principle.asks("prefer")
    words: Sequence[str] = ("", "")
    if thinks or not judge.scores:
        last = THINK if thinks else LETTER_ALONE
        shown = [_put(asked, order, f"{question}\n{last}") for order in orders]
        heard = yield tuple(
            judge.says(shown[n], named_seed(seed, "thought", n)) for n in range(len(orders))
        )
        words = [judge.text(each) for each in heard]
    if judge.scores:
        shown = [_put(asked, order, f"{question}\n{THINK if thinks else ''}") for order in orders]
        begun = [f"{each}\n\n{VERDICT}" if thinks else VERDICT for each in words]
        ends = [f"{letter})" for letter in LETTERS]
        asks = [judge.finds(*pair, ends) for pair in zip(shown, begun, strict=True)]
        heard = yield tuple(each for order in asks for each in order)
        sums = [each.total() for each in heard]
        as_a = [_share(sums[0], sums[1]), _share(sums[2], sums[3])]
    else:
        as_a = [_letter(each) for each in words]
    if thinks:
        as_a = [min(max(each, CLAMP[0]), CLAMP[1]) for each in as_a]
    first = (as_a[0], 1.0 - as_a[1])
    reason = (
        " | ".join(words)
        if any(words)
        else (f"(A) with {as_a[0]:.2f} as shown, with {as_a[1]:.2f} the other way round")
    )
    return Opinion(sum(first) / 2, principle.name, judge.part, reason, first)


def _put(asked: Prompt, answers: tuple[str, str], question: str) -> list[Message]:
    a, b = (each or SILENCE for each in answers)
    text = PUT.format(prompt=asked.text, a=a, b=b, question=question.strip())
    return [turn("user", text)]


def _share(first: float, second: float) -> float:
    """exp(first) / (exp(first) + exp(second)), without overflow."""
    return 1.0 / (1.0 + math.exp(min(second - first, 700.0)))


def _letter(said: str) -> float:
    """That (A) is better, by the letter that is named so, else by the only one; or one half.

    "A good answer" begins with an article, no letter, and "(A), because (B) is rude" names (A).
    """
    named = next((found for way in _NAMED if (found := way.findall(said))), [])
    letters = named[-1:] or sorted(set(_MARKED.findall(said)))
    return float(letters == [LETTERS[0]]) if len(letters) == 1 else 0.5


@dataclass(frozen=True, slots=True)
class Bias:
    """How a judge treats the two positions, over pairs that it judged in words.

    Attributes:
        first: mean probability of (A) over both orders, less one half; 0 is fair.
        flipped: share of pairs whose better answer changes with the order.
        pairs: how many.
    """

    first: float
    flipped: float
    pairs: int


def favour(orders: tuple[float, float]) -> float:
    """How much a judge favoured (A) in one pair, -0.5 to 0.5; see `Opinion.orders`."""
    as_shown, swapped = orders
    return (as_shown + 1.0 - swapped) / 2 - 0.5


def flips(orders: tuple[float, float]) -> bool:
    """Whether the better answer changes with the order."""
    as_shown, swapped = orders
    return (as_shown - 0.5) * (swapped - 0.5) < 0


def bias(opinions: Sequence[Opinion]) -> Bias | None:
    """Of the opinions in words; None where there is none."""
    said = [each.orders for each in opinions if each.judge and not each.judge.startswith(BY_RULE)]
    if not said:
        return None
    count = len(said)
    return Bias(sum(map(favour, said)) / count, sum(map(flips, said)) / count, count)
