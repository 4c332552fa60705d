"""When is an answer of the asked form, and when does it say the same as the gold answer?

Knows nothing of tasks. Strict on purpose: an answer that holds several candidates, or the right
one amid other words, is neither well formed nor right, so a policy gains nothing by listing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_MAX_CHARACTERS = 4_000

_INTEGER = r"-?[0-9]{1,18}"
_WORD = r"[A-Za-z0-9-]+"
FORMS: dict[str, re.Pattern[str]] = {
    "integer": re.compile(rf"{_INTEGER}"),
    "word": re.compile(rf"{_WORD}"),
    "words": re.compile(rf"{_WORD}( {_WORD})*"),
    "list": re.compile(rf"{_WORD}(, {_WORD})*"),
    "brackets": re.compile(rf"\[{_WORD}( {_WORD})*\]"),
    "json": re.compile(r"\{.*\}", re.DOTALL),
    "line": re.compile(r"[^\n]+"),
}


def _trimmed(form: str, answer: str) -> str:
    """Without blanks at the ends and, for words and numbers, without a closing full stop."""
    bare = answer.strip()
    return bare.removesuffix(".") if form in ("integer", "word", "words", "list") else bare


def well_formed(form: str, answer: str) -> bool:
    """Whether `answer` as a whole has the form; blanks at its ends do not matter."""
    bare = _trimmed(form, answer)
    if len(bare) > _MAX_CHARACTERS or not FORMS[form].fullmatch(bare):
        return False
    return form != "json" or _object(bare) is not None


def same_answer(form: str, gold: str, answer: str) -> bool:
    """Whether `answer` is well formed and says what `gold` says."""
    if not well_formed(form, answer):
        return False
    readers: dict[str, Callable[[str], object]] = {"integer": int, "json": _object}
    read = readers.get(form, str)
    return _equal(read(_trimmed(form, gold)), read(_trimmed(form, answer)))


def _equal(gold: object, answer: object) -> bool:
    """Equality that tells true from 1 and 1 from 1.0, at any depth."""
    if isinstance(gold, str):
        return gold == answer
    return type(gold) is type(answer) and json.dumps(gold, sort_keys=True) == json.dumps(
        answer, sort_keys=True
    )


def _object(text: str) -> dict[str, object] | None:
    """A JSON object without repeated keys, or None."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
