"""The environments by name and by collection, easy ones first within a kind.

Knows no optional package: the module behind a collection that needs one is loaded when it is asked
for (a declared seam).
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ontogeny.base.errors import InputError
from ontogeny.environments.arithmetic import (
    addition,
    largest,
    multiplication,
    sequence,
    subtraction,
)
from ontogeny.environments.environment import Environment
from ontogeny.environments.errands import DESKS
from ontogeny.environments.formats import FORMATS, formats
from ontogeny.environments.programs_made import programs
from ontogeny.environments.recall import needle, recall
from ontogeny.environments.requests import requests
from ontogeny.environments.strings import strings
from ontogeny.environments.tooled import ToolEnvironment

_GENERATED = (
    *(addition(digits) for digits in (1, 2, 3, 4)),
    *(subtraction(digits) for digits in (1, 2, 3)),
    *(multiplication(digits) for digits in (1, 2)),
    *(largest(count) for count in (2, 3, 5)),
    *(sequence(step) for step in (3, 9)),
    *(recall(facts) for facts in (1, 2, 4, 8, 16)),
    *(recall(facts, updates=True) for facts in (2, 4)),
    *(strings(name, 2) for name in ("reverse", "upper", "spell")),
    *(strings(name, 3) for name in ("reverse", "upper", "spell", "letters", "vowels")),
    *(strings(name, 3) for name in ("copy", "first", "last", "sort", "turn", "longest")),
    *(strings(name, 5) for name in ("copy", "first", "last", "sort", "turn", "longest", "count")),
    *(formats(kind) for kind in FORMATS),
)
_REQUESTS = requests()
_ALL: tuple[Environment, ...] = (*_GENERATED, *_REQUESTS)
ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType({each.name: each for each in _ALL})
assert len(ENVIRONMENTS) == len(_ALL)
# Not among ENVIRONMENTS: to judge them takes a sandbox, which not every machine has.
PROGRAMS: Mapping[str, Environment] = MappingProxyType({each.name: each for each in programs()})
TOOLED: Mapping[str, ToolEnvironment] = MappingProxyType(dict(DESKS))
"""Those that are done by calling tools, in several turns; `worlds` finds either kind by name."""


@functools.cache
def environment(name: str) -> Environment:
    """The generated environment called `name`; `needle-N` is a haystack of N sentences.

    Its tasks have one answer each.

    Raises:
        InputError: there is none, or its tasks are done with tools.
    """
    if name in TOOLED:
        raise InputError(
            f"environment {name!r} is played with tools, in turns, and this stage asks for one "
            "answer to a task; leave it out (grpo plays it, and `environments.playing.play_all`)"
        )
    haystack = re.fullmatch(r"needle-([0-9]{1,5})", name)
    if haystack is not None:
        return needle(int(haystack[1]))
    if name in PROGRAMS:
        return PROGRAMS[name]
    if name not in ENVIRONMENTS:
        known = ", ".join((*ENVIRONMENTS, *PROGRAMS, "needle-N"))
        tooled = ", ".join(TOOLED)
        raise InputError(f"no environment {name!r}; there are {known}; with tools {tooled}")
    return ENVIRONMENTS[name]


COLLECTIONS = ("generated", "requests", "programs", "reasoning-gym")


def collection(name: str) -> Sequence[Environment]:
    """All environments of a collection.

    Raises:
        InputError: there is no such collection, or the package it needs is not installed.
    """
    if name not in COLLECTIONS:
        raise InputError(f"no collection {name!r}; there are {', '.join(COLLECTIONS)}")
    if name == "generated":
        return _GENERATED
    if name == "requests":
        return _REQUESTS
    if name == "programs":
        return tuple(PROGRAMS.values())
    gym = importlib.import_module("ontogeny.environments.gym")
    found: Sequence[Environment] = gym.gym_environments()
    return found
