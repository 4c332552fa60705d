"""Rows that are learnt, their form on disk, and those that say what another row says.

Knows no votes. A conversation is a prompt with its completion, a pair has a chosen and a rejected
answer: forms of `ontogeny.text.rows`, in which only the last answer is learnt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ontogeny.corpus.exact import remove_exact
from ontogeny.corpus.minhash import U32, clusters, signatures
from ontogeny.corpus.own import folded
from ontogeny.corpus.table import Removal, documents_table
from ontogeny.feedback.opinions import Told
from ontogeny.feedback.voters import SOURCE, digest, removal
from ontogeny.text.document import Document
from ontogeny.text.message import Message, message_to_row

CONVERSATIONS, PAIRS = "conversations.jsonl", "pairs.jsonl"


@dataclass(frozen=True)
class Row:
    """A prompt with an answer to learn, and with a worse one in a pair.

    Attributes:
        id: a digest of the texts: the same row has the same id in every harvest.
        probability: that the answer is good, or is the better one.
        votes: opinions behind it.
        people: whose; never written beside the row.
    """

    id: str
    prompt: tuple[Message, ...]
    answer: Message
    rejected: Message | None
    probability: float
    votes: int
    people: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        """The row as it is written."""
        row: dict[str, Any] = {"id": self.id, "prompt": [message_to_row(m) for m in self.prompt]}
        if self.rejected is None:
            row["completion"] = [message_to_row(self.answer)]
        else:
            row["chosen"] = [message_to_row(self.answer)]
            row["rejected"] = [message_to_row(self.rejected)]
        return row | {"probability": self.probability, "votes": self.votes}


def row_of(told: Told, probability: float) -> Row:
    """The row that was told of."""
    texts = [part for each in told.prompt for part in (each.role, each.content)]
    answer, rejected = told.answer.message, told.rejected.message if told.rejected else None
    said = [answer.content, *([rejected.content] if rejected else [])]
    people = frozenset(user for user, say in told.says.items() if say)
    return Row(
        id=digest("pair" if rejected else "conversation", *texts, *said),
        prompt=told.prompt,
        answer=answer,
        rejected=rejected,
        probability=round(probability, 6),
        votes=len(people),
        people=people,
    )


def thinned(rows: Sequence[Row], *, copies: int, near: float) -> tuple[list[Row], list[Removal]]:
    """Without rows that say the same, and at most `copies` of one prompt; the surest stay.

    Prompts and answers are the same where their words are, or where their MinHash signatures agree
    to the share `near` within a cluster (`corpus.minhash`).
    """
    if not rows:
        return [], []
    ranked = sorted(rows, key=lambda row: (-row.probability, -row.votes, row.id))
    outcome = remove_exact(_table(ranked, _whole))
    removed = [
        removal(ranked[int(row["id"])].id, "exact_duplicate", _naming(row["detail"], ranked))
        for row in outcome.removed.to_pylist()
    ]
    ranked = [ranked[int(place)] for place in outcome.kept["id"].to_pylist()]
    groups = _groups(ranked, near)
    said_DH = signatures(_table(ranked, _answers))
    kept: defaultdict[str, list[int]] = defaultdict(list)
    for place, (row, group) in enumerate(zip(ranked, groups, strict=True)):
        same = [e for e in kept[group] if (said_DH[e] == said_DH[place]).mean() >= near]
        if same:
            detail = f"says what {ranked[same[0]].id} says"
            removed.append(removal(row.id, "near_duplicate", detail))
        elif len(kept[group]) >= copies:
            removed.append(removal(row.id, "over_copies", f"{copies} rows of its prompt stay"))
        else:
            kept[group].append(place)
    return [ranked[place] for places in kept.values() for place in places], removed


def _groups(rows: Sequence[Row], near: float) -> list[str]:
    """Of each row which prompt it has; nearly equal ones are one."""
    asked_DH: U32 = signatures(_table(rows, _asked))
    first_D = clusters(asked_DH)
    alike_D = (asked_DH == asked_DH[first_D]).mean(axis=1) >= near
    return [
        f"like {first}" if alike else f"is {folded(_asked(row))}"
        for row, first, alike in zip(rows, first_D.tolist(), alike_D.tolist(), strict=True)
    ]


def _table(rows: Sequence[Row], text: Callable[[Row], str]) -> pa.Table:
    return documents_table(
        Document(f"{place:012d}", SOURCE, SOURCE, text(row)) for place, row in enumerate(rows)
    )


def _asked(row: Row) -> str:
    return "\n".join(each.content for each in row.prompt)


def _answers(row: Row) -> str:
    return row.answer.content + (f"\n{row.rejected.content}" if row.rejected else "")


def _whole(row: Row) -> str:
    roles = " ".join(each.role for each in row.prompt)
    return f"{roles}\n{_asked(row)}\n{_answers(row)}"


def _naming(detail: str, rows: Sequence[Row]) -> str:
    words = detail.split()
    return f"{words[0]} {rows[int(words[1])].id}"
