"""A question with choices as a prompt with lettered options and the letter of the right one.

Knows no rows and no verifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ontogeny.base.errors import InputError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered(prompt: str, choices: object, answer: object) -> tuple[str, str]:
    """`prompt` with the choices lettered below it, and the letter of the right one.

    Args:
        prompt: the question.
        choices: texts, or `{"text": texts, "label": names of them}` (ARC).
        answer: a place counted from 0, a label, a letter, or the right choice itself.

    Raises:
        InputError: there are not 2 to 26 texts, or the answer is none of them, or may mean two.
    """
    labels = choices.get("label") if isinstance(choices, Mapping) else None
    listed = choices.get("text") if isinstance(choices, Mapping) else choices
    if not isinstance(listed, list) or not 2 <= len(listed) <= len(LETTERS):
        raise InputError(f"choices are a list of 2 to {len(LETTERS)} texts")
    texts = [_text(each) for each in listed]
    letters = LETTERS[: len(texts)]
    right = letters[_place(texts, labels, answer)]
    options = (f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True))
    return "\n".join([prompt, *options]), right


def _text(choice: object) -> str:
    if isinstance(choice, bool) or not isinstance(choice, str | int | float):
        raise InputError(f"a choice is a text or a number, not of type {type(choice).__name__}")
    text = str(choice).strip()
    if not text:
        raise InputError("a choice says nothing")
    return text


def _place(texts: Sequence[str], labels: object, answer: object) -> int:
    """Where the right choice stands; labels decide before texts, nothing else before anything."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(texts):
            raise InputError(f"the answer is no place among {len(texts)} choices")
        return answer
    if not isinstance(answer, str):
        raise InputError(f"the answer to a choice is not of type {type(answer).__name__}")
    wanted = answer.strip()
    if isinstance(labels, list) and labels.count(wanted) == 1 and len(labels) == len(texts):
        return labels.index(wanted)
    places = {place for place, text in enumerate(texts) if text == wanted}
    if labels is None:
        names = (LETTERS, [str(place) for place in range(len(texts))])
        places |= {place for each in names for place in range(len(texts)) if each[place] == wanted}
    if len(places) != 1:
        what = "may mean several" if places else "is none"
        raise InputError(f"the answer {wanted[:40]!r} {what} of {len(texts)} choices")
    return places.pop()
