"""What users wrote is cleaned before it is learnt: no personal data, no comment, code as it was."""

from __future__ import annotations

import json

from feedback.votes import Traffic, reasons, taken, user

from ontogeny.text.message import Message

A, B, C = (user(number) for number in range(1, 4))
CANARIES = (
    "maria.canary@example.org",
    "(415) 555-0132",
    "+49 30 1234 5678",
    "4111 1111 1111 1111",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "sk-proj-abcdefghijklmnopqrstuvwx",
)


def test_no_personal_data_gets_through() -> None:
    traffic = Traffic()
    for number, canary in enumerate(CANARIES):
        turns = [
            Message("system", f"The user is {canary}."),
            Message("user", f"I am {canary}."),
            Message("assistant", f"Welcome {canary}!"),
            Message("user", f"Question {number}: who am I, {canary}?"),
        ]
        who = user(10 + number)
        traffic.said(who, turns, f"You are {canary}.", f"No {canary}.", preferred=0, comment=canary)
        asked = f"Write to {canary}, number {number}."
        traffic.said(who, asked, f"To {canary}?", correction=f"Dear {canary}")
        traffic.said(who, f"Like {canary} {number}?", f"Yes {canary}.", score=1.0, comment=canary)
    found = taken(traffic)
    assert len(found.pairs) == 14 and len(found.conversations) == 14
    written = json.dumps([row.to_json() for row in [*found.conversations, *found.pairs]])
    told = written + repr(found.removed)
    assert not [canary for canary in CANARIES if canary in told]
    assert not [each.user for each in traffic.exchanges if each.user in told]
    assert not [each.key for each in traffic.ratings if f'"{each.key}"' in told]
    assert sum(found.changed.values()) >= 14 * 4
    assert {"scrubbed_mail", "scrubbed_phone", "scrubbed_card", "scrubbed_key"} <= {*found.changed}


def test_comments_are_never_learnt() -> None:
    traffic = Traffic()
    traffic.said(A, "Well?", "Yes.", score=1.0, comment="zebra zebra zebra")
    found = taken(traffic)
    assert found.conversations
    assert "zebra" not in repr(found)


CODE = 'def f(x):\n    if x:\n        return "<|end|>"  # <|im_start|>\n\treturn {"a": 555 - 10}'


def test_code_and_what_spells_a_special_token_stay_as_they_were() -> None:
    traffic = Traffic()
    traffic.said(A, f"Mend:\n{CODE}", "No.", correction=CODE)
    found = taken(traffic)
    assert found.conversations[0].answer.content == CODE
    assert found.conversations[0].prompt[0].content == f"Mend:\n{CODE}"
    assert not found.changed


def test_invisible_characters_are_cleaned_before_votes_are_put_together() -> None:
    traffic = Traffic()
    traffic.said(A, "Which\u200b?", "One.", "Two.", preferred=0)
    traffic.said(B, "Which?", "One\u202e.", "Two.", preferred=0)
    traffic.said(C, "Gone?", "Yes.", correction="\u200b\u2060")
    found = taken(traffic)
    assert [row.votes for row in found.pairs] == [2]
    assert reasons(found) == {"empty_turn": 1}
