"""Key-value recall: some facts, then a question about one of them.

Knows nothing of context windows; `facts` and `filler` make a prompt as long as a test of recall
over a distance needs.
"""

from __future__ import annotations

import random

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Generated, Problem
from ontogeny.environments.words import COLORS, FILLER, NAMES, THINGS

MAX_FACTS = len(NAMES)


# (fact, question, form of the value); {thing} is filled in once for all facts of a prompt.
WORDINGS = (
    ("{name} has {value} coins.", "How many coins does {name} have?", "integer"),
    ("{name} keeps {value} coins.", "How many coins does {name} keep?", "integer"),
    ("{name} is {value} years old.", "How old is {name}?", "integer"),
    ("The {thing} of {name} is {value}.", "What color is the {thing} of {name}?", "word"),
    ("{name} has one {thing}: {value}.", "What color is the {thing} of {name}?", "word"),
)


def recall(facts: int, filler: int = 0, updates: bool = False) -> Generated:
    """One of `facts` people is asked about, after `filler` sentences strewn among the facts.

    Args:
        facts: 1 to `MAX_FACTS` people, one fact each, all of one wording.
        filler: sentences without a fact, at random places.
        updates: the person asked about has two facts, and the later one holds.
    """
    if not 1 <= facts <= MAX_FACTS or filler < 0:
        raise InputError(f"recall of {facts} facts is asked for; give 1 to {MAX_FACTS}")

    def draw(source: random.Random) -> Problem:
        fact, question, form = source.choice(WORDINGS)
        thing = source.choice(THINGS)
        names = source.sample(NAMES, facts)
        values = [_value(source, form) for _ in names]
        lines = [
            fact.format(name=name, value=value, thing=thing)
            for name, value in zip(names, values, strict=True)
        ]
        asked = source.randrange(facts)
        if updates:
            values[asked] = _value(source, form)
            later = source.randrange(asked + 1, facts + 1)
            lines.insert(later, fact.format(name=names[asked], value=values[asked], thing=thing))
        key = " ".join([*lines, names[asked]])
        for _ in range(filler):
            lines.insert(source.randrange(len(lines) + 1), source.choice(FILLER))
        prompt = " ".join([*lines, question.format(name=names[asked], thing=thing)])
        depth = asked / max(facts - 1, 1)
        return Problem(key, prompt, values[asked], form, {"facts": facts, "depth": depth})

    name = f"recall-{facts}" + (f"-filler-{filler}" if filler else "")
    name += "-updates" if updates else ""
    return Generated(name, "recall", facts + filler, draw)


def needle(sentences: int) -> Generated:
    """One fact in a haystack of so many sentences, of about seven tokens each.

    The simplest form of "needle in a haystack" (Hsieh et al. 2024, arXiv:2404.06654, niah_single):
    the answer is one word, and nothing else in the haystack is of its kind.
    """
    if sentences < 1:
        raise InputError(f"a haystack of {sentences} sentences is asked for; give at least 1")

    def draw(source: random.Random) -> Problem:
        fact, question, value = _colored(source)
        lines = [source.choice(FILLER) for _ in range(sentences)]
        depth = source.randrange(sentences + 1)
        lines.insert(depth, fact)
        prompt = " ".join([*lines, question])
        meta = {"facts": 1, "depth": depth / sentences}
        return Problem(f"{fact} {depth}", prompt, value, "word", meta)

    return Generated(f"needle-{sentences}", "needle", sentences, draw)


def haystack(source: random.Random, sentences: int) -> tuple[str, str]:
    """A prompt with one fact anywhere among 0 to so many sentences, and its answer."""
    fact, question, value = _colored(source)
    lines = [source.choice(FILLER) for _ in range(source.randint(0, sentences))]
    lines.insert(source.randint(0, len(lines)), fact)
    return " ".join([*lines, question]), value


def _colored(source: random.Random) -> tuple[str, str, str]:
    """A fact about a color, the question after it and the color."""
    wordings = [(fact, question) for fact, question, form in WORDINGS if form == "word"]
    fact, question = source.choice(wordings)
    name, thing, value = source.choice(NAMES), source.choice(THINGS), source.choice(COLORS)
    said = fact.format(name=name, thing=thing, value=value)
    return said, question.format(name=name, thing=thing), value


def _value(source: random.Random, form: str) -> str:
    return str(source.randrange(100)) if form == "integer" else source.choice(COLORS)
