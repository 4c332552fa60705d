"""Judges of an answer by name, for tasks that people bring: gold answer and answer -> right or not.

Knows nothing of tasks or models. The forms of `answers` are strict: the answer is the form and
nothing else. The others forgive words around the answer, which a policy may learn to use; what
each takes for an answer stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from ontogeny.base.errors import InputError
from ontogeny.environments import answers

_LONGEST = 8_000
# A minus behind a letter, a digit or a bracket is a hyphen or a difference, no sign.
_NUMBER = re.compile(
    r"(?:(?<![\w)])[-\u2212])?"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)"
)
_DIGITS = 60
_LETTER = re.compile(r"(?<![A-Za-z])[A-Z](?![A-Za-z])")


@dataclass(frozen=True)
class Verifier:
    """`same(gold, answer)` says whether an answer is right, `formed(answer)` whether it is one."""

    name: str
    meaning: str
    same: Callable[[str, str], bool]
    formed: Callable[[str], bool]


def _words(text: str) -> str:
    return " ".join(text.split())


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text[-_LONGEST:])
    if not found or len(found[-1]) > _DIGITS:
        return None
    return Decimal(found[-1].replace(",", "").replace("\u2212", "-"))


def _same_number(gold: str, answer: str) -> bool:
    number = _last_number(answer)
    return number is not None and number == _last_number(gold)


def _letter(text: str) -> str | None:
    found = _LETTER.findall(text[-_LONGEST:])
    return found[-1] if found else None


def _same_letter(gold: str, answer: str) -> bool:
    letter = _letter(answer)
    return letter is not None and letter == _letter(gold)


def _strict(form: str) -> Verifier:
    return Verifier(
        form,
        f"the whole answer is of the form {form} and equals the gold answer",
        lambda gold, answer: answers.same_answer(form, gold, answer),
        lambda answer: answers.well_formed(form, answer),
    )


def _something(answer: str) -> bool:
    return bool(answer.strip())


_ALL = (
    Verifier(
        "exact",
        "the whole answer equals the gold answer, white space aside",
        lambda gold, answer: _something(answer) and _words(gold) == _words(answer),
        _something,
    ),
    Verifier(
        "ignoring_case",
        "as exact, capitals and a closing full stop aside",
        lambda gold, answer: (
            _something(answer)
            and _words(gold).removesuffix(".").casefold()
            == _words(answer).removesuffix(".").casefold()
        ),
        _something,
    ),
    Verifier(
        "final_number",
        "the last number of the answer equals the last of the gold answer (GSM8K and its like)",
        _same_number,
        lambda answer: _last_number(answer) is not None,
    ),
    Verifier(
        "choice",
        "the last capital letter that stands alone is the gold answer's (multiple choice)",
        _same_letter,
        lambda answer: _letter(answer) is not None,
    ),
    *(_strict(form) for form in answers.FORMS),
)
VERIFIERS: Mapping[str, Verifier] = MappingProxyType({each.name: each for each in _ALL})


def verifier(name: str) -> Verifier:
    """The verifier called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in VERIFIERS:
        known = "; ".join(f"{each.name}: {each.meaning}" for each in _ALL[:4])
        others = ", ".join(each.name for each in _ALL[4:])
        raise InputError(f"no verifier {name!r}; there are {known}; and the forms {others}")
    return VERIFIERS[name]
