"""Strict JSON, read field by field: what is not asked for by name is refused by name.

Knows no meaning of any field. A null counts as absent, as OpenAI's API has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ontogeny.serve.refusal import Refused, shortened
from ontogeny.text.tokenizer import encodable

MOST_DEPTH = 64
MOST_DIGITS = 40
_PIECES = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string, whole or cut, or a bracket; possessive, so that no character is read twice."""


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object that a body is: UTF-8, each key once, finite numbers, at most 64 deep.

    Raises:
        Refused: 400; it is none (RFC 8259; I-JSON, RFC 7493, for keys and numbers).
    """
    if not data:
        raise Refused("the body is empty; send a JSON object")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"the body is not UTF-8 (byte {error.start}); send UTF-8") from None
    _check_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
        )
    except json.JSONDecodeError as error:
        reason = f"{error.msg}, line {error.lineno} column {error.colno}"
        raise Refused(f"the body is not JSON ({reason})") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise Refused("the body must be a JSON object in braces")
    return value


def _check_depth(text: str) -> None:
    """Before anything recurses over it."""
    depth = 0
    for piece in _PIECES.finditer(text):
        first = text[piece.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > MOST_DEPTH:
            raise Refused(f"the body is nested deeper than {MOST_DEPTH}; flatten it")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key '{shortened(twice, 40)}' stands twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{shortened(text, 40)} is too large for a number")
    return value


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits; give at most {MOST_DIGITS}")
    return int(text)


class Fields:
    """A JSON object whose fields are taken one by one.

    Args:
        where: its own path, for messages.

    Raises:
        Refused: 400, naming the field; so does every method.
    """

    def __init__(self, value: object, where: str = "") -> None:
        self.where = where
        if not isinstance(value, Mapping):
            raise self.wrong("", "must be a JSON object")
        self._left = {str(name): each for name, each in value.items() if each is not None}

    def wrong(self, name: str, reason: str) -> Refused:
        """A refusal that names a field, "" for the object itself."""
        path = shortened(f"{self.where}.{name}".strip(".") or "body", 80)
        return Refused(f"'{path}' {reason}", param=path)

    def has(self, name: str) -> bool:
        """Whether it is there and not taken yet."""
        return name in self._left

    def take(self, name: str) -> Any:
        """Whatever is there, unchecked; None without."""
        return self._left.pop(name, None)

    def text(self, name: str, default: str | None = None, *, most: int | None = None) -> str:
        """A string, lone surrogates replaced; must be there where `default` is None."""
        value = self._left.pop(name, default)
        if value is None:
            raise self.wrong(name, "is missing; give a string")
        if not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        if most is not None and len(value) > most:
            raise self.wrong(name, f"has {len(value)} characters; give at most {most}")
        return encodable(value)

    def one_of(self, name: str, known: Sequence[str], default: str) -> str:
        """One of a few strings."""
        value = self.text(name, default)
        if value not in known:
            raise self.wrong(name, f"is '{shortened(value, 40)}'; give {' or '.join(known)}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false, no number."""
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A number of this range."""
        value = self._left.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "must be a number")
        if not low <= value <= high:
            raise self.wrong(name, f"is outside {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int | None:
        """A whole number of this range (2.0 is one); `default` without."""
        value = self._left.pop(name, None)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "must be a whole number")
        if not low <= value <= high:
            raise self.wrong(name, f"is outside {low} to {high}")
        return value

    def rows(self, name: str, most: int) -> list[Any]:
        """A list of at least one and at most so many."""
        value = self._left.pop(name, None)
        if not isinstance(value, list) or not value:
            raise self.wrong(name, "must be a list of one or more")
        if len(value) > most:
            raise self.wrong(name, f"has {len(value)} entries; give at most {most}")
        return value

    def inner(self, name: str) -> Fields:
        """An object inside this one."""
        return Fields(self._left.pop(name, None), f"{self.where}.{name}".strip("."))

    def only(self, name: str, *values: object) -> None:
        """A field that is taken where it says what happens anyway, and refused otherwise."""
        value = self._left.pop(name, None)
        if value is not None and not any(
            value == each and type(value) is type(each) for each in values
        ):
            raise self.wrong(name, "is not supported here with this value; leave it out")

    def end(self) -> None:
        """Nothing may be left."""
        for name in self._left:
            raise self.wrong(name, "is not supported here; leave it out")
