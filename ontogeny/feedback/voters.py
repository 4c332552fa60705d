"""Who counts how much: votes that count, a bound on each voter, and how far each is believed.

Knows no text but to compare it, and no rows. A vote is a rating that speaks of an answer which its
user was shown. Weights follow from agreement alone: nobody counts less for what he likes, only for
contradicting those who judged the same.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.corpus.own import folded
from ontogeny.corpus.table import Removal
from ontogeny.feedback.exchange import Exchange, Rating
from ontogeny.text.message import Message

SOURCE = "feedback"
ROUNDS = 20
MOST_RELIABLE = 0.95
"""Nobody counts more than about twice one of whom nothing is known (log-odds 2.9 against 1.4)."""
FEW = 5
"""So many votes of a user always count: of a handful no share can be had."""
ECHO_WORDS = 8
"""An answer of so many words that stand in the prompt as they are is the asker's own text."""


@dataclass(frozen=True, kw_only=True)
class Voting:
    """How votes are counted.

    Attributes:
        threshold: a score of at least this is a vote for an answer, of at most its negative one
            against it; between the two it is none.
        most_votes: of one user in a harvest.
        most_share: of all votes that one user may have; with few users the equal share, if larger;
            it does not bind below `FEW` votes.
        prior_right: how often an unknown user is taken to have agreed with others before,
        prior_wrong: and how often not (a Beta prior).

    Raises:
        InputError: a number that cannot be meant.
    """

    threshold: float = 0.5
    most_votes: int = 20
    most_share: float = 0.1
    prior_right: float = 4.0
    prior_wrong: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}; give a score above 0, at most 1")
        if self.most_votes < 1 or not 0 < self.most_share <= 1:
            raise InputError("most_votes is at least 1, most_share a share above 0, at most 1")
        if not self.prior_right > self.prior_wrong > 0:
            raise InputError("prior_wrong is above 0 and prior_right above it: users mean well")


@dataclass(frozen=True)
class Vote:
    """A rating that counts, the exchange it is about, and whether no harvest had it before.

    `name` is the exchange's id and which rating of it this is.
    """

    name: str
    rating: Rating
    exchange: Exchange
    fresh: bool = True


@dataclass(frozen=True, order=True)
class Item:
    """What several users can have an opinion of, as digests.

    Either an answer to a prompt (`other` is empty) or whether `answer` is better than `other`;
    there, `answer` < `other`.
    """

    prompt: str
    answer: str
    other: str = ""


Opinions = Mapping[Item, Mapping[str, int]]
"""Item -> user -> 1 (good, the first is better) or -1 (bad, the second is)."""


@dataclass(frozen=True)
class Reliability:
    """How often a user is taken to agree with the truth: the posterior mean.

    Attributes:
        right: from 0 to 1.
        compared: how many items somebody else judged, too.
        agreed: on how many of them the user agreed, each counted by how sure the others are.
    """

    right: float
    compared: int = 0
    agreed: float = 0.0

    @property
    def weight(self) -> float:
        """From 0 (a coin, or one who contradicts) to 1."""
        return max(0.0, 2.0 * self.right - 1.0)

    @property
    def log_odds(self) -> float:
        """What one opinion of this user adds; at least 0, so that nobody gains by contradicting."""
        return max(0.0, math.log(self.right / (1.0 - self.right)))


def digest(*parts: str) -> str:
    """16 hex digits of the sha256 of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def prompt_key(messages: Iterable[Message]) -> str:
    """The digest of a prompt's turns."""
    return digest(*(part for each in messages for part in (each.role, each.content)))


def counted(
    exchanges: Mapping[str, Exchange],
    earlier: Sequence[Rating],
    ratings: Sequence[Rating],
    rules: Voting,
) -> tuple[list[Vote], list[Removal]]:
    """The votes that count, in the order of the ledger, and why each other one does not.

    Args:
        exchanges: by id.
        earlier: ratings that a harvest before this one had; they say whom to believe.
        ratings: those since.
    """
    numbers: Counter[str] = Counter()
    votes: list[Vote] = []
    removed: list[Removal] = []
    for place, rating in enumerate([*earlier, *ratings]):
        numbers[rating.exchange] += 1
        name = f"{rating.exchange}#{numbers[rating.exchange]}"
        exchange = exchanges.get(rating.exchange)
        if exchange is None:
            removed.append(removal(name, "unknown_exchange", "the exchange is not in the ledger"))
            continue
        why = _unfit(rating, exchange)
        if why is None:
            votes.append(Vote(name, rating, exchange, place >= len(earlier)))
        else:
            removed.append(removal(name, *why))
    votes, repeated = _last_of_each(votes)
    votes, mute = _decided(votes, rules)
    votes, own = _of_others(votes)
    votes, over = _capped(votes, rules)
    return votes, removed + repeated + mute + own + over


