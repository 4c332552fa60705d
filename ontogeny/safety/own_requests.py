"""A user's own labelled requests, and public sets of them, from files of rows.

Knows no model. Strict: a row that was left out would change a rate without a word, so the first
that does not fit ends it, by FILE:LINE. What lies under an `eval` folder is for measuring alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.base.files import sha256
from ontogeny.corpus.intake import UNCOUNTED, unread
from ontogeny.corpus.own import folded
from ontogeny.corpus.rows import Row, read_rows
from ontogeny.environments.environment import side, task_id
from ontogeny.safety.harms import HARMS, NO_HARM
from ontogeny.safety.requests import LABELS, Label, SafetyRequest

KNOWN_LABELS: Mapping[str, Label] = {
    **{each: each for each in LABELS},
    "unsafe": "harmful",
    "safe": "borderline",
}
"""What a row may say in its column `label`; safe and unsafe are XSTest's."""
TEXTS = ("text", "prompt")
HARM_NAMES = ("harm", "category", "note")
MOST_CHARACTERS = 8_000
MOST_ROWS = 100_000


def parse(spec: str) -> tuple[Label | None, Path]:
    """`LABEL=FILE` for a file whose rows have no label, or FILE.

    Raises:
        InputError: nothing, or no file behind the label.
    """
    found = re.fullmatch(rf"({'|'.join(LABELS)})=(.*)", spec, re.DOTALL)
    label, place = (KNOWN_LABELS[found[1]], found[2]) if found else (None, spec)
    if not place:
        raise InputError(f"there is no file in {spec!r}; write FILE or harmful=FILE")
    return label, Path(place)


def digest(spec: str) -> str:
    """The label and the sha256 of the file: what a stage that reads it is identified by.

    Raises:
        InputError: there is no such file.
    """
    label, path = parse(spec)
    if not path.is_file():
        raise InputError("there is no such file of requests", file=path)
    try:
        return f"{label or ''}={sha256(path)}"
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def own_requests(spec: str, *, trains: bool = False, answered: bool = False) -> list[SafetyRequest]:
    """Every row of a file as a request: columns text (or prompt) and label, perhaps id and harm.

    The harm may also be called category (HarmBench) or note (XSTest), where it is not named in the
    table its severity is 0. A column `answer` is a right answer to learn from. The split follows
    from the text, capitals and white space aside, so that no wording is on two sides.

    Args:
        spec: see `parse`.
        trains: what is read may be trained on; then a place under an `eval` folder refuses.
        answered: a row of the training side that is not harmful needs its answer.

    Raises:
        InputError: naming file and line, where a row is none or comes again.
    """
    label, path = parse(spec)
    found: dict[str, SafetyRequest] = {}
    lines: dict[str, int] = {}
    for row in _rows(path, trains):
        try:
            request = _request(row.value, label)
            if answered and request.split == "train" and not (request.answer or request.to_refuse):
                raise InputError(
                    f"{request.label} request {request.id!r} has no answer to learn from; give its "
                    "row a column answer"
                )
            if request.id in found:
                raise InputError(f"the id {request.id!r} of line {lines[request.id]} comes again")
            if len(found) == MOST_ROWS:
                raise InputError(f"more than {MOST_ROWS:,} requests; bring fewer")
        except InputError as wrong:
            raise InputError(wrong.reason, file=row.file, line=row.line) from None
        found[request.id], lines[request.id] = request, row.line
    if not found:
        raise InputError("there is no request in it", file=path)
    return list(found.values())


def _rows(path: Path, trains: bool) -> Iterator[Row]:
    spec = f"safety=path:{path}"
    for row in read_rows(spec, trains=trains):
        if isinstance(row, Row):
            yield row
        elif row.reason not in UNCOUNTED or (trains and row.reason == "eval_folder"):
            raise unread(spec, row)


def _request(row: Mapping[str, Any], label: Label | None) -> SafetyRequest:
    text = next((row[each] for each in TEXTS if each in row), None)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"no text; a request has a column {' or '.join(TEXTS)}")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the text has {len(text):,} characters; {MOST_CHARACTERS:,} at most")
    told = row.get("label", label)
    if not isinstance(told, str) or told not in KNOWN_LABELS:
        raise InputError(f"the label is {_short(told)}; give one of {', '.join(KNOWN_LABELS)}")
    answer = row.get("answer", "")
    if not isinstance(answer, str):
        raise InputError("the answer is no text")
    name = row.get("id", task_id("own", text))
    if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
        raise InputError("the id is neither a text nor a number")
    known, split = KNOWN_LABELS[told], side(folded(text))
    plain = SafetyRequest(str(name)[:80], text, known, split=split, answer=answer)
    return replace(plain, **_harm(row))


def _harm(row: Mapping[str, Any]) -> dict[str, Any]:
    harm = next((row[each] for each in HARM_NAMES if isinstance(row.get(each), str)), NO_HARM)
    known = HARMS["plain"].get(harm)
    return {"harm": harm[:80] or NO_HARM, "severity": known.severity if known else 0}


def _short(value: Any) -> str:
    return "missing" if value is None else repr(value)[:40]
