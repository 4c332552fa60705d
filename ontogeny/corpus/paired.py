"""Preference pairs as token ids: the row that pairs are learnt from, and its file on each side.

Knows no source of the pairs and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.base.files import write_jsonl
from ontogeny.corpus.own import Named, questions_in
from ontogeny.text.message import PreferencePair
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

FILES = {"train": "pairs.jsonl", "heldout": "heldout.jsonl"}


def encoded_pair(name: str, pair: PreferencePair, encoder: Tokenizer) -> dict[str, Any]:
    """The pair as `stages.pairs` writes it, without scores: nobody gave any.

    Raises:
        InputError: the chat template is not one to answer behind a prompt with.
    """
    before = pair.prompt.messages
    prompt = render(before, encoder, generation_prompt=True).ids
    row: dict[str, Any] = {"task": name, "prompt": list(prompt)}
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        ids = render([*before, answer], encoder).ids
        row[side] = list(behind(prompt, ids))
    row["texts"] = [before[-1].content, pair.chosen.content, pair.rejected.content]
    return row


def behind(prompt: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, ...]:
    """The ids of `whole` that follow those of the prompt.

    Raises:
        InputError: `whole` begins with others.
    """
    if whole[: len(prompt)] != prompt:
        raise InputError(
            "the chat template changes the prompt once an answer follows; an answer alone cannot "
            "be learnt under it",
            file=Path("chat_template.jinja"),
        )
    return whole[len(prompt) :]


def asked_in(pair: PreferencePair) -> list[str]:
    """What the user says before the answers, turn by turn."""
    return questions_in(pair.prompt.messages)


def first_asked(pair: PreferencePair) -> str:
    """What decides the side of a pair."""
    return asked_in(pair)[0]


def tokens_of(row: Mapping[str, Any]) -> int:
    """Tokens of an encoded pair's prompt with the longer answer."""
    return len(row["prompt"]) + max(len(row["chosen"]), len(row["rejected"]))


def write_pairs(
    directory: Path,
    sides: Mapping[str, Mapping[str, Named[PreferencePair]]],
    encoded: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, int], int]:
    """Writes both files of `FILES`.

    Args:
        sides: domain -> split -> named pairs.
        encoded: their rows by name.

    Returns:
        How many pairs are in which split, and the tokens of all answers.
    """
    kept: dict[str, int] = {}
    tokens = 0
    for split, file in FILES.items():
        names = [name for side in sides.values() for name, _ in side.get(split, ())]
        rows: Sequence[Mapping[str, Any]] = [encoded[name] for name in names]
        write_jsonl(directory / file, rows)
        kept[split] = len(rows)
        tokens += sum(len(row["chosen"]) + len(row["rejected"]) for row in rows)
    return kept, tokens
