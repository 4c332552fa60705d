"""Answers in an asked-for form: JSON, brackets, a list. The content is easy, the form is the task.

Knows nothing of splits or of scoring.
"""

from __future__ import annotations

import json
import random

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Generated, Problem
from ontogeny.environments.words import COLORS, NAMES, WORDS

FORMATS = ("json-number", "json-person", "brackets", "list")


def formats(kind: str) -> Generated:
    """One of `FORMATS`.

    Raises:
        InputError: no such format.
    """
    draws = {
        "json-number": _json_number,
        "json-person": _json_person,
        "brackets": _brackets,
        "list": _list,
    }
    if kind not in draws:
        raise InputError(f"no format {kind!r}; there are {', '.join(FORMATS)}")
    return Generated(kind, kind, 1, draws[kind])


def _json_number(source: random.Random) -> Problem:
    a, b = source.randrange(100), source.randrange(10)
    wording = source.choice(
        (
            'What is {a} plus {b}? Answer as JSON with the key "answer".',
            'Add {a} and {b}. Give a JSON object with the key "answer".',
        )
    )
    answer = json.dumps({"answer": a + b})
    return Problem(f"{a} {b}", wording.format(a=a, b=b), answer, "json")


def _json_person(source: random.Random) -> Problem:
    name, color, age = source.choice(NAMES), source.choice(COLORS), source.randrange(1, 100)
    wording = source.choice(
        (
            "{name} is {age} years old and likes {color}. "
            'Write it as JSON with the keys "name", "age" and "color".',
            "{name} likes {color} and is {age} years old. "
            'Give a JSON object with the keys "name", "age" and "color".',
        )
    )
    answer = json.dumps({"name": name, "age": age, "color": color})
    prompt = wording.format(name=name, age=age, color=color)
    return Problem(f"{name} {age} {color}", prompt, answer, "json")


def _brackets(source: random.Random) -> Problem:
    words = source.sample(WORDS, source.randint(1, 3))
    shown = " ".join(words)
    wording = source.choice(("Put in square brackets: {x}.", "Write {x} in square brackets."))
    return Problem(shown, wording.format(x=shown), f"[{shown}]", "brackets")


def _list(source: random.Random) -> Problem:
    words = source.sample(WORDS, source.randint(2, 5))
    wording = source.choice(
        ("Write as a list with commas: {x}.", "Separate these words by commas: {x}.")
    )
    shown = " ".join(words)
    return Problem(shown, wording.format(x=shown), ", ".join(words), "list")
