"""Exchanges and ratings -> what is learnt: conversations and preference pairs, all else counted.

Knows no ledger, no tokenizer and no store. What anybody wrote is cleaned first, then votes are
counted (`voters`), then everything said of one prompt is put together. A row tells no user; who
stands behind which row is told apart from the rows.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.corpus.intake import Form, Intake, Item, clean_items
from ontogeny.corpus.own import folded, texts_of, with_texts
from ontogeny.corpus.table import Removal
from ontogeny.feedback.exchange import SILENCE, Exchange, Rating
from ontogeny.feedback.opinions import FINISHED, Heard, Told, heard, told_of
from ontogeny.feedback.rows import Row, row_of, thinned
from ontogeny.feedback.voters import (
    SOURCE,
    Reliability,
    Voting,
    counted,
    reliabilities,
    removal,
    sigmoid,
)
from ontogeny.text import rows as forms
from ontogeny.text.message import Message, message_to_row


@dataclass(frozen=True, kw_only=True)
class Harvesting(Voting):
    """How votes are counted, and what is taken.

    Attributes:
        least_sure: the probability that the votes leave to an answer being good, or to one being
            better than another, from which it is learnt. The vote of one unknown user gives 0.8.
        copies: rows of one prompt, of conversations and of pairs each.
        near: two prompts, or two answers, of at least this similarity are the same.
        shortest: letters and digits of an answer that is learnt.
        finished: no answer is learnt that was cut off.

    Raises:
        InputError: a number that cannot be meant.
    """

    least_sure: float = 0.7
    copies: int = 4
    near: float = 0.9
    shortest: int = 1
    finished: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 < self.least_sure < 1:
            raise InputError("least_sure is a probability above 0.5 and below 1")
        if self.copies < 1 or self.shortest < 1:
            raise InputError("copies and shortest are counts of at least 1")
        if not 0.5 <= self.near <= 1:
            raise InputError("near is a similarity from 0.5 to 1")


@dataclass
class Taken:
    """What was taken.

    Attributes:
        conversations: rows without a worse answer, sorted by id.
        pairs: rows with one, sorted by id.
        removed: ratings and rows that were left out, with reasons.
        changed: how many texts each rule of cleaning changed.
        exchanges: how many there were, and what of them was rated.
        voters: of each user the votes sent and counted, and how far they are believed.
    """

    conversations: list[Row] = field(default_factory=list)
    pairs: list[Row] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    exchanges: dict[str, int] = field(default_factory=dict)
    voters: dict[str, dict[str, float]] = field(default_factory=dict)

    def people(self) -> dict[str, list[str]]:
        """User -> ids of the rows that hold a text or a vote of theirs."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for row in [*self.conversations, *self.pairs]:
            for user in row.people:
                found[user].append(row.id)
        return {user: sorted(found[user]) for user in sorted(found)}


def harvested(
    exchanges: Sequence[Exchange],
    ratings: Sequence[Rating],
    rules: Harvesting,
    earlier: Sequence[Rating] = (),
) -> Taken:
    """What is learnt of `ratings`; the result is the same in whatever order users wrote.

    Args:
        exchanges: all that a rating may be about.
        ratings: in the order of the ledger: of one user's votes on one thing the last counts.
        earlier: ratings that were harvested before. They say whom to believe and what else was
            said of a prompt, but no row rests on them alone.
    """
    found = Taken()
    rated = {each.exchange for each in [*earlier, *ratings]}
    found.exchanges = {
        "seen": len(exchanges),
        "rated": sum(each.id in rated for each in exchanges),
        "shadow": sum(each.arm == "shadow" for each in exchanges),
    }
    known = {each.id: each for each in exchanges if each.id in rated}
    known = _cleaned_exchanges(known, found)
    old = _cleaned_ratings(earlier, found)
    new = _cleaned_ratings(ratings, found)
    votes, removed = counted(known, old, new, rules)
    found.removed += removed
    said = heard(votes)
    found.removed += said.removed
    believed = reliabilities(said.opinions, rules)
    found.voters = _voters([*earlier, *ratings], Counter(v.rating.user for v in votes), believed)
    found.conversations = _kept(_conversations(said, believed), found, rules)
    found.pairs = _kept(_pairs(said, believed, rules.copies), found, rules)
    return found


def _cleaned_exchanges(exchanges: Mapping[str, Exchange], found: Taken) -> dict[str, Exchange]:
    """Those that can be learnt from, cleaned; `found` gets the reasons of the others."""
    intake: Intake[Exchange] = Intake([Item(key, SOURCE, e) for key, e in exchanges.items()])
    intake.drop(lambda item: _no_talk(item.value))
    form = Form(_never, _texts, _with_texts)
    clean_items(intake, form, scrubbed=True)
    _add(found.changed, intake.changed)
    found.removed += [removal(each.id, each.reason, each.detail) for each in intake.removed]
    return {item.name: item.value for item in intake.items}


def _cleaned_ratings(ratings: Sequence[Rating], found: Taken) -> list[Rating]:
    """The same with clean corrections, without comments, and without what says nothing any more."""
    gone = {each.id for each in found.removed}
    kept: dict[int, Rating] = {}
    corrected: Intake[Rating] = Intake()
    for place, rating in enumerate(ratings):
        if rating.exchange in gone:
            continue  # told once, of the exchange
        rating = replace(rating, comment="")
        if rating.correction:
            corrected.items.append(Item(str(place), SOURCE, rating))
        else:
            kept[place] = rating
    names = {str(place): each.exchange for place, each in enumerate(ratings)}
    form = Form(_never, lambda each: [each.correction], _with_correction)
    clean_items(corrected, form, scrubbed=True)
    _add(found.changed, corrected.changed)
    found.removed += [
        removal(f"{names[e.id]}#correction", e.reason, e.detail) for e in corrected.removed
    ]
    kept |= {int(item.name): item.value for item in corrected.items}
    return [kept[place] for place in sorted(kept)]


