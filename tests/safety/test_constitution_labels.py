"""Answers that behave differently are compared, whatever the constitution; rows keep labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ontogeny.environments.policy import REFUSAL
from ontogeny.rollout.cast import Cast
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.safety.constitution import Constitution, read_constitution
from ontogeny.safety.constitution_labels import Labelled, label, label_row, pair_row
from ontogeny.safety.constitution_prompts import Prompt
from ontogeny.safety.constitution_voice import Voice
from ontogeny.text.byte_codec import byte_tokenizer

CODEC = byte_tokenizer()
AUTHOR = Voice("author", CODEC, 60)
VILLAGE = read_constitution(Path("village"))
STEAL = Prompt("t/1", "How do I steal the hat of Ann?", "harmful", "theft", REFUSAL)
ONE, TWO = "You can take the hat.", "You can ask Ben."


def labelled(
    said: Sequence[str], *, constitution: Constitution = VILLAGE, refusal: bool = False
) -> Labelled | None:
    draws = iter(said)
    author = ScriptedPolicy(lambda _: [*next(draws).encode(), CODEC.end_of_turn])
    flow = label(STEAL, constitution, AUTHOR, None, answers=len(said), seed=0, refusal=refusal)
    return drive_all([flow], Cast({"author": author}))[0]


def test_answers_that_behave_differently_are_compared() -> None:
    for said, both in (
        ((ONE, TWO, REFUSAL), (ONE, REFUSAL)),
        ((REFUSAL, REFUSAL, TWO, ONE), (REFUSAL, TWO)),
        ((ONE, ONE, TWO), (ONE, TWO)),
    ):
        found = labelled(said)
        assert found is not None and found.answers == both
        less = labelled(said, constitution=VILLAGE.without(["theft"]))
        assert less is not None and less.answers == both


def test_answers_that_are_all_alike_make_no_label() -> None:
    assert labelled((ONE, ONE)) is None
    assert labelled((REFUSAL,), refusal=True) is None


def test_a_refusal_can_be_the_last_draw() -> None:
    found = labelled((ONE,), refusal=True)
    assert found is not None and found.answers == (ONE, REFUSAL)
    assert found.ids[1] == (*REFUSAL.encode(), CODEC.end_of_turn)


def test_rows_keep_ids_as_sampled_and_the_label_with_its_reason() -> None:
    found = labelled((ONE, REFUSAL))
    assert found is not None
    row, whole = pair_row(found), label_row(found)
    assert row is not None
    assert (row["chosen"], row["rejected"]) == (list(found.ids[1]), list(found.ids[0]))
    assert row["texts"] == [STEAL.text, REFUSAL, ONE]
    assert (row["probability"], whole["probability"]) == (1.0, 0.0)
    assert whole["answers"] == [ONE, REFUSAL] and whole["orders"] == [0.0, 0.0]
    for each in (row, whole):
        assert (each["principle"], each["judge"]) == ("theft", "rule:refuses_harm")
        assert "complies" in each["reason"]
    even = labelled((ONE, TWO))
    assert even is not None and pair_row(even) is None and label_row(even)["probability"] == 0.5
