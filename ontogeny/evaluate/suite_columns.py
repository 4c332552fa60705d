"""Rows of a question file -> the columns of the data set that a suite is named after.

Knows no prompt and no file. Two forms are taken: the columns of the original set, and (query,
choices, gold), in which the query is already put as `Question: ...`. What is missing, of another
type or without a gold answer is a `Misfit`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ontogeny.text.rows import Misfit

Row = Mapping[str, Any]
Original = dict[str, Any]
Read = Callable[[Row], Original]
LETTERS = string.ascii_uppercase


def listed(column: str, count: int = 0) -> Read:
    """Reads (`column`, choices of text and label, answerKey), or a query with choices and gold.

    Args:
        column: what the question is called.
        count: exactly so many choices; 0 is any number.
    """

    def read(row: Row) -> Original:
        if "query" in row:
            question = _between(row, "query", "Question: ", "\nAnswer:")
            texts, labels = texts_of(row, "choices"), list(LETTERS)
            key = labels[whole(row, "gold", len(texts))]
        else:
            question, both = text_of(row, column), row.get("choices")
            if not isinstance(both, Mapping):
                raise Misfit("no_column", "choices is no object of text and label")
            texts, labels = texts_of(both, "text"), texts_of(both, "label")
            key = text_of(row, "answerKey").strip()
        if len(texts) > len(LETTERS) or (count and len(texts) != count):
            raise Misfit("bad_choice", f"it has {len(texts)} choices, not {count or 'at most 26'}")
        if key not in labels[: len(texts)]:
            raise Misfit("no_gold", f"answerKey is {key!r}, which is the label of no choice")
        letters = list(LETTERS[: len(texts)])
        return {
            column: question.strip() if count else question,
            "choices": {"text": texts, "label": letters},
            "answerKey": letters[labels.index(key)],
        }

    return read


def hellaswag(row: Row) -> Original:
    """activity_label, ctx_a, ctx_b, endings, label; `ctx` alone is taken for ctx_a.

    Where ctx alone is given, what would be ctx_b keeps its first letter as it is.
    """
    whole_context = "ctx_a" not in row and "ctx" in row
    endings = texts_of(row, "endings")
    return {
        "activity_label": text_of(row, "activity_label"),
        "ctx_a": text_of(row, "ctx" if whole_context else "ctx_a"),
        "ctx_b": "" if whole_context else text_of(row, "ctx_b", empty=True),
        "endings": endings,
        "label": str(whole(row, "label", len(endings))),
    }


def piqa(row: Row) -> Original:
    """goal, sol1, sol2, label (0 or 1)."""
    texts = {name: text_of(row, name) for name in ("goal", "sol1", "sol2")}
    return {**texts, "label": whole(row, "label", 2)}


def winogrande(row: Row) -> Original:
    """sentence with a gap `_`, option1, option2, answer ("1" or "2")."""
    found: Original = {name: text_of(row, name) for name in ("sentence", "option1", "option2")}
    if not found["sentence"].partition("_")[2].strip():
        raise Misfit("no_gap", "the sentence has no gap _ with words behind it")
    return {**found, "answer": str(whole(row, "answer", 2, first=1))}


def boolq(row: Row) -> Original:
    """passage, question, answer (true or false) or label; or a query that ends in the question."""
    if "query" in row:
        passage, marked, question = text_of(row, "query").rpartition("\nQuestion: ")
        if not marked or not question.endswith("?\nAnswer:"):
            raise Misfit("bad_query", "the query does not end in '\\nQuestion: ...?\\nAnswer:'")
        choices = [each.lower() for each in texts_of(row, "choices")]
        if sorted(choices) != ["no", "yes"]:
            raise Misfit("bad_choice", "the choices are not yes and no")
        label = int(choices[whole(row, "gold", 2)] == "yes")
        return {
            "passage": passage,
            "question": question.removesuffix("?\nAnswer:"),
            "label": label,
        }
    given = row.get("answer")
    label = int(given) if isinstance(given, bool) else whole(row, "label", 2)
    return {**{name: text_of(row, name) for name in ("passage", "question")}, "label": label}


def social_iqa(row: Row) -> Original:
    """context, question, answerA, answerB, answerC, label (1 to 3)."""
    names = ("context", "question", "answerA", "answerB", "answerC")
    texts = {name: text_of(row, name) for name in names}
    return {**texts, "label": str(whole(row, "label", 3, first=1))}


def mmlu(row: Row) -> Original:
    """question, subject, four choices, answer (0 to 3, or A to D)."""
    choices = texts_of(row, "choices", empty=True)
    if len(choices) != 4:
        raise Misfit("bad_choice", f"it has {len(choices)} choices, not 4")
    answer = row.get("answer")
    if isinstance(answer, str) and answer in ("A", "B", "C", "D"):
        row = {**row, "answer": LETTERS.index(answer)}
    return {
        "question": text_of(row, "question").strip(),
        "subject": text_of(row, "subject"),
        "choices": choices,
        "answer": whole(row, "answer", 4),
    }


def lambada(row: Row) -> Original:
    """text, whose last word is asked for; or a context and its continuation."""
    if "context" in row:
        word = text_of(row, "continuation").strip(" ")
        text = f"{text_of(row, 'context')} {word}"
    else:
        text = text_of(row, "text")
    if not text.rpartition(" ")[2]:
        raise Misfit("no_word", "the text ends in a space; its last word is asked for")
    return {"text": text}


def gsm8k(row: Row) -> Original:
    """question, answer, which ends in `#### NUMBER`."""
    found = {name: text_of(row, name) for name in ("question", "answer")}
    if "#### " not in found["answer"]:
        raise Misfit("no_gold", "the answer does not end in '#### NUMBER'")
    return found


def own_choice(row: Row) -> Original:
    """query, choices, gold (the place of the right one, from 0)."""
    texts = texts_of(row, "choices")
    if len(texts) < 2:
        raise Misfit("bad_choice", "it has fewer than 2 choices")
    query = text_of(row, "query" if "query" in row else "question")
    return {"query": query, "choices": texts, "gold": whole(row, "gold", len(texts))}


def own_answer(row: Row) -> Original:
    """prompt, answer."""
    return {"prompt": text_of(row, "prompt"), "answer": text_of(row, "answer").strip()}


def text_of(row: Row, name: str, *, empty: bool = False) -> str:
    """The text in column `name`; Misfit where it is none, or empty."""
    value = row.get(name)
    if not isinstance(value, str):
        raise Misfit("no_column", f"{name} is {_kind(row, name)}, no text")
    if not (empty or value.strip()):
        raise Misfit("empty_text", f"{name} is empty")
    return value


def texts_of(row: Row, name: str, *, empty: bool = False) -> list[str]:
    """The texts in column `name`; Misfit where it is no list of them, or one is empty."""
    value = row.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise Misfit("no_column", f"{name} is {_kind(row, name)}, no list of texts")
    if not all(isinstance(each, str) and (each.strip() or empty) for each in value):
        raise Misfit("bad_choice", f"{name} holds what is no text, or is empty")
    return list(value)


def whole(row: Row, name: str, count: int, *, first: int = 0) -> int:
    """The whole number in column `name`, `first` or up to `count` - 1 above it."""
    value = row.get(name)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Misfit("no_gold", f"{name} is {_kind(row, name)}, no whole number")
    if not first <= value < first + count:
        raise Misfit("no_gold", f"{name} is {value}; it must be {first} to {first + count - 1}")
    return value


def _kind(row: Row, name: str) -> str:
    if name not in row:
        return "missing"
    value = row[name]
    return repr(value)[:40] if isinstance(value, str) else type(value).__name__


def _between(row: Row, name: str, before: str, after: str) -> str:
    text = text_of(row, name)
    if not (text.startswith(before) and text.endswith(after)) or len(text) <= len(before + after):
        raise Misfit("bad_query", f"{name} is not of the form {before + '...' + after!r}")
    return text[len(before) : -len(after)]
