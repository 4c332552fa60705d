"""Takes personal data out of texts: mail addresses, phone and card numbers, secret keys.

Knows nothing of names or addresses of people, which no pattern finds. Every find is counted and
leaves a placeholder, so a sentence keeps its shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ontogeny.corpus.table import DOCUMENTS
from ontogeny.corpus.unicode_policy import Change, Cleaned


class Finder(NamedTuple):
    """What `pattern` finds and `accepts` confirms becomes `[name]`.

    `hint` is a cheap expression (RE2, in Arrow) that any text with a find must match.
    """

    name: str
    hint: str
    pattern: re.Pattern[str]
    accepts: Callable[[str], bool]


def luhn(text: str) -> bool:
    """Whether the digits in `text` have a valid check digit (ISO/IEC 7812-1, annex B)."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _always(found: str) -> bool:
    del found
    return True


MAIL = Finder(
    "mail",
    r"\S@[A-Za-z0-9]",
    # The top-level domain has three letters or more, or is a country's before white space or
    # punctuation; `a @ b.T` of a matrix product has blanks or ends otherwise.
    re.compile(
        r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w(\[])",
        re.ASCII,
    ),
    _always,
)
PHONE = Finder(
    "phone",
    r"[0-9]{3}[)]?[-. ][0-9]{3}[-. ][0-9]{4}|\+[0-9]",
    re.compile(
        r"(?<![\w.$-])(?:(?:\+?1[-. ])?(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}"
        r"|\+[1-9][0-9]{0,2}(?:[-. ]?(?:\([0-9]{2,4}\)|[0-9]{2,4})){2,4})(?![\w-])"
    ),
    lambda found: 9 <= sum(c.isdigit() for c in found) <= 15,
)
CARD = Finder(
    "card",
    r"[3-6](?:[ -]?[0-9]){12}",
    re.compile(r"(?<![\w.-])[3-6](?:[ -]?[0-9]){12,18}(?![\w-])"),
    luhn,
)
KEY = Finder(
    "key",
    r"AKIA|gh[pousr]_|sk-|xox[abprs]-|AIza|PRIVATE KEY",
    re.compile(
        r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bsk-[A-Za-z0-9_-]{20,}"
        r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{35}\b"
        r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\sA-Za-z0-9+/=:,-]{0,8192}?"
        r"-----END [A-Z ]{0,30}PRIVATE KEY-----"
    ),
    _always,
)

IN_PROSE = (KEY, MAIL, CARD, PHONE)
IN_CODE = (KEY, MAIL)  # digits in programs are numbers, not people


def scrub(table: pa.Table, finders: tuple[Finder, ...] = IN_PROSE) -> Cleaned:
    """Replace every find; changes count documents and the characters that were taken out."""
    texts: pa.ChunkedArray = table["text"]
    changes: dict[str, Change] = {}
    for finder in finders:
        hinted = pc.match_substring_regex(texts, finder.hint)
        if not pc.any(hinted).as_py():
            continue
        chunks = []
        for chunk, hints in zip(texts.chunks, hinted.chunks, strict=True):
            after = [
                _replace(finder, text, changes) if hint else text
                for text, hint in zip(chunk.to_pylist(), hints.to_pylist(), strict=True)
            ]
            chunks.append(pa.array(after, pa.string()))
        texts = pa.chunked_array(chunks, pa.string())
    columns = [table["id"], table["domain"], table["source"], texts]
    return Cleaned(pa.table(columns, schema=DOCUMENTS), changes)


def _replace(finder: Finder, text: str, changes: dict[str, Change]) -> str:
    taken = 0

    def placeholder(match: re.Match[str]) -> str:
        nonlocal taken
        found = match.group()
        if not finder.accepts(found):
            return found
        taken += len(found)
        return f"[{finder.name}]"

    after = finder.pattern.sub(placeholder, text)
    if taken:
        name = f"scrubbed_{finder.name}"
        changes[name] = changes.get(name, Change(0, 0)) + Change(1, taken)
    return after
