"""Harvests + tokenizer -> pairs, ready to learn, every removal counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.corpus.own import contaminated, longer, sides_of, told, write_account
from ontogeny.corpus.paired import asked_in, encoded_pair, first_asked, tokens_of, write_pairs
from ontogeny.environments.own import examined
from ontogeny.feedback.loading import OfHarvests, parted, quoting, rows_of
from ontogeny.feedback.rows import PAIRS
from ontogeny.feedback.voters import SOURCE, prompt_key
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import PreferencePair
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class FeedbackPairs(OfHarvests):
    """Pairs of harvests as `LoadPairs` makes them: the same sides, the same files.

    Each carries how likely the votes leave it that its chosen answer is the better
    (`probability`, read by `RewardModel`). A pair in which the user asks what a held-out or exam
    task of the `tasks` asks, or in which that stands word for word, is left out.

    Raises:
        InputError: nothing is left on a side.
    """

    stage: ClassVar[str] = "feedback_pairs"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("harvest+", "tokenizer|model", "tasks*")
    makes: ClassVar[str] = "pairs"

    def __call__(self, work: Work, *parents: Artifact) -> Made:
        """Writes pairs.jsonl and heldout.jsonl (token ids and texts), and the account."""
        harvests, tokenizer, tasks = parted(parents)
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        found, sure = rows_of(harvests, PAIRS, lambda row: rows.preference(row, {}), _subject)
        found.drop(contaminated(examined(tasks), asked_in))
        found.drop(quoting(found, _says, examined(tasks)))
        encoded = {
            item.name: encoded_pair(item.name, item.value, encoder)
            | {"probability": sure[item.name]}
            for item in found.items
        }
        found.drop(longer(self.longest, {name: tokens_of(row) for name, row in encoded.items()}))
        sides = sides_of(found, first_asked, self.heldout, [SOURCE])
        kept, tokens = write_pairs(work.payload, sides, encoded)
        metrics = write_account(work.payload, found, kept)
        return Made(metrics=metrics, summary=(told("pairs", found, kept),), tokens=tokens)


def _says(pair: PreferencePair) -> list[str]:
    return [each.content for each in (*pair.prompt.messages, pair.chosen, pair.rejected)]


def _subject(pair: PreferencePair) -> object:
    answers = frozenset({pair.chosen.content, pair.rejected.content})
    return prompt_key(pair.prompt.messages), answers
