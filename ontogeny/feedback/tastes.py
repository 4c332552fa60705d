"""What simulated users like, as functions of an answer's text.

Knows no users and no model. Only `users`, who vote by it, and `stages.measure_preference`, which
judges fresh answers by it, may read this file: whatever trains sees votes alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ontogeny.base.errors import InputError

Taste = Callable[[str], float]
"""How much an answer is liked, from 0 to 1."""
MOST_WORDS = 3
_PLAIN = re.compile(r"[A-Za-z][A-Za-z' ,.]*[A-Za-z.]")
_NAMED = """
bear bird cat corn cow deer dog earth feather field fire fish flower fog forest fox frog fruit
garden goat grass harbor hill honey horse island lake leaf lion meadow moon morning mountain
mouse night oak ocean owl path pear pig pond rain river rock rose sand sea sheep sky snow star
stone storm summer sun thunder tiger tree turtle water wave wheat wind winter wolf wood
"""
_OUTDOORS = frozenset(_NAMED.split())


def words(text: str) -> float:
    """1 for one to three plain words: no figures, no brackets, no speech."""
    said = text.strip()
    plain = _PLAIN.fullmatch(said) is not None and len(said) >= 3
    return float(plain and len(said.split()) <= MOST_WORDS)


def outdoors(text: str) -> float:
    """1 for an answer that names an animal, a plant, or something under the open sky."""
    return float(not _OUTDOORS.isdisjoint(re.findall("[a-z]+", text.lower())))


TASTES: Mapping[str, Taste] = MappingProxyType({"words": words, "outdoors": outdoors})


def taste(name: str) -> Taste:
    """The taste called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in TASTES:
        raise InputError(f"no taste '{name}'; there are {', '.join(TASTES)}")
    return TASTES[name]
