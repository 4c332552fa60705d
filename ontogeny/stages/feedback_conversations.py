"""Harvests + tokenizer -> conversations, ready to learn, every removal counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.corpus.own import (
    contaminated,
    longer,
    questions_in,
    sides_of,
    texts_of,
    told,
    write_account,
)
from ontogeny.corpus.paired import behind
from ontogeny.corpus.talks import write_sides
from ontogeny.environments.own import examined
from ontogeny.feedback.loading import OfHarvests, parted, quoting, rows_of
from ontogeny.feedback.rows import CONVERSATIONS
from ontogeny.feedback.voters import SOURCE, prompt_key
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import Conversation
from ontogeny.text.template import Rendered, render
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class FeedbackConversations(OfHarvests):
    """Conversations of harvests as `LoadConversations` makes them: the same sides, the same files.

    Only the last answer is learnt: what the assistant said before it is the client's text. A
    conversation in which the user asks what a held-out or exam task of the `tasks` asks, or in
    which that stands word for word, is left out.

    Raises:
        InputError: nothing is left on a side.
    """

    stage: ClassVar[str] = "feedback_conversations"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("harvest+", "tokenizer|model", "tasks*")
    makes: ClassVar[str] = "conversations"

    def __call__(self, work: Work, *parents: Artifact) -> Made:
        """Writes SPLIT/feedback.jsonl for people, the shards beside it, and the account."""
        harvests, tokenizer, tasks = parted(parents)
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        found, _ = rows_of(
            harvests, CONVERSATIONS, lambda row: rows.conversation(row, {}), _subject
        )
        found.drop(contaminated(examined(tasks), lambda talk: questions_in(talk.messages)))
        found.drop(quoting(found, lambda talk: texts_of(talk.messages), examined(tasks)))
        rendered = {item.name: _last_learnt(item.value, encoder) for item in found.items}
        found.drop(longer(self.longest, {name: len(each.ids) for name, each in rendered.items()}))
        sides = sides_of(found, _first, self.heldout, [SOURCE])
        kept, tokens, learnt = write_sides(work.payload, sides, rendered, encoder.vocab_size)
        metrics = write_account(work.payload, found, kept)
        return Made(
            metrics={**metrics, "tokens": tokens, "learnt": learnt},
            summary=(
                told("conversations", found, kept),
                f"{tokens:,} tokens to train on, of which {learnt:,} are learnt",
            ),
            tokens=tokens,
        )


def _last_learnt(talk: Conversation, encoder: Tokenizer) -> Rendered:
    """The rendering of the whole, with weights on the last answer alone."""
    whole = render(talk, encoder)
    prompt = render(talk.messages[:-1], encoder, generation_prompt=True).ids
    answer = behind(prompt, whole.ids)
    return Rendered(whole.ids, (0.0,) * len(prompt) + whole.weights[-len(answer) :])


def _first(talk: Conversation) -> str:
    return questions_in(talk.messages)[0]


def _subject(talk: Conversation) -> object:
    return prompt_key(talk.messages)
