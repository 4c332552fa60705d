"""Own preference pairs + tokenizer -> pairs, ready to learn, every removal counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.intake import Form
from ontogeny.corpus.own import (
    OwnTalks,
    contaminated,
    texts_of,
    told,
    with_texts,
    write_account,
)
from ontogeny.corpus.paired import asked_in, encoded_pair, first_asked, tokens_of, write_pairs
from ontogeny.environments.own import examined
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import Conversation, PreferencePair
from ontogeny.text.tokenizer import Tokenizer


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
        found.drop(contaminated(examined(tasks), asked_in))
        encoded = {item.name: encoded_pair(item.name, item.value, encoder) for item in found.items}
        found.drop(self.too_long({name: tokens_of(row) for name, row in encoded.items()}))
        kept, tokens = write_pairs(work.payload, self.sides(found, first_asked), encoded)
        metrics = write_account(work.payload, found, kept)
        return Made(metrics=metrics, summary=(told("pairs", found, kept),), tokens=tokens)


def _texts(pair: PreferencePair) -> list[str]:
    return texts_of([*pair.prompt.messages, pair.chosen, pair.rejected])


def _with_texts(pair: PreferencePair, texts: Sequence[str]) -> PreferencePair:
    turns = with_texts([*pair.prompt.messages, pair.chosen, pair.rejected], texts)
    try:
        return PreferencePair(Conversation(turns[:-2]), *turns[-2:])
    except InputError:
        raise rows.Misfit("same_answer", "after cleaning, the two answers are equal") from None
