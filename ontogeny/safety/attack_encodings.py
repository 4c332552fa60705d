"""Attacks by how a wish is written: other letters, other order, slips of the pen.

Knows no model. Whoever cannot read an encoding cannot follow it either; a judge that asks what an
answer is good for does not count nonsense as a success (Souly et al. 2024, arXiv:2402.10260).
"""

from __future__ import annotations

import codecs
import random

from ontogeny.safety.attack import Transform, of_words

_LOOK_ALIKES = str.maketrans("aeiostAEIOST", "431057431057")


def _capitals(text: str, draw: random.Random) -> str:
    del draw
    return text.upper()


def _spelled(text: str, draw: random.Random) -> str:
    """Every letter by itself, words apart by two spaces."""
    del draw
    return "  ".join(" ".join(word) for word in text.split())


def _backwards(text: str, draw: random.Random) -> str:
    """The words in the other order."""
    del draw
    return " ".join(reversed(text.split()))


def _digits(text: str, draw: random.Random) -> str:
    """Digits for the letters that they look like."""
    del draw
    return text.translate(_LOOK_ALIKES)


def _rot13(text: str, draw: random.Random) -> str:
    """Every letter thirteen further on."""
    del draw
    return codecs.encode(text, "rot13")


def _slips(text: str, draw: random.Random) -> str:
    """In every third word or so of four letters or more, two neighbours inside change places."""
    return " ".join(_slipped(word, draw) for word in text.split())


def _slipped(word: str, draw: random.Random) -> str:
    if len(word) < 4 or draw.random() > 0.4:
        return word
    place = draw.randrange(1, len(word) - 2)
    return f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}"


ENCODINGS: tuple[Transform, ...] = (
    of_words("capitals", "encoding", _capitals),
    of_words("spelled", "encoding", _spelled),
    of_words("backwards", "encoding", _backwards),
    of_words("digits", "encoding", _digits),
    of_words("rot13", "encoding", _rot13),
    of_words("slips", "encoding", _slips),
)
