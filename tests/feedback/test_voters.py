"""Nobody counts for much: one vote a thing, a cap on each user, and trust by agreement alone."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from feedback.votes import Traffic, user

from ontogeny.base.errors import InputError
from ontogeny.feedback.exchange import Rating
from ontogeny.feedback.harvest import Harvesting, Taken, harvested
from ontogeny.feedback.voters import (
    Item,
    Vote,
    Voting,
    counted,
    echoes,
    most_of_one,
    reliabilities,
)
from ontogeny.text.message import Message

A, B, C, D = (user(number) for number in range(1, 5))


def votes(traffic: Traffic, **rules: float) -> tuple[list[Vote], dict[str, int]]:
    known = {each.id: each for each in traffic.exchanges}
    kept, removed = counted(known, [], traffic.ratings, Voting(**rules))  # type: ignore[arg-type]
    return kept, dict(Counter(each.reason for each in removed))


def said(kept: list[Vote]) -> list[Rating]:
    return [vote.rating for vote in kept]


def test_the_last_vote_of_a_user_on_an_exchange_counts() -> None:
    traffic = Traffic()
    exchange = traffic.ask(A, "Which?", "One.", "Two.")
    traffic.rate(exchange, score=-1.0)
    traffic.rate(exchange, preferred=1)
    last = traffic.rate(exchange, preferred=0)
    kept, removed = votes(traffic)
    assert said(kept) == [last]
    assert removed == {"repeated_vote": 2}


def test_a_vote_can_be_taken_back() -> None:
    traffic = Traffic()
    exchange = traffic.ask(A, "Which?", "One.")
    traffic.rate(exchange, score=1.0)
    traffic.rate(exchange, score=0.0)
    kept, removed = votes(traffic)
    assert not kept
    assert removed == {"repeated_vote": 1, "undecided": 1}


def test_a_user_judges_a_thing_once_however_often_it_is_asked() -> None:
    traffic = Traffic()
    for _ in range(100):
        traffic.said(A, "Which?", "One.", "Two.", preferred=0)
    turned = traffic.said(A, "Which?", "Two.", "One.", preferred=0)
    kept, removed = votes(traffic)
    assert said(kept) == [turned]
    assert removed == {"repeated_vote": 100}


def test_a_rating_speaks_of_what_its_user_was_shown() -> None:
    traffic = Traffic()
    shadow = traffic.ask(A, "Shadowed?", "One.", arm="shadow")
    traffic.rate(shadow, score=1.0)
    seen = traffic.ask(A, "Whose?", "One.")
    traffic.rate(seen, B, score=1.0)
    traffic.rate(seen, choice=1, score=1.0)
    traffic.rate(traffic.ask(A, "Which?", "One."), preferred=0)
    traffic.rate(traffic.ask(A, "Nice?", "One."), score=0.2)
    traffic.ratings.append(Rating(key="k", exchange="chatcmpl-gone", user=A, score=1.0))
    kept, removed = votes(traffic)
    assert not kept
    assert removed == dict.fromkeys(
        (
            "shadow",
            "other_user",
            "no_such_answer",
            "single_answer",
            "undecided",
            "unknown_exchange",
        ),
        1,
    )


LONG = "The quick brown fox jumps over the lazy dog today."


def test_votes_for_ones_own_text_do_not_count() -> None:
    traffic = Traffic()
    traffic.said(A, f"Say after me: {LONG}", LONG, score=1.0)
    prefilled = [
        Message("user", "Tell me a story."),
        Message("assistant", LONG),
        Message("user", "Again, please."),
    ]
    traffic.said(A, prefilled, LONG.upper(), "No.", preferred=0)
    corrected = traffic.said(B, "Name a colour.", "Dog.", correction="Teal, of course.")
    traffic.said(B, "Name a colour.", "Teal, of course.", score=1.0)
    praised = traffic.said(C, "Name a colour.", "Teal, of course.", score=1.0)
    blamed = traffic.said(D, f"Say after me: {LONG}", LONG, score=-1.0)
    kept, removed = votes(traffic)
    assert said(kept) == [corrected, praised, blamed]
    assert removed == {"own_text": 3}


def test_a_short_answer_that_the_question_names_is_no_echo() -> None:
    asked = [Message("user", "Is it seven or eight?")]
    assert not echoes("eight", asked)
    assert echoes(LONG, [Message("user", f"> {LONG}\nright?")])


def test_a_flood_of_votes_counts_as_twenty_chosen_by_a_digest() -> None:
    traffic = Traffic()
    for number in range(300):
        traffic.said(A, f"Question {number}?", "Yes.", score=1.0)
    for number in range(30):
        for who in (B, C, D):
            traffic.said(who, f"Question {number}?", "Yes.", score=1.0)
    kept, removed = votes(traffic, most_share=0.5)
    assert Counter(each.user for each in said(kept)) == dict.fromkeys((A, B, C, D), 20)
    assert removed == {"over_cap": 280 + 3 * 10}
    places = [traffic.ratings.index(each) for each in said(kept) if each.user == A]
    assert places[0] > 5 or places[-1] < 295 or max(places) - min(places) > 100
    assert places != list(range(20)) and places != list(range(280, 300))
    back = Traffic()
    back.exchanges, back.ratings = traffic.exchanges, traffic.ratings[::-1]
    again, _ = votes(back, most_share=0.5)
    assert {each.key for each in said(again)} == {each.key for each in said(kept)}


def test_no_user_has_more_than_the_share_of_votes() -> None:
    counts = [5] * 30 + [10_000]
    assert most_of_one(counts, Voting(most_votes=50, most_share=0.1)) == 20  # of 5 * 30 + 50
    assert most_of_one([100], Voting()) == 20  # alone, one is all
    assert most_of_one([18, 12], Voting()) == 15  # the equal share of few
    assert most_of_one([1] * 5, Voting()) == 5  # of a handful no share is had
    assert most_of_one([9] * 5, Voting(most_votes=3)) == 3
    assert most_of_one([], Voting()) == 20


def opinions(truth: int, right: dict[str, list[bool]]) -> dict[Item, dict[str, int]]:
    """Item -> user -> label; `right` says of each user where the truth was told."""
    count = len(next(iter(right.values())))
    return {
        Item(f"p{n}", "a", "b"): {u: truth if told[n] else -truth for u, told in right.items()}
        for n in range(count)
    }


def test_a_coin_and_one_who_contradicts_weigh_nothing() -> None:
    draw = random.Random(0)
    right = {user(n): [draw.random() < 0.9 for _ in range(40)] for n in range(8)}
    coin, enemy = user(100), user(101)
    right[coin] = [n % 2 == 0 for n in range(40)]
    right[enemy] = [False] * 40
    found = reliabilities(opinions(1, right), Voting())
    assert min(found[user(n)].weight for n in range(8)) > 0.6
    assert found[coin].weight < 0.2
    assert found[enemy].weight == 0.0 == found[enemy].log_odds  # and never less
    assert found == reliabilities(opinions(-1, right), Voting())  # which answer wins plays no part


def test_one_of_whom_nothing_is_known_counts_by_the_prior_alone() -> None:
    alone = {Item("p", "a"): {A: 1}}
    assert reliabilities(alone, Voting())[A].weight == pytest.approx(0.6)
    assert reliabilities(alone, Voting(prior_right=9.0))[A].weight == pytest.approx(0.8)


def test_nobody_speaks_for_himself() -> None:
    """Two against two on everything: what one says does not make his side the truth."""
    right = {A: [True] * 30, B: [True] * 30, C: [False] * 30, D: [False] * 30}
    found = reliabilities(opinions(1, right), Voting())
    assert found[A] == found[B] == found[C] == found[D]
    two = reliabilities(opinions(1, {A: [True] * 30, B: [False] * 30}), Voting())
    assert two[A] == two[B] and two[A].compared == 30 and two[A].weight < 0.2


def test_nobody_loses_by_meeting_one_who_is_not_believed() -> None:
    right = {user(n): [True] * 30 for n in range(3)} | {D: [False] * 30}
    met = {Item(f"q{n}", "a"): {user(50): 1, D: -1} for n in range(30)}
    found = reliabilities(opinions(1, right) | met, Voting())
    assert found[D].weight == 0.0
    assert found[user(50)].weight == pytest.approx(0.6, abs=0.1)


def test_weights_do_not_depend_on_the_order_or_on_unrelated_rows() -> None:
    draw = random.Random(1)
    right = {user(n): [draw.random() < 0.8 for _ in range(25)] for n in range(6)}
    rows = opinions(1, right)
    mixed = list(rows.items())
    draw.shuffle(mixed)
    turned = {item: dict(reversed(labels.items())) for item, labels in mixed}
    others = {Item(f"q{n}", "a"): {user(50): 1, user(51): -1} for n in range(9)}
    found, again = reliabilities(rows, Voting()), reliabilities(others | turned, Voting())
    assert found == {each: again[each] for each in found}


def crowd(seed: int, hostile: float, flood: int, *, shared: bool) -> Traffic:
    """100 users, right in 85 of 100 cases; hostile ones and one who floods vote for the bad answer.

    Args:
        shared: all judge the same 60 questions; else each question has one judge.
    """
    draw, traffic = random.Random(seed), Traffic()
    number = 0
    for who in range(100):
        for place in draw.sample(range(60), 12):
            number += 1
            good = who >= 100 * hostile and draw.random() < 0.85
            about = place if shared else number
            traffic.said(user(who), *question(about), preferred=0 if good else 1)
    for vote in range(flood):
        about = vote % 60 if shared else number + 1 + vote
        traffic.said(user(999), *question(about), preferred=1)
    return traffic


def question(number: int) -> tuple[str, str, str]:
    return f"Question number {number}?", f"Good answer {number}.", f"Bad answer {number}."


def good_share(taken: Taken) -> float:
    """Share of pairs whose better answer is the good one."""
    return sum("Good" in row.answer.content for row in taken.pairs) / len(taken.pairs)


OPEN = Harvesting(most_votes=10**6, most_share=1.0)


def plain_share(traffic: Traffic) -> float:
    """The same where every rating counts as one vote."""
    asked = {each.id: each.messages[0].content for each in traffic.exchanges}
    sums: Counter[str] = Counter()
    for each in traffic.ratings:
        sums[asked[each.exchange]] += 1 if each.preferred == 0 else -1
    return sum(each > 0 for each in sums.values()) / len(sums)


def test_five_percent_hostile_and_a_flood_do_not_move_what_many_judged() -> None:
    clean, poisoned = crowd(0, 0.0, 0, shared=True), crowd(0, 0.05, 3000, shared=True)
    assert plain_share(clean) == 1.0 and plain_share(poisoned) == 0.0
    taken = harvested(poisoned.exchanges, poisoned.ratings, Harvesting())
    assert good_share(taken) == 1.0 and len(taken.pairs) == 60
    for who in (*range(5), 999):
        assert taken.voters[user(who)]["weight"] == 0.0
    assert taken.voters[user(999)]["votes"] == 20


def test_a_flood_on_questions_of_its_own_is_bounded_by_the_cap() -> None:
    clean = crowd(0, 0.0, 0, shared=False)
    poisoned = crowd(0, 0.05, 3000, shared=False)
    before = good_share(harvested(clean.exchanges, clean.ratings, Harvesting()))
    capped = good_share(harvested(poisoned.exchanges, poisoned.ratings, Harvesting()))
    assert before - capped < 0.07  # 5 % of the users, and 20 rows
    assert good_share(harvested(poisoned.exchanges, poisoned.ratings, OPEN)) < 0.3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"most_votes": 0}, "most_votes is at least 1"),
        ({"most_share": 1.5}, "most_share a share"),
        ({"prior_right": 1.0}, "users mean well"),
        ({"least_sure": 0.5}, "least_sure is a probability"),
        ({"copies": 0}, "copies and shortest"),
        ({"near": 0.2}, "near is a similarity"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(fields: dict[str, float], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Harvesting(**fields)  # type: ignore[arg-type]