def removal(name: str, reason: str, detail: str) -> Removal:
    """A rating, an exchange or a row that was taken out; nothing of what anybody wrote."""
    return Removal(name, SOURCE, SOURCE, reason, detail)


def _unfit(rating: Rating, exchange: Exchange) -> tuple[str, str] | None:
    """Why a rating speaks of nothing that its user could judge."""
    answers = len(exchange.answers)
    if exchange.arm == "shadow":
        return "shadow", "nobody saw the answers of a shadow"
    if rating.user != exchange.user:
        return "other_user", "it was another user who asked"
    if max(rating.choice, rating.preferred or 0) >= answers:
        return "no_such_answer", f"the exchange has {answers}"
    if rating.preferred is not None and answers < 2:
        return "single_answer", "preferred, and there was one answer"
    return None


def _last_of_each(votes: Sequence[Vote]) -> tuple[list[Vote], list[Removal]]:
    """One vote a user and exchange, and one a user and question to judge: the last one.

    One that only repeats what an earlier harvest had stays the earlier one.
    """
    removed: list[Removal] = []
    for subject in (lambda vote: vote.exchange.id, _subject):
        last: dict[tuple[str, str], Vote] = {}
        for vote in votes:
            key = (vote.rating.user, subject(vote))
            other = last.pop(key, None)
            keep, gone = vote, other
            if other is not None and not other.fresh and _says(other) == _says(vote):
                keep, gone = other, vote
            last[key] = keep
            if gone is not None:
                detail = f"the same user's vote {keep.name} counts"
                removed.append(removal(gone.name, "repeated_vote", detail))
        votes = list(last.values())
    return list(votes), removed


def _decided(votes: Sequence[Vote], rules: Voting) -> tuple[list[Vote], list[Removal]]:
    """Without scores that are neither for nor against; they have replaced what was said before."""
    detail = f"the score is between -{rules.threshold:g} and {rules.threshold:g}"
    kept, removed = [], []
    for vote in votes:
        score = vote.rating.score
        if score is not None and abs(score) < rules.threshold:
            removed.append(removal(vote.name, "undecided", detail))
        else:
            kept.append(vote)
    return kept, removed


def _subject(vote: Vote) -> str:
    """What a vote judges: an answer, or all answers, to a prompt."""
    answers = [each.message.content for each in vote.exchange.answers]
    rating = vote.rating
    about = sorted(answers) if rating.preferred is not None else [answers[rating.choice]]
    return digest(prompt_key(vote.exchange.messages), str(rating.preferred is not None), *about)


def _says(vote: Vote) -> tuple[object, ...]:
    """What a vote says, whichever exchange it was said of."""
    rating, answers = vote.rating, vote.exchange.answers
    best = None if rating.preferred is None else answers[rating.preferred].message.content
    return rating.score, best, rating.correction, _subject(vote)


def _of_others(votes: Sequence[Vote]) -> tuple[list[Vote], list[Removal]]:
    """Without the votes by which users speak for what they wrote themselves."""
    wrote = {
        (vote.rating.user, prompt_key(vote.exchange.messages), folded(vote.rating.correction))
        for vote in votes
        if vote.rating.correction
    }
    kept, removed = [], []
    for vote in votes:
        text = _praised(vote)
        key = (vote.rating.user, prompt_key(vote.exchange.messages), folded(text or ""))
        if text is not None and (key in wrote or echoes(text, vote.exchange.messages)):
            removed.append(removal(vote.name, "own_text", "for a text the same user wrote"))
        else:
            kept.append(vote)
    return kept, removed


