"""Own preference pairs + tokenizer -> pairs, ready to learn, every removal counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.intake import Form, Item
from ontogeny.corpus.own import (
    OwnTalks,
    contaminated,
    questions_in,
    texts_of,
    told,
    with_texts,
    write_account,
)
from ontogeny.environments.own import examined
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import Conversation, PreferencePair
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

FILES = {"train": "pairs.jsonl", "heldout": "heldout.jsonl"}


@dataclass(frozen=True, kw_only=True)
class LoadPairs(OwnTalks):
    """Two answers to a prompt, the first better, in the forms of `ontogeny.text.rows`.

    The share `heldout` is kept from training, split by the first turn of the user, as
    `LoadConversations` splits: a dialogue and its beginning stand on one side. A pair in which the
    user asks what a held-out or exam task of the `tasks` asks is left out.

    Raises:
        InputError: naming file and line, where rows are wrong.
    """

    stage: ClassVar[str] = "load_pairs"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "tasks*")
    makes: ClassVar[str] = "pairs"

    def __call__(self, work: Work, tokenizer: Artifact, *tasks: Artifact) -> Made:
        """Writes pairs.jsonl and heldout.jsonl (token ids and texts), and the account."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        form = Form(lambda row: rows.preference(row, self.columns), _texts, _with_texts)
        found = self.taken(form, work.progress)
        found.drop(contaminated(examined(tasks), _asked))
        encoded = {item.name: _row(item, encoder) for item in found.items}
        found.drop(self.too_long({name: _tokens(row) for name, row in encoded.items()}))
        kept, tokens = dict.fromkeys(FILES, 0), 0
        sides = self.sides(found, _first)
        for split, name in FILES.items():
            with (work.payload / name).open("w", encoding="utf-8") as file:
                for item, _ in (each for side in sides.values() for each in side.get(split, ())):
                    kept[split] += 1
                    tokens += sum(len(encoded[item][each]) for each in ("chosen", "rejected"))
                    file.write(json.dumps(encoded[item], ensure_ascii=False) + "\n")
        metrics = write_account(work.payload, found, kept)
        return Made(metrics=metrics, summary=(told("pairs", found, kept),), tokens=tokens)


def _row(item: Item[PreferencePair], encoder: Tokenizer) -> dict[str, Any]:
    """The pair as `stages.pairs` writes it, without scores: nobody gave any.

    Raises:
        InputError: the chat template is not one to answer behind a prompt with.
    """
    pair = item.value
    before = pair.prompt.messages
    prompt = render(before, encoder, generation_prompt=True).ids
    row: dict[str, Any] = {"task": item.name, "prompt": list(prompt)}
    for name, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        ids = render([*before, answer], encoder).ids
        if ids[: len(prompt)] != prompt:
            raise InputError(
                "the chat template changes the prompt once an answer follows; pairs cannot be "
                "learnt under it",
                file=Path("chat_template.jinja"),
            )
        row[name] = list(ids[len(prompt) :])
    row["texts"] = [before[-1].content, pair.chosen.content, pair.rejected.content]
    return row


def _asked(pair: PreferencePair) -> list[str]:
    return questions_in(pair.prompt.messages)


def _first(pair: PreferencePair) -> str:
    return _asked(pair)[0]


def _tokens(row: Mapping[str, Any]) -> int:
    return len(row["prompt"]) + max(len(row["chosen"]), len(row["rejected"]))


def _texts(pair: PreferencePair) -> list[str]:
    return texts_of([*pair.prompt.messages, pair.chosen, pair.rejected])


def _with_texts(pair: PreferencePair, texts: Sequence[str]) -> PreferencePair:
    turns = with_texts([*pair.prompt.messages, pair.chosen, pair.rejected], texts)
    try:
        return PreferencePair(Conversation(turns[:-2]), *turns[-2:])
    except InputError:
        raise rows.Misfit("same_answer", "after cleaning, the two answers are equal") from None
