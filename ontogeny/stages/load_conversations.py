"""Own conversations + tokenizer -> conversations, ready to learn, every removal counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.corpus.intake import Form
from ontogeny.corpus.own import (
    OwnTalks,
    contaminated,
    questions_in,
    texts_of,
    told,
    with_texts,
    write_account,
)
from ontogeny.corpus.shards import shard_of_rendered, write_shard
from ontogeny.environments.own import examined
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import Conversation, message_to_row
from ontogeny.text.template import Rendered, render
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class LoadConversations(OwnTalks):
    """Conversations of users and an assistant, in the forms of `ontogeny.text.rows`.

    The share `heldout` is kept from training, split by the first turn of the user, so that what
    begins alike stands on one side. A conversation in which the user asks what a held-out or exam
    task of the `tasks` asks is left out.

    Raises:
        InputError: naming file and line, where rows are wrong.
    """

    stage: ClassVar[str] = "load_conversations"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "tasks*")
    makes: ClassVar[str] = "conversations"

    def __call__(self, work: Work, tokenizer: Artifact, *tasks: Artifact) -> Made:
        """Writes SPLIT/DOMAIN.jsonl for people, the shards beside it, and the account."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        form = Form(lambda row: rows.conversation(row, self.columns), _texts, _with_texts)
        found = self.taken(form, work.progress)
        found.drop(contaminated(examined(tasks), _asked))
        rendered = {item.name: render(item.value, encoder) for item in found.items}
        found.drop(self.too_long({name: len(each.ids) for name, each in rendered.items()}))
        kept, learnt, tokens = {"train": 0, "heldout": 0}, 0, 0
        for domain, sides in self.sides(found, _first).items():
            for split, side in sides.items():
                kept[split] += len(side)
                encoded = [rendered[name] for name, _ in side]
                shard = shard_of_rendered([each for _, each in side], encoded, encoder.vocab_size)
                write_shard(work.payload, split, domain, shard)
                _write(work.payload, split, domain, side)
                if split == "train":
                    learnt, tokens = learnt + _learnt(encoded), tokens + shard.tokens
        metrics = write_account(work.payload, found, kept)
        return Made(
            metrics={**metrics, "tokens": tokens, "learnt": learnt},
            summary=(
                told("conversations", found, kept),
                f"{tokens:,} tokens to train on, of which {learnt:,} are the assistant's",
            ),
            tokens=tokens,
        )


def _learnt(rendered: Iterable[Rendered]) -> int:
    return sum(sum(map(int, each.weights)) for each in rendered)


def _texts(conversation: Conversation) -> list[str]:
    return texts_of(conversation.messages)


def _with_texts(conversation: Conversation, texts: Sequence[str]) -> Conversation:
    return replace(conversation, messages=with_texts(conversation.messages, texts))


def _asked(conversation: Conversation) -> list[str]:
    return questions_in(conversation.messages)


def _first(conversation: Conversation) -> str:
    return _asked(conversation)[0]


def _write(
    directory: Path, split: str, domain: str, side: Sequence[tuple[str, Conversation]]
) -> None:
    with (directory / split / f"{domain}.jsonl").open("w", encoding="utf-8") as file:
        for name, each in side:
            row: Mapping[str, Any] = {
                "id": name,
                "messages": [message_to_row(message) for message in each.messages],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
