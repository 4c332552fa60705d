"""All transforms by name, and the attacks of one step that a measurement puts.

Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ontogeny.base.errors import InputError
from ontogeny.safety.attack import FAMILIES, Attack, Transform
from ontogeny.safety.attack_encodings import ENCODINGS
from ontogeny.safety.attack_injection import DOCUMENTS
from ontogeny.safety.attack_shots import MANY
from ontogeny.safety.attack_templates import PERSONAS, TEMPLATES
from ontogeny.safety.attack_turns import TURNS

_ALL = (*ENCODINGS, *TEMPLATES, *PERSONAS, *DOCUMENTS, *MANY, *TURNS)
TRANSFORMS: Mapping[str, Transform] = MappingProxyType({each.name: each for each in _ALL})
"""The styles of the archive, in the order of their families."""
assert len(TRANSFORMS) == len(_ALL)
assert {each.family for each in _ALL} == set(FAMILIES)


def attack(*names: str) -> Attack:
    """The attack that takes these steps.

    Raises:
        InputError: there is no such transform, or one is named twice.
    """
    unknown = [name for name in names if name not in TRANSFORMS]
    if unknown:
        raise InputError(f"no transform {unknown[0]!r}; there are {', '.join(TRANSFORMS)}")
    return Attack(tuple(TRANSFORMS[name] for name in names))


def singles(families: Iterable[str] = FAMILIES) -> list[Attack]:
    """Every attack of one step of these families, without the plain one.

    Raises:
        InputError: no such family.
    """
    wanted = set(families)
    check_families(wanted)
    return [Attack((each,)) for each in TRANSFORMS.values() if each.family in wanted]


def check_families(families: Iterable[str]) -> None:
    """Raises InputError where one is none."""
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise InputError(f"no family {unknown[0]!r}; there are {', '.join(FAMILIES)}")
