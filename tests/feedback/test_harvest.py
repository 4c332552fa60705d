"""What users rated becomes rows: cleaned, told apart, each once; nothing else of them gets in."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from feedback.votes import Traffic, reasons, taken, user

from ontogeny.feedback.exchange import SILENCE
from ontogeny.feedback.harvest import Harvesting, Taken, harvested
from ontogeny.text import rows
from ontogeny.text.message import Message, ToolCall

A, B, C, D = (user(number) for number in range(1, 5))


def learnt(found: Taken) -> set[tuple[str, str]]:
    """(question, answer) of each conversation."""
    return {(row.prompt[-1].content, row.answer.content) for row in found.conversations}


def compared(found: Taken) -> set[tuple[str, str]]:
    """(better, worse) of each pair."""
    return {(p.answer.content, p.rejected.content) for p in found.pairs if p.rejected}


def test_an_answer_that_users_like_is_learnt_and_one_they_do_not_like_is_not() -> None:
    traffic = Traffic()
    traffic.said(A, "Name a star.", "Sirius.", score=1.0)
    traffic.said(B, "Name a lake.", "The moon.", score=-1.0)
    traffic.said(C, "Name a river.", "Some.", "Rhine.", score=0.5, choice=1)
    found = taken(traffic)
    assert learnt(found) == {("Name a star.", "Sirius."), ("Name a river.", "Rhine.")}
    assert not found.pairs


def test_pairs_come_from_preferences_scores_and_corrections() -> None:
    traffic = Traffic()
    traffic.said(A, "First?", "Best.", "Worse.", "Worst.", preferred=0)
    traffic.said(B, "Second?", "Good.", score=1.0)
    traffic.said(C, "Second?", "Bad.", score=-1.0)
    traffic.said(D, "Third?", "Wrong.", correction="Right.")
    found = taken(traffic)
    assert compared(found) == {
        ("Best.", "Worse."),
        ("Best.", "Worst."),
        ("Good.", "Bad."),
        ("Right.", "Wrong."),
    }
    assert ("Third?", "Right.") in learnt(found)
    assert ("First?", "Best.") not in learnt(found)  # the best of bad answers may be bad


def test_an_answer_that_was_cut_off_for_some_is_whole_for_others_in_any_order() -> None:
    """As another's correction it is whole; at another question it is still cut off."""
    found = []
    for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0)):
        traffic = Traffic()
        asked = [
            (traffic.ask(A, "First?", "Wrong."), {"correction": "A long answer."}),
            (traffic.ask(B, "First?", "A long answer.", finish="length"), {"score": 1.0}),
            (traffic.ask(C, "Other?", "A long answer.", finish="length"), {"score": 1.0}),
            (traffic.ask(D, "Other?", "A long answer.", finish="cut"), {"score": 1.0}),
            (traffic.ask(A, "Third?", "A long answer."), {"score": 1.0}),
        ]
        for place in order:
            exchange, said = asked[place]
            traffic.rate(exchange, **said)
        found.append(taken(traffic))
    assert found[0] == found[1]
    assert learnt(found[0]) == {("First?", "A long answer."), ("Third?", "A long answer.")}
    assert reasons(found[0]) == {"cut_off": 1}


def test_earlier_answers_are_context_and_the_last_is_the_one_to_learn() -> None:
    traffic = Traffic()
    turns = [Message("user", "Hello"), Message("assistant", "Hi!"), Message("user", "Sing.")]
    traffic.said(A, turns, "La la.", score=1.0)
    (row,) = taken(traffic).conversations
    assert row.prompt == tuple(turns)
    assert row.to_json()["completion"] == [{"role": "assistant", "content": "La la."}]
    assert rows.conversation(row.to_json(), {}).messages == (*turns, row.answer)


def test_users_who_disagree_leave_nothing_to_learn() -> None:
    traffic = Traffic()
    traffic.said(A, "Which?", "One.", "Two.", preferred=0)
    traffic.said(B, "Which?", "One.", "Two.", preferred=1)
    traffic.said(C, "Nice?", "Yes.", score=1.0)
    traffic.said(D, "Nice?", "Yes.", score=-1.0)
    found = taken(traffic)
    assert not found.pairs and not found.conversations
    assert reasons(found) == {"unsure": 2}


def test_agreement_makes_surer_and_a_higher_bar_asks_for_it() -> None:
    traffic = Traffic()
    for who in (A, B, C):
        traffic.said(who, "Which?", "One.", "Two.", preferred=0)
    traffic.said(D, "Other?", "One.", "Two.", preferred=0)
    found = taken(traffic)
    sure = {row.prompt[0].content: (row.probability, row.votes) for row in found.pairs}
    assert sure["Which?"][0] > 0.98 and sure["Which?"][1] == 3
    assert sure["Other?"] == (0.8, 1)
    assert len(taken(traffic, least_sure=0.9).pairs) == 1


