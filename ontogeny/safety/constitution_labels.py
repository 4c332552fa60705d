"""Two answers of a model to one prompt, labelled under a constitution, and the rows they become.

Knows no policy and no model; labels are read again by `constitution_diff`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.seeds import named_seed
from ontogeny.environments.policy import REFUSAL
from ontogeny.rollout.flow import Flow
from ontogeny.safety.constitution import Constitution
from ontogeny.safety.constitution_prompts import Prompt
from ontogeny.safety.constitution_voice import Voice, turn
from ontogeny.safety.feedback import Opinion, compare

LABELS = "labels.jsonl"
CONSTITUTION = "constitution.json"
"""The file of a payload that keeps the principles it was made under."""
Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Two answers to a prompt, as sampled, and the label.

    Attributes:
        prompt_ids: what the author read.
        ids: of both answers, what ended them included.
        answers: their texts, which differ.
    """

    asked: Prompt
    prompt_ids: Ids
    ids: tuple[Ids, Ids]
    answers: tuple[str, str]
    opinion: Opinion


def label(
    asked: Prompt,
    constitution: Constitution,
    author: Voice,
    judge: Voice | None,
    *,
    answers: int,
    seed: int,
    thinks: bool = False,
    refusal: bool = False,
) -> Flow[Labelled | None]:
    """The episode of one prompt: the first of `answers` draws is compared with another.

    That is the first one that behaves otherwise (refuses, say), else the first of another text;
    None where all are the same. Draws follow from `seed` alone, and no principle has a say in
    which are compared, so two constitutions label the same answers.

    Args:
        refusal: the fixed refusal counts as the last draw, for models that never refuse.
    """
    question = [turn("user", asked.text)]
    asks = tuple(author.says(question, named_seed(seed, "answer", n)) for n in range(answers))
    said: dict[str, Ids] = {}
    for completion in (yield asks):
        said.setdefault(author.text(completion), completion.ids)
    if refusal:
        said.setdefault(REFUSAL, (*author.tokenizer.encode(REFUSAL), author.tokenizer.end_of_turn))
    if len(said) < 2:
        return None
    first, *others = said
    shown = asked.behaves(first)
    other = next((each for each in others if asked.behaves(each) != shown), others[0])
    both = (first, other)
    opinion = yield from compare(asked, both, constitution, judge, seed=seed, thinks=thinks)
    return Labelled(asked, author.reads(question), (said[first], said[other]), both, opinion)


def label_row(each: Labelled) -> dict[str, Any]:
    """A line of `LABELS`: the answers in the order of their draws, decided or not."""
    return {
        "pair": _key(each.asked.id, each.answers),
        "task": each.asked.id,
        "prompt": each.asked.text,
        "label": each.asked.label,
        "category": each.asked.category,
        "answers": list(each.answers),
        **_said(each.opinion, swapped=False),
    }


def pair_row(each: Labelled) -> dict[str, Any] | None:
    """A line of pairs.jsonl as `stages.pairs` writes it, `probability` that the chosen is better.

    None where the label is even.
    """
    if not each.opinion.decided:
        return None
    swapped = each.opinion.p < 0.5
    better, worse = (1, 0) if swapped else (0, 1)
    return {
        "task": each.asked.id,
        "prompt": list(each.prompt_ids),
        "chosen": list(each.ids[better]),
        "rejected": list(each.ids[worse]),
        "texts": [each.asked.text, each.answers[better], each.answers[worse]],
        **_said(each.opinion, swapped=swapped),
    }


def _said(opinion: Opinion, *, swapped: bool) -> dict[str, Any]:
    turned = [1.0 - each if swapped else each for each in (opinion.p, *opinion.orders)]
    return {
        "probability": turned[0],
        "principle": opinion.principle,
        "judge": opinion.judge,
        "reason": opinion.reason,
        "orders": turned[1:],
    }


def _key(task: str, answers: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([task, *answers]).encode()).hexdigest()[:16]
