"""Own conversations + tokenizer -> conversations, ready to learn, every removal counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

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
from ontogeny.corpus.talks import write_sides
from ontogeny.environments.own import examined
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import Conversation
from ontogeny.text.template import render
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
        sides = self.sides(found, _first)
        kept, tokens, learnt = write_sides(work.payload, sides, rendered, encoder.vocab_size)
        metrics = write_account(work.payload, found, kept)
        return Made(
            metrics={**metrics, "tokens": tokens, "learnt": learnt},
            summary=(
                told("conversations", found, kept),
                f"{tokens:,} tokens to train on, of which {learnt:,} are the assistant's",
            ),
            tokens=tokens,
        )


def _texts(conversation: Conversation) -> list[str]:
    return texts_of(conversation.messages)


def _with_texts(conversation: Conversation, texts: Sequence[str]) -> Conversation:
    return replace(conversation, messages=with_texts(conversation.messages, texts))


def _asked(conversation: Conversation) -> list[str]:
    return questions_in(conversation.messages)


def _first(conversation: Conversation) -> str:
    return _asked(conversation)[0]
