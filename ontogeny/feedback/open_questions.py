"""Questions that have no right answer, in three disjoint splits.

Knows no model and no taste. What makes a question new is its topics: those of one split never
stand in another, whatever the wording.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import SPLITS, side, task_id
from ontogeny.environments.words import WORDS

NAME = "open"
ONE = (
    "Tell me about the {x}.",
    "What do you think of the {x}?",
    "Write a sentence about the {x}.",
    "Describe the {x}.",
    "What comes to mind when you hear: {x}?",
    "Say something about the {x}.",
    "Why do people like the {x}?",
    "What goes well with the {x}?",
    "Name something near the {x}.",
    "What would you give for the {x}?",
)
TWO = (
    "Tell me about the {x} and the {y}.",
    "What do the {x} and the {y} have in common?",
    "Do you prefer the {x} or the {y}, and why?",
    "What lies between the {x} and the {y}?",
)
_DRAWS_PER_QUESTION = 100


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question and its name, which follows from its text."""

    id: str
    prompt: str


def topics(split: str) -> list[str]:
    """The words that questions of a split are about.

    Raises:
        InputError: no such split.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r}; splits are {', '.join(SPLITS)}")
    return [word for word in WORDS if side(f"{NAME}\0{word}") == split]


def open_questions(split: str, count: int, seed: int) -> list[OpenQuestion]:
    """`count` different questions. Equal arguments give equal questions.

    Raises:
        InputError: no such split, or it holds fewer.
    """
    known, source = topics(split), random.Random(named_seed(seed, NAME, split))
    found: dict[str, None] = {}
    for _ in range(_DRAWS_PER_QUESTION * count):
        if len(found) == count:
            break
        x, y = source.sample(known, 2)
        found[source.choice(ONE + TWO).format(x=x, y=y)] = None
    if len(found) < count:
        raise InputError(
            f"only {len(found)} open questions are in split {split}, {count} are asked for; "
            "ask for fewer"
        )
    return [OpenQuestion(task_id(NAME, prompt), prompt) for prompt in found]
