"""One line of JSON as the text of one document, strictly.

Knows nothing of files. Python's own reader takes more than JSON allows (NaN, repeated keys,
numbers past any float); such a row is skipped and counted here, not repaired.
"""

from __future__ import annotations

import codecs
import json
import math

from ontogeny.corpus.decode import MAX_DOCUMENT_BYTES, Unreadable


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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_constant,
)


def row_text(line: bytes | None, number: int, column: str) -> str:
    """The string under `column` of the JSON object in `line` (line `number` of its file).

    Raises:
        Unreadable: with one of the reasons `line_too_long`, `blank_line`, `not_utf8`,
            `broken_json`, `duplicate_key`, `not_finite`, `number_too_large`,
            `nested_too_deeply`, `not_an_object`, `no_text`, `text_not_a_string`,
            `lone_surrogate`, `empty`.
    """
    if line is None:
        raise Unreadable("line_too_long", f"more than {MAX_DOCUMENT_BYTES} bytes in one line")
    row = _decode(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
    if not isinstance(row, dict):
        raise Unreadable("not_an_object", f"a JSON {type(row).__name__}")
    if column not in row:
        raise Unreadable("no_text", f"no column {column!r}")
    text = row[column]
    if not isinstance(text, str):
        raise Unreadable("text_not_a_string", f"{column!r} is a {type(text).__name__}")
    if not text.strip():
        raise Unreadable("empty", "nothing but white space")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable("lone_surrogate", f"character {error.start} is no character") from error
    return text


def _decode(line: bytes) -> object:
    if not line.strip():
        raise Unreadable("blank_line", "nothing but white space")
    try:
        row: object = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Unreadable("not_utf8", f"byte {error.start} is no UTF-8") from error
    except json.JSONDecodeError as error:
        raise Unreadable("broken_json", f"{error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise Unreadable("nested_too_deeply", "nested past Python's limit") from error
    return row
