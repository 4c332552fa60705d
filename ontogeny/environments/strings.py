"""Small operations on words and letters: reverse, upper case, count, pick, sort.

Knows nothing of splits or of scoring.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Generated, Problem
from ontogeny.environments.words import WORDS, made_up_word


class Operation(NamedTuple):
    """Wordings with a place {x}, the form of the answer, and the answer to the words of x."""

    wordings: tuple[str, ...]
    form: str
    answer: Callable[[list[str]], str]


# On one word of `size` made-up syllables.
ON_LETTERS: dict[str, Operation] = {
    "reverse": Operation(
        ("Write {x} backwards.", "Reverse the word {x}.", "Spell {x} from back to front."),
        "word",
        lambda words: words[0][::-1],
    ),
    "upper": Operation(
        ("Write {x} in capital letters.", "Put {x} in upper case.", "{x} in capitals:"),
        "word",
        lambda words: words[0].upper(),
    ),
    "spell": Operation(
        ("Spell {x} with hyphens.", "Put hyphens between the letters of {x}."),
        "word",
        lambda words: "-".join(words[0]),
    ),
    "letters": Operation(
        ("How many letters are in {x}?", "Count the letters of {x}."),
        "integer",
        lambda words: str(len(words[0])),
    ),
    "vowels": Operation(
        ("How many vowels are in {x}?", "Count the vowels of {x}."),
        "integer",
        lambda words: str(sum(letter in "aeiou" for letter in words[0])),
    ),
}

# On `size` different common words.
ON_WORDS: dict[str, Operation] = {
    "first": Operation(
        ("What is the first word: {x}?", "Give the first word of: {x}."),
        "word",
        lambda words: words[0],
    ),
    "last": Operation(
        ("What is the last word: {x}?", "Give the last word of: {x}."),
        "word",
        lambda words: words[-1],
    ),
    "count": Operation(
        ("How many words are here: {x}?", "Count the words: {x}."),
        "integer",
        lambda words: str(len(words)),
    ),
    "sort": Operation(
        ("Sort these words by the alphabet: {x}.", "Put in alphabetical order: {x}."),
        "words",
        lambda words: " ".join(sorted(words)),
    ),
    "turn": Operation(
        ("Write these words in reverse order: {x}.", "Turn the order of the words: {x}."),
        "words",
        lambda words: " ".join(reversed(words)),
    ),
    "copy": Operation(
        ("Repeat these words: {x}.", "Copy: {x}.", "Write again: {x}."),
        "words",
        lambda words: " ".join(words),
    ),
    "longest": Operation(
        ("Which word is the longest: {x}?", "Find the longest word of: {x}."),
        "word",
        lambda words: max(words, key=len),
    ),
}


def strings(operation: str, size: int) -> Generated:
    """`operation` on `size` syllables or words; `count` varies the number from 1 to `size`.

    Raises:
        InputError: no such operation, or a size that cannot be drawn.
    """
    on_letters = operation in ON_LETTERS
    what = ON_LETTERS.get(operation) or ON_WORDS.get(operation)
    if what is None:
        known = ", ".join([*ON_LETTERS, *ON_WORDS])
        raise InputError(f"no string operation {operation!r}; there are {known}")
    if not 1 <= size <= 50:
        raise InputError(f"string tasks of size {size} are asked for; give 1 to 50")

    def draw(source: random.Random) -> Problem:
        number = source.randint(1, size) if operation in ("count", "letters", "vowels") else size
        words = [made_up_word(source, number)] if on_letters else source.sample(WORDS, number)
        if operation == "longest":
            words = _one_longest(source, words)
        shown = " ".join(words)
        prompt = source.choice(what.wordings).format(x=shown)
        return Problem(shown, prompt, what.answer(words), what.form)

    return Generated(f"{operation}-{size}", operation, size, draw)


def _one_longest(source: random.Random, words: list[str]) -> list[str]:
    """Draw again until no two words are both the longest: the answer must be one."""
    while sum(len(word) == max(map(len, words)) for word in words) > 1:
        words = source.sample(WORDS, len(words))
    return words
