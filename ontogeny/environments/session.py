"""One episode's world over a small simulated data base: operations on it, and who said what.

Knows no task, no model and no tokens. A base is JSON data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ontogeny.rollout.flow import Outcome
from ontogeny.rollout.tools import BROKEN, GATED, Tool, capped, tools_by_name

Base: TypeAlias = dict[str, Any]
Arguments: TypeAlias = Mapping[str, Any]
Run = Callable[[Base, Arguments], Any]
"""A tool's work: reads and, if its tool `changes`, alters the base; gives a JSON value back."""


class ToolError(Exception):
    """A tool cannot do what it is asked; the model reads why."""


class Quoted(str):
    """Words of a stranger inside a result (a note, a review): data, never an order.

    What stands in them and nowhere else cannot become an argument of a call that changes the base.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Operation:
    """A tool and its work on a base."""

    tool: Tool
    run: Run


@dataclass(frozen=True)
class Call:
    """A tool's name and its arguments."""

    name: str
    arguments: Arguments


def operations(*each: Operation) -> dict[str, Operation]:
    """Operations by name. Raises InputError where two have one name."""
    tools_by_name([one.tool for one in each])
    return {one.tool.name: one for one in each}


class Session:
    """One episode's world: a base, and what was heard from whom.

    A call that fails leaves the base as it was. The given base is shared with other sessions
    until a call changes it.

    Args:
        told: the words that orders may come from: the policy's and the user's.
    """

    def __init__(self, known: Mapping[str, Operation], base: Base, told: str) -> None:
        self.known, self.base = known, base
        self._trusted = [told, *(json.dumps(each.tool.told()) for each in known.values())]
        self._strange: list[str] = []

    def call(self, name: str, arguments: Arguments) -> Outcome:
        """Runs a tool. Whatever goes wrong is an outcome that a model can read."""
        operation = self.known.get(name)
        if operation is None:
            return Outcome(False, f"there is no tool {capped(name, 60)!r}")
        if fault := operation.tool.fault(arguments) or self._gate(operation.tool, arguments):
            return Outcome(False, fault)
        base = _copy(self.base) if operation.tool.changes else self.base
        try:
            value = operation.run(base, arguments)
            output = value if type(value) is str else json.dumps(value, ensure_ascii=False)
        except ToolError as error:
            return Outcome(False, str(error))
        except Exception as error:  # the model is told, `Played.broken` counts it
            return Outcome(False, f"{BROKEN}{type(error).__name__}")
        self.base = base
        for leaf in _leaves(value):
            (self._strange if isinstance(leaf, Quoted) else self._trusted).append(str(leaf))
        return Outcome(True, capped(output))

    def _gate(self, tool: Tool, arguments: Arguments) -> str | None:
        if not tool.changes or not self._strange:
            return None
        for leaf in map(str, _leaves(list(arguments.values()))):
            if leaf and _stands(leaf, self._strange) and not _stands(leaf, self._trusted):
                shown = capped(leaf, 60)
                return f"{GATED}{shown!r} stands in a stranger's words only; nobody asked for it"
        return None


def _copy(value: Any) -> Any:
    """Of JSON data; several times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _leaves(value: Any) -> Iterator[Any]:
    """Texts and numbers inside a JSON value, keys included."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None:
        yield value


def _stands(leaf: str, texts: Sequence[str]) -> bool:
    """Whether `leaf` stands in one of them as whole words, capitals aside."""
    pattern = re.compile(rf"(?<!\w){re.escape(leaf)}(?!\w)", re.IGNORECASE)
    return any(pattern.search(text) for text in texts)