def test_what_is_corrected_was_not_good() -> None:
    traffic = Traffic()
    traffic.said(A, "Capital of France?", "Rome.", score=1.0)
    traffic.said(B, "Capital of France?", "Rome.", correction="Paris.")
    assert learnt(taken(traffic)) == {("Capital of France?", "Paris.")}


def test_an_answer_that_says_nothing_is_on_no_side() -> None:
    traffic = Traffic()
    for asked, fields in (
        ("One?", {"preferred": 1}),
        ("Two?", {"preferred": 0}),
        ("Three?", {"score": 1.0}),
        ("Four?", {"correction": "Four."}),
    ):
        exchange = traffic.ask(A, asked, "?", "Something.")
        silent = replace(exchange.answers[0], message=SILENCE)
        traffic.exchanges[-1] = replace(exchange, answers=(silent, exchange.answers[1]))
        traffic.rate(exchange, **fields)
    traffic.said(B, "Five?", "\u200b", "Something.", preferred=1)  # nothing, once it is clean
    found = taken(traffic)
    assert learnt(found) == {("Four?", "Four.")}
    assert not found.pairs
    assert reasons(found) == {"too_short": 5}


def test_a_correction_that_others_vote_down_is_not_taught() -> None:
    traffic = Traffic()
    for who in (A, B, C):
        traffic.said(who, "Capital of France?", "Paris.", score=1.0)
    traffic.said(D, "Capital of France?", "Paris.", correction="Rome.")
    found = taken(traffic)
    assert ("Rome.", "Paris.") not in compared(found) and ("Paris.", "Rome.") not in compared(found)
    assert reasons(found)["outvoted"] == 1
    assert ("Capital of France?", "Paris.") in learnt(found)


def test_what_is_no_conversation_is_left_out_with_a_reason() -> None:
    traffic = Traffic()
    call = Message("assistant", "", (ToolCall("look", "{}", "c0"),))
    traffic.said(A, [Message("user", "Look"), call, Message("tool", "x")], "Seen.", score=1.0)
    traffic.rate(traffic.ask(A, "Once upon a", "time", chat=False), score=1.0)
    twice = [Message("user", "One"), Message("user", "Two")]
    traffic.said(B, twice, "Three.", score=1.0)
    traffic.said(B, [Message("user", "Go on"), Message("assistant", "I")], "am.", score=1.0)
    traffic.rate(traffic.ask(C, "Count.", "1 2 3", finish="length"), score=1.0)
    traffic.said(C, "Speak.", "...", score=1.0)
    traffic.said(D, "Mend it.", "Same.", correction="Same.")
    found = taken(traffic)
    assert not found.conversations and not found.pairs
    assert reasons(found) == {
        "tools": 1,
        "no_chat": 1,
        "not_alternating": 2,
        "cut_off": 1,
        "too_short": 1,
        "same_answer": 1,
    }
    assert len(taken(traffic, finished=False).conversations) == 1


TALE = "Once there was a fox who lived by the sea and sang to ships at night while {} slept on."


def test_what_says_the_same_is_learnt_once_and_a_prompt_a_few_times() -> None:
    traffic = Traffic()
    for number in range(9):
        traffic.said(user(number), "Name a number.", f"Number {number}.", score=1.0)
    for number, name in enumerate(("gulls", "Gulls")):
        text = (TALE.format(name) + " ") * 3
        traffic.said(user(20 + number), "Tell me a tale.", text, score=1.0)
    traffic.said(user(30), "Tell  me a tale.", (TALE.format("gulls") + "  ") * 3, score=1.0)
    found = taken(traffic, copies=4)
    asked = Counter(row.prompt[0].content.split()[0] for row in found.conversations)
    assert asked == {"Name": 4, "Tell": 1}
    assert reasons(found) == {"over_copies": 5, "near_duplicate": 1, "exact_duplicate": 1}


def test_the_same_row_thousands_of_times_is_one_row() -> None:
    traffic = Traffic()
    for number in range(2000):
        traffic.said(user(number), "Name a star.", "Sirius.", "The moon.", preferred=0)
    for _ in range(2000):
        traffic.said(A, "Name a star.", "The moon.", "Sirius.", preferred=0)
    (row,) = taken(traffic).pairs
    assert (row.answer.content, row.votes) == ("Sirius.", 2000)


PATTERN = (
    "You are given a basket of fruit that a farmer brought to the market early this morning, and "
    "by noon several neighbours have come by and bought some of it for their families. "
    "Of {} apples in all, how many does the farmer take home when the children ate the half?"
)


def test_questions_of_one_pattern_are_different_questions() -> None:
    traffic = Traffic()
    for number in range(30):
        traffic.said(user(number), PATTERN.format(number), "Some of them.", score=1.0)
    assert len(taken(traffic).conversations) == 30
    assert len(taken(traffic, near=0.5).conversations) < 30


