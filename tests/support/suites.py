"""Rows of every known suite, written for the tests, in both forms; odd ones among them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ontogeny.rollout.policy import Completion, Continuation, Likelihood, Request, Sink

Rows = list[dict[str, Any]]
THINGS = ("a stone", "the sea", "rain  water", "na\u00efve fish", "iron", "moss and more moss", "3")


def _some(n: int, count: int) -> list[str]:
    return [f"{THINGS[(n + place) % len(THINGS)]}{'' if n % 2 else '.'}" for place in range(count)]


def _listed(column: str, count: int) -> Rows:
    return [
        {
            "id": f"q{n}",
            column: f"What is number {n}, \u201csaid\u201d twice?" + "  " * (n % 3 == 0),
            "choices": {"text": _some(n, count), "label": list("ABCDE"[:count])},
            "answerKey": "ABCDE"[n % count],
        }
        for n in range(8)
    ]


ROWS: Mapping[str, Rows] = {
    "arc_easy": _listed("question", 4),
    "arc_challenge": [
        {**row, "choices": {**row["choices"], "label": list("1234")}, "answerKey": str(n % 4 + 1)}
        for n, row in enumerate(_listed("question", 4))
    ],
    "hellaswag": [
        {
            "activity_label": "Roof repair",
            "ctx_a": f"[header] How to mend [title] roof {n}. [step] Look up.",
            "ctx_b": "the Man  on top" if n % 2 else "",
            "endings": [f"[substeps] {each} falls down [1]" for each in _some(n, 4)],
            "label": str(n % 4),
        }
        for n in range(8)
    ],
    "piqa": [
        {"goal": f"dry {n} boots ", "sol1": "use a towel ", "sol2": THINGS[n % 7], "label": n % 2}
        for n in range(8)
    ],
    "winogrande": [
        {
            "sentence": f"Ann paid Bea {n} coins because _ was owed  money.",
            "option1": "Ann",
            "option2": "Bea",
            "answer": str(n % 2 + 1),
        }
        for n in range(8)
    ],
    "boolq": [
        {"passage": f"Sea -- It is {n}\nfeet deep.", "question": f"is it {n}", "answer": n % 2 == 0}
        for n in range(8)
    ],
    "commonsense_qa": _listed("question", 5),
    "social_iqa": [
        {
            "context": f"Kim opened door {n}.",
            "question": "Why?",
            **dict(zip(("answerA", "answerB", "answerC"), _some(n, 3), strict=True)),
            "label": str(n % 3 + 1),
        }
        for n in range(8)
    ],
    "openbookqa": _listed("question_stem", 4),
    "mmlu": [
        {
            "question": f" Which is {n}?\n",
            "subject": ("high_school_us_history", "astronomy")[n % 2],
            "choices": [*_some(n, 3), ""],
            "answer": n % 4,
        }
        for n in range(8)
    ],
    "lambada_openai": [
        {"text": f"He saw {n} ships.\n\n\u201cShips,\u201d said Bo"} for n in range(8)
    ],
    "gsm8k": [
        {"question": f"Add {n} and {n}.", "answer": f"{n}+{n}=<<{n}+{n}={n + n}>>\n#### {n + n:,}"}
        for n in range(8)
    ],
    "mine": [
        {"id": n, "query": f"{n} is", "choices": [str(n), "odd", "no number"], "gold": n % 3}
        for n in range(8)
    ],
    "lines": [{"prompt": f"Say {n}:", "answer": str(n)} for n in range(8)],
}
"""Of each suite in the columns of its set; "mine" and "lines" are files of one's own."""


def examples(name: str) -> Rows:
    """Other rows of a suite, to be shown as examples."""
    marks = {"question": "Now: ", "sentence": "Then ", "ctx_a": "Then ", "text": "Once, "}
    marks |= {"goal": "also ", "question_stem": "Now: ", "query": "So ", "prompt": "Please. "}
    column = next(each for each in marks if each in ROWS[name][0])
    return [{**row, column: marks[column] + row[column]} for row in ROWS[name]]


class Guessing:
    """A policy that draws its answers by what it is asked: the same question, the same answer."""

    def __init__(self, said: Sequence[int] = ()) -> None:
        self.said = tuple(said)
        self.scored: list[Continuation] = []
        self.sampled: list[Request] = []

    async def score(self, request: Continuation) -> Likelihood:
        """A log-probability for each token, drawn by the ids alone."""
        self.scored.append(request)
        draw = random.Random(repr((request.prompt, request.target)))
        log_probs = tuple(-5 * draw.random() for _ in request.target)
        return Likelihood(log_probs, tuple(draw.random() < 0.9 for _ in request.target), 0)

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        """Always the same."""
        del sink
        self.sampled.append(request)
        ids = self.said[: request.max_tokens]
        return Completion(ids, (-1.0,) * len(ids), (0,) * len(ids), "length")