def _never(row: Mapping[str, Any]) -> Any:
    raise AssertionError(f"nothing is read here: {row}")


def _texts(each: Exchange) -> list[str]:
    return [*texts_of(each.messages), *(answer.message.content for answer in each.answers)]


def _with_texts(each: Exchange, texts: Sequence[str]) -> Exchange:
    count = len(texts) - len(each.answers)
    answers = [
        replace(answer, message=Message("assistant", text) if text.strip() else SILENCE)
        for answer, text in zip(each.answers, texts[count:], strict=True)
    ]
    return replace(each, messages=with_texts(each.messages, texts[:count]), answers=tuple(answers))


def _with_correction(each: Rating, texts: Sequence[str]) -> Rating:
    if not texts[0].strip():
        raise forms.Misfit("empty_turn", "after cleaning, the correction says nothing")
    return replace(each, correction=texts[0])


def _no_talk(each: Exchange) -> tuple[str, str] | None:
    """Why nothing can be learnt from an exchange as a conversation."""
    if not each.chat:
        return "no_chat", "a text to continue is no question"
    turns = [*each.messages, *(answer.message for answer in each.answers)]
    if any(turn.tool_calls or turn.role == "tool" for turn in turns):
        return "tools", "calls of tools are not learnt from users"
    messages = [message_to_row(turn) for turn in each.messages]
    try:
        forms.conversation({"messages": [*messages, {"role": "assistant", "content": "."}]}, {})
    except forms.Misfit as wrong:
        return wrong.reason, wrong.detail
    return None


def _conversations(
    said: Heard, believed: Mapping[str, Reliability]
) -> Iterator[tuple[Told, float]]:
    """Every answer that somebody was for, and its log-odds of being good."""
    for told in told_of(said, pairs=False):
        if max(told.says.values()) > 0:
            yield told, _log_odds(told.says, believed)


def _pairs(
    said: Heard, believed: Mapping[str, Reliability], most: int
) -> Iterator[tuple[Told, float]]:
    """Every two answers that were told apart, the better first, and the log-odds of that."""
    seen = set()
    for told in told_of(said, pairs=True):
        log_odds = _log_odds(told.says, believed)
        seen.add(told.item)
        yield (told, log_odds) if log_odds >= 0 else (told.turned(), -log_odds)
    liked = {t.item: _log_odds(t.says, believed) for t in told_of(said, pairs=False, fresh=False)}
    for told in said.apart(liked, most):
        if told.item not in seen:
            log_odds = _log_odds(told.says, believed)
            yield (told, log_odds) if log_odds >= 0 else (told.turned(), -log_odds)


def _log_odds(says: Mapping[str, float], believed: Mapping[str, Reliability]) -> float:
    return math.fsum(say * believed[user].log_odds for user, say in says.items())


def _kept(candidates: Iterator[tuple[Told, float]], found: Taken, rules: Harvesting) -> list[Row]:
    """Those that the votes leave sure enough, each once, few to a prompt."""
    rows: list[Row] = []
    for told, log_odds in candidates:
        row = row_of(told, sigmoid(log_odds))
        why = _unfit(told, row, rules)
        if why is None:
            rows.append(row)
        else:
            found.removed.append(removal(row.id, *why))
    rows, removed = thinned(rows, copies=rules.copies, near=rules.near)
    found.removed += removed
    return sorted(rows, key=lambda row: row.id)


def _unfit(told: Told, row: Row, rules: Harvesting) -> tuple[str, str] | None:
    """Why nothing is learnt of a row; of a worse answer anything may be learnt."""
    if told.rejected_correction:
        return "outvoted", "others find the answer better than the correction"
    if row.probability < rules.least_sure:
        return "unsure", f"probability {row.probability:.2f}, {row.votes} votes"
    if rules.finished and told.answer.finish != FINISHED:
        return "cut_off", f"the answer ended by {told.answer.finish}"
    if sum(map(str.isalnum, row.answer.content)) < rules.shortest:
        return "too_short", f"fewer than {rules.shortest} letters and digits"
    if row.rejected == SILENCE:
        return "too_short", "the worse answer says nothing: no pair is made of it"
    if row.rejected is not None and folded(row.answer.content) == folded(row.rejected.content):
        return "same_answer", "the two answers differ in capitals or white space alone"
    return None


def _voters(
    sent: Sequence[Rating], votes: Mapping[str, int], believed: Mapping[str, Reliability]
) -> dict[str, dict[str, float]]:
    """Of each user: ratings sent, votes counted, items compared with others, and the weight."""
    ratings = Counter(each.user for each in sent)
    told: dict[str, dict[str, float]] = {}
    for user in sorted(ratings):
        told[user] = {"ratings": ratings[user], "votes": votes.get(user, 0)}
        if user in believed:
            each = believed[user]
            told[user] |= {"compared": each.compared, "agreed": round(each.agreed, 3)}
            told[user] |= {"weight": round(each.weight, 3)}
    return told


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
