"""Rows of programming problems in the form of MBPP (arXiv:2108.07732), as tests that can be hidden.

Knows no files and no sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ontogeny.corpus.intake import Form
from ontogeny.environments.hidden_tests import Sheet, Unsplit, defined, sheet, split
from ontogeny.text.rows import Misfit

FORM_COLUMNS: Mapping[str, tuple[str, ...]] = {"prompt": ("text", "prompt"), "answer": ("code",)}


@dataclass(frozen=True)
class Row:
    """What is asked, a program that does it, what is to be run before its tests, and these."""

    text: str
    code: str
    setup: str
    tests: tuple[str, ...]


def form(columns: Mapping[str, str]) -> Form[Row]:
    """How rows become `Row`s; `columns` names those of the description and of the program."""
    return Form(partial(_read, columns=columns), _texts, _with_texts)


def prompt(row: Row, tests: Sheet) -> str:
    """What is asked, with the shown test."""
    return f"{row.text}\n\nExample: {tests.visible[0]}"


def sheet_of(row: Row) -> tuple[Sheet | None, list[str]]:
    """The tests that can be hidden (None: too few), and why others cannot."""
    names, found, reasons = defined(row.code), [], []
    for test in row.tests:
        try:
            found.append(split(test, names))
        except Unsplit as error:
            reasons.append(error.reason)
    return sheet(found, row.setup), reasons


def _read(row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    text = _text(row, *_names("prompt", columns))
    code = _text(row, *_names("answer", columns)).replace("\r\n", "\n")
    setup = row.get("test_setup_code") or ""
    imports = row.get("test_imports") or []
    if not isinstance(setup, str):
        raise Misfit("bad_test", "column 'test_setup_code' holds no text")
    before = "\n".join([*_list(imports, "test_imports"), setup.replace("\r\n", "\n")]).strip()
    tests = _list(row.get("test_list"), "test_list")
    tests += _list(row.get("challenge_test_list") or [], "challenge_test_list")
    return _checked(Row(text.strip(), code, before, tuple(tests)))


def _checked(row: Row) -> Row:
    if not row.text.strip() or not row.code.strip():
        raise Misfit("empty_turn", "the description or the program is empty")
    if not row.tests:
        raise Misfit("bad_test", "there is no test")
    try:
        defined(row.code)
        defined(row.setup)
    except ValueError as error:
        raise Misfit("bad_program", f"the program or its set-up: {error}") from None
    return row


def _texts(row: Row) -> list[str]:
    return [row.text, row.code, row.setup, *row.tests]


def _with_texts(_: Row, texts: Sequence[str]) -> Row:
    return _checked(Row(texts[0], texts[1], texts[2], tuple(texts[3:])))


def _names(meaning: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    return (columns[meaning],) if meaning in columns else FORM_COLUMNS[meaning]


def _text(row: Mapping[str, Any], *names: str) -> str:
    for name in names:
        if isinstance(row.get(name), str):
            return str(row[name])
    has = ", ".join(str(name)[:40] for name in list(row)[:12]) or "none"
    raise Misfit("no_column", f"no text in a column {' or '.join(names)}; the row has {has}")


def _list(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Misfit("bad_test", f"column {name!r} holds no list of texts")
    return list(value)