def _praised(vote: Vote) -> str | None:
    """The answer that a vote is for; a correction is its author's own and no vote for itself."""
    rating = vote.rating
    if rating.correction or (rating.score is not None and rating.score < 0):
        return None
    place = rating.choice if rating.preferred is None else rating.preferred
    return vote.exchange.answers[place].message.content


def echoes(answer: str, prompt: Iterable[Message]) -> bool:
    """Whether an answer of some length stands in a turn of the prompt: the client wrote it."""
    words = folded(answer)
    if words.count(" ") + 1 < ECHO_WORDS:
        return False
    return any(words in folded(each.content) for each in prompt)


def _capped(votes: Sequence[Vote], rules: Voting) -> tuple[list[Vote], list[Removal]]:
    """At most so many votes of one user, new and earlier ones each, chosen by a digest.

    By time, whoever votes first or last would choose for himself which of his votes count.
    """
    kept: set[str] = set()
    for fresh in (False, True):
        by_user: defaultdict[str, list[Vote]] = defaultdict(list)
        for vote in votes:
            if vote.fresh is fresh:
                by_user[vote.rating.user].append(vote)
        most = most_of_one([len(each) for each in by_user.values()], rules)
        for user, cast in by_user.items():
            drawn = sorted(cast, key=lambda vote: digest("cap", user, vote.exchange.id))
            kept.update(vote.name for vote in drawn[:most])
    over = [vote.name for vote in votes if vote.name not in kept]
    detail = "more votes than one user may have"
    return (
        [vote for vote in votes if vote.name in kept],
        [removal(name, "over_cap", detail) for name in over],
    )


def most_of_one(counts: Sequence[int], rules: Voting) -> int:
    """How many votes one user may have, where users cast `counts`.

    The share is taken of all votes that `most_votes` leaves, so flooding does not raise it.
    """
    if not counts:
        return rules.most_votes
    left = sum(min(count, rules.most_votes) for count in counts)
    share = max(rules.most_share, 1.0 / len(counts))
    return min(rules.most_votes, max(FEW, math.floor(share * left + 1e-9)))


def reliabilities(opinions: Opinions, rules: Voting) -> dict[str, Reliability]:
    """How often each user agrees with the truth, judged by the others alone.

    One parameter a user, as the single-coin case of Dawid and Skene (1979, "Maximum likelihood
    estimation of observer error-rates using the EM algorithm", Applied Statistics 28), with a Beta
    prior and leave-one-out: what a user said never speaks for him. An item counts by how sure the
    others are of it, so nobody loses by meeting one who is not believed. Rounds are averaged: two
    who contradict each other would else be believed in every second one. Sums are exact
    (`math.fsum`), so no order of rows changes a bit.
    """
    judged = [users for users in opinions.values() if len(users) > 1]
    users = sorted({user for each in opinions.values() for user in each})
    start = rules.prior_right / (rules.prior_right + rules.prior_wrong)
    known = {user: Reliability(min(MOST_RELIABLE, start)) for user in users}
    for number in range(1, ROUNDS + 1):
        evidence: defaultdict[str, list[float]] = defaultdict(list)
        for labels in judged:
            say = {user: label * known[user].log_odds for user, label in labels.items()}
            for user, label in labels.items():
                others = math.fsum(value for each, value in say.items() if each != user)
                evidence[user].append(sigmoid(label * others))
        known = {user: _posterior(known[user], evidence[user], rules, number) for user in users}
    return known


def _posterior(
    before: Reliability, agreement: Sequence[float], rules: Voting, number: int
) -> Reliability:
    """The mean over `number` rounds.

    Args:
        agreement: of each item, how likely the others leave it that the user was right.
    """
    sure = [abs(2.0 * each - 1.0) for each in agreement]
    agreed = math.fsum(s * each for s, each in zip(sure, agreement, strict=True))
    asked = rules.prior_right + rules.prior_wrong + math.fsum(sure)
    right = (rules.prior_right + agreed) / asked
    mean = before.right + (right - before.right) / number
    return Reliability(min(MOST_RELIABLE, mean), len(agreement), agreed)


def sigmoid(log_odds: float) -> float:
    """The probability of these log-odds."""
    if log_odds < 0:
        return 1.0 - sigmoid(-log_odds)
    return 1.0 / (1.0 + math.exp(-log_odds))
