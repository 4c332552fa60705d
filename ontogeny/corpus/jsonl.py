"""One line of JSON as an object, and an object as the text of one document, strictly.

Knows nothing of files. Python's own reader takes more than JSON allows (NaN, repeated keys,
numbers past any float); such a row is skipped and counted here, not repaired.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ontogeny.corpus.decode import Unreadable

SHOWN_COLUMNS = 12


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise Unreadable("duplicate_key", "a key stands twice in one object")
    return row


def _finite(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise Unreadable("number_too_large", f"{literal[:20]} fits no float")
    return value


def _integer(literal: str) -> int:
    if len(literal) > 4300:  # Python's own limit against quadratic conversion
        raise Unreadable("number_too_large", f"an integer of {len(literal)} digits")
    return int(literal)


def _constant(name: str) -> float:
    raise Unreadable("not_finite", f"{name} is no JSON")


def _missing(name: str) -> float | None:
    return None if name == "NaN" else _constant(name)


def _decoder(constant: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_unique,
        parse_float=_finite,
        parse_int=_integer,
        parse_constant=constant,
    )


STRICT = _decoder(_constant)
FROM_A_TABLE = _decoder(_missing)
"""Tables write NaN where a number is missing; it becomes null."""


def row_object(line: bytes, decoder: json.JSONDecoder = STRICT) -> dict[str, Any]:
    """The JSON object in `line`.

    Raises:
        Unreadable: with one of the reasons `blank_line`, `not_utf8`, `broken_json`,
            `duplicate_key`, `not_finite`, `number_too_large`, `nested_too_deeply`,
            `not_an_object`.
    """
    row = _decode(line, decoder)
    if not isinstance(row, dict):
        raise Unreadable("not_an_object", f"a JSON {type(row).__name__}")
    return row


def object_text(row: Mapping[str, Any], column: str) -> str:
    """The string under `column` of a row.

    Raises:
        Unreadable: `no_text`, `text_not_a_string`, `lone_surrogate` or `empty`.
    """
    if column not in row:
        raise no_column(column, list(row))
    text = row[column]
    if not isinstance(text, str):
        raise Unreadable("text_not_a_string", f"{column!r} is a {type(text).__name__}")
    if not text.strip():
        raise Unreadable("empty", "nothing but white space")
    _refuse_surrogates(text)
    return text


def no_column(column: str, columns: list[str]) -> Unreadable:
    """`no_text`, and the columns that there are as the remedy."""
    names = [name[:40] for name in columns[:SHOWN_COLUMNS]]
    more = ["..."] if len(columns) > SHOWN_COLUMNS else []
    there = f"the row has {', '.join(names + more)}" if names else "the row has no columns"
    return Unreadable("no_text", f"no column {column!r}", f"{there}; name one by #column=")


def whole_object(row: dict[str, Any]) -> dict[str, Any]:
    r"""`row` itself, no string of which holds half a character.

    Raises:
        Unreadable: `lone_surrogate` (JSON can write `\ud800`, UTF-8 cannot).
    """
    waiting: list[Any] = [row]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            _refuse_surrogates(value)
        elif isinstance(value, dict):
            waiting += value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return row


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable("lone_surrogate", f"character {error.start} is no character") from error


def _decode(line: bytes, decoder: json.JSONDecoder) -> object:
    if not line.strip():
        raise Unreadable("blank_line", "nothing but white space")
    try:
        row: object = decoder.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Unreadable("not_utf8", f"byte {error.start} is no UTF-8") from error
    except json.JSONDecodeError as error:
        raise Unreadable("broken_json", f"{error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise Unreadable("nested_too_deeply", "nested past Python's limit") from error
    return row