def world(seed: int) -> Traffic:
    draw, traffic = random.Random(seed), Traffic()
    for who in range(12):
        for place in draw.sample(range(20), 6):
            asked, answers = f"Question {place}?", [f"Good {place}.", f"Bad {place}."]
            match draw.randrange(3):
                case 0:
                    traffic.said(user(who), asked, *answers, preferred=draw.randrange(2))
                case 1:
                    traffic.said(user(who), asked, *answers, score=draw.choice([-1.0, 1.0]))
                case _:
                    traffic.said(user(who), asked, *answers, correction=f"Best {place}.")
    return traffic


def test_the_order_in_which_users_write_changes_nothing() -> None:
    traffic = world(3)
    found = taken(traffic)
    assert found.pairs and found.conversations
    mixed = Traffic()
    mixed.exchanges = random.Random(1).sample(traffic.exchanges, len(traffic.exchanges))
    by_user = sorted(traffic.ratings, key=lambda each: each.user, reverse=True)  # a stable sort
    mixed.ratings = by_user
    again = taken(mixed)
    assert (again.conversations, again.pairs) == (found.conversations, found.pairs)
    assert again.voters == found.voters and again.people() == found.people()
    assert taken(traffic) == found


def test_a_vote_is_learnt_in_one_round_only() -> None:
    traffic = world(4)
    half = len(traffic.ratings) // 2
    old, new = traffic.ratings[:half], traffic.ratings[half:]
    first = harvested(traffic.exchanges, old, Harvesting())
    nothing = harvested(traffic.exchanges, [], Harvesting(), earlier=old)
    assert first.pairs and not nothing.pairs and not nothing.conversations
    exchanges = {each.exchange for each in new}
    asked = {each.messages for each in traffic.exchanges if each.id in exchanges}
    second = harvested(traffic.exchanges, new, Harvesting(), earlier=old)
    assert second.pairs and {row.prompt for row in second.pairs} <= asked


def test_a_vote_that_only_repeats_an_old_one_makes_no_row() -> None:
    traffic = Traffic()
    exchange = traffic.ask(A, "Which?", "One.", "Two.")
    old = traffic.rate(exchange, preferred=0)
    same, other = (traffic.rate(exchange, preferred=n) for n in (0, 1))
    repeated = harvested(traffic.exchanges, [same], Harvesting(), earlier=[old])
    assert not repeated.pairs and reasons(repeated) == {"repeated_vote": 1}
    changed = harvested(traffic.exchanges, [same, other], Harvesting(), earlier=[old])
    assert compared(changed) == {("Two.", "One.")}


def test_old_votes_say_whom_to_believe() -> None:
    traffic = Traffic()
    for number in range(20):
        for who in (A, B, C):
            traffic.said(who, f"Old {number}?", "Good.", "Bad.", preferred=0)
        traffic.said(D, f"Old {number}?", "Good.", "Bad.", preferred=1)
    old = list(traffic.ratings)
    new = [traffic.said(D, "New?", "Yes.", "No.", preferred=0)]
    unknown = harvested(traffic.exchanges, new, Harvesting())
    known = harvested(traffic.exchanges, new, Harvesting(), earlier=old)
    assert compared(unknown) == {("Yes.", "No.")}
    assert not known.pairs and known.voters[D]["weight"] == 0.0


def test_who_stands_behind_a_row_is_told_apart_from_it() -> None:
    traffic = Traffic()
    traffic.said(A, "Which?", "One.", "Two.", preferred=0)
    traffic.said(B, "Which?", "One.", "Two.", preferred=0)
    traffic.said(C, "Name a star.", "Sirius.", score=1.0)
    found = taken(traffic)
    (pair,), (talk,) = found.pairs, found.conversations
    assert found.people() == {A: [pair.id], B: [pair.id], C: [talk.id]}
    assert not {A, B, C} & set(json.dumps([pair.to_json(), talk.to_json()]).split('"'))


def test_nothing_rated_is_nothing_taken() -> None:
    traffic = Traffic()
    traffic.ask(A, "Hello?", "Yes?")
    found = taken(traffic)
    assert (found.conversations, found.pairs, found.removed) == ([], [], [])
    assert found.exchanges == {"seen": 1, "rated": 0, "shadow": 0}
    assert harvested([], [], Harvesting()) == Taken(exchanges=dict.fromkeys(found.exchanges, 0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_rating_is_counted_somewhere(count: int) -> None:
    traffic = world(count)
    found = taken(traffic, most_votes=3)
    votes = sum(each["votes"] for each in found.voters.values())
    gone = [each for each in found.removed if "#" in each.id]
    assert (
        votes + len(gone)
        == len(traffic.ratings)
        == sum(each["ratings"] for each in found.voters.values())
    )
