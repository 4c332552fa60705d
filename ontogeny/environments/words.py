"""The words that tasks are made of: few, common, and chosen by hand.

Knows nothing of tasks. A small model must meet each word often enough to learn it.
"""

from __future__ import annotations

import random

_NAMES = """
Ann Ben Cora Dan Eva Finn Gus Hana Ivan Jill Kim Leo Mia Ned Olga Pam Quin Rosa Sam Tess Uma
Vic Wade Xena Yan Zoe Abel Bea Cyd Dora Emil Fay Gil Hope Ike Jan Kate Luis Mary Nils Otto
Paul Rita Saul Tina Ute Vera Walt Yves Zara Amos Beth Carl Dina Egon Flora Greta Hugo Iris
Jonas Klara Lars Moses Nora
"""
_COLORS = """
red blue green white black brown gray pink gold purple orange yellow
"""
_THINGS = """
box hat cup bag book door lamp ball boat coat ring kite
"""
_WORDS = """
air apple arm bank bear bell bird boat bone book bread brick bridge brother butter cake camp
candle car castle cat chair child city clock cloud coat corn cow cup day deer desk dog door
dream drum dust ear earth egg eye face farm feather field fire fish flag floor flower fog foot
forest fork fox friend frog fruit garden gate glass goat gold grass hand harbor hat heart hill
honey horse house ice iron island jar key king kitchen knife lake lamp leaf letter light lion
market meadow milk mirror money monkey moon morning mountain mouse music nail needle nest net
night noon nut oak ocean oil owl page paper path pear pen pencil people pepper pig pilot plate
pocket pond potato queen rabbit rain ring river road rock roof room root rope rose sail salt
sand school sea seed sheep ship shirt shoe silver sister sky snow soap song spoon spring star
stone storm street sugar summer sun table tail tea tent thunder tiger tooth tower town train
tree turtle village violin wagon wall water wave wheat wheel wind window winter wolf wood wool
yard year
"""
NAMES, COLORS, THINGS, WORDS = (
    tuple(words.split()) for words in (_NAMES, _COLORS, _THINGS, _WORDS)
)
FILLER = (
    "The morning was quiet.",
    "Rain fell on the roof.",
    "A bird sang in the garden.",
    "The market was full of people.",
    "Snow lay on the hills.",
    "The river ran past the old mill.",
    "Somebody opened a window.",
    "The train came in at noon.",
    "A dog slept by the door.",
    "The wind moved the grass.",
)
_CONSONANTS = "bdfgklmnprstv"
_VOWELS = "aeiou"


def made_up_word(source: random.Random, syllables: int) -> str:
    """A word of consonant-vowel pairs such as `talo`: there are 65 to the power of `syllables`."""
    return "".join(source.choice(_CONSONANTS) + source.choice(_VOWELS) for _ in range(syllables))
