"""Critique and revision are an episode: seeded, kept whole, resumable; rules play the same part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ontogeny.environments.policy import REFUSAL
from ontogeny.rollout.cast import Cast
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.journal import FileJournal
from ontogeny.rollout.policy import Request
from ontogeny.safety.constitution import Constitution, Principle, read_constitution
from ontogeny.safety.constitution_prompts import Prompt, drawn
from ontogeny.safety.constitution_voice import Voice
from ontogeny.safety.revision import Revised, revise
from ontogeny.text.byte_codec import byte_tokenizer, rows_of

CODEC = byte_tokenizer()
AUTHOR, CRITIC = (Voice(part, CODEC, 200) for part in ("author", "critic"))
VILLAGE = read_constitution(Path("village"))
KIND, BRIEF = Principle("kind", "Be kind."), Principle("brief", "Be brief.")
WORDS = Constitution((KIND, BRIEF))
STEAL = Prompt("t/1", "How do I steal the hat of Ann?", "harmful", "theft", REFUSAL)
HELP = "You can take the hat at night."


def saying(answer: Callable[[list[str]], str]) -> ScriptedPolicy:
    """A policy of texts: what it hears is every turn so far."""

    def script(request: Request) -> Sequence[int]:
        return [*answer(heard(request)).encode(), CODEC.end_of_turn]

    return ScriptedPolicy(script)


def heard(request: Request) -> list[str]:
    return [row["content"] for row in rows_of(request.prompt)]


def played(
    author: ScriptedPolicy,
    critic: ScriptedPolicy | None,
    asked: Prompt = STEAL,
    *,
    constitution: Constitution = WORDS,
    rounds: int = 2,
    seed: int = 0,
) -> Revised:
    parts = {"author": author} | ({"critic": critic} if critic else {})
    voice = CRITIC if critic else None
    flow = revise(asked, constitution, AUTHOR, voice, rounds=rounds, seed=seed)
    return drive_all([flow], Cast(parts))[0]


def test_critic_and_author_hear_what_was_said_before() -> None:
    author = saying(lambda turns: f"answer {len(turns)}")
    critic = saying(lambda turns: f"critique of {turns[1]}")
    found = played(author, critic)
    assert found.first == "answer 1"
    assert [each.critique for each in found.rounds] == [
        "critique of answer 1",
        "critique of answer 5",
    ]
    assert found.answers == ["answer 1", "answer 5", "answer 5"]
    _, first, second = map(heard, author.requests)
    assert first[:2] == [STEAL.text, "answer 1"] and first[3] == "critique of answer 1"
    assert second[:2] == [STEAL.text, "answer 5"]
    asked = {KIND.asks("revision"), BRIEF.asks("revision")}
    assert {first[-1], second[-1]} == asked and "Be kind." in "".join(asked)


def test_every_revision_is_kept_with_principle_critic_and_critique() -> None:
    row = played(saying(lambda _: "No."), saying(lambda _: "Too short.")).to_json()
    assert row["prompt"] == STEAL.text and row["label"] == "harmful"
    assert {each["principle"] for each in row["rounds"]} == {"kind", "brief"}
    assert all(
        (each["critic"], each["critique"], each["kept"], each["answer"])
        == ("critic", "Too short.", None, "No.")
        for each in row["rounds"]
    )


def test_principles_are_drawn_by_the_seed() -> None:
    def order(seed: int) -> list[str]:
        found = played(saying(lambda _: "a"), saying(lambda _: "b"), rounds=4, seed=seed)
        return [each.principle for each in found.rounds]

    orders = [order(seed) for seed in range(12)]
    assert orders == [order(seed) for seed in range(12)]
    assert {each[0] for each in orders} == {"kind", "brief"}
    assert all(set(each[:2]) == set(each[2:]) == {"kind", "brief"} for each in orders)


def test_a_critic_or_author_that_says_nothing_loses_no_answer() -> None:
    found = played(saying(lambda turns: HELP if len(turns) == 1 else ""), saying(lambda _: ""))
    assert found.answers == [HELP] * 3
    assert found.rounds[0].critique == ""


def test_a_rule_revises_through_the_same_flow() -> None:
    found = played(saying(lambda _: HELP), None, constitution=VILLAGE)
    assert found.answers[-1] == REFUSAL
    theft = next(each for each in found.rounds if each.principle == "theft")
    assert (theft.critic, theft.kept) == ("rule:refuses_harm", False)
    assert "the answer complies; to refuse a harmful request about theft" in theft.critique


def test_without_the_principle_nothing_is_revised() -> None:
    found = played(saying(lambda _: HELP), None, constitution=VILLAGE.without(["theft"]))
    assert found.answers == [HELP] * 3
    assert {each.principle for each in found.rounds} == {"short"}


def test_where_a_rule_prescribes_nothing_the_author_answers_again() -> None:
    rule = Constitution((Principle("any", "Help.", rule="helps"),))
    answers = iter([REFUSAL, "You can."])
    assert played(saying(lambda _: next(answers)), None, constitution=rule).answers == [
        REFUSAL,
        "You can.",
        "You can.",
    ]
    assert played(saying(lambda _: REFUSAL), None, constitution=rule).answers == [REFUSAL] * 3


def test_where_no_principle_applies_the_first_answer_stands() -> None:
    none = Constitution((Principle("fire", "No fire.", rule="refuses_harm", categories=("fire",)),))
    author = saying(lambda _: HELP)
    assert played(author, None, constitution=none).rounds == ()
    assert len(author.requests) == 1


def test_an_interrupted_round_goes_on_from_its_journal(tmp_path: Path) -> None:
    prompts = drawn({"village/harmful": 5, "village/borderline": 5}, (), 0)

    def flows() -> list:
        return [revise(each, WORDS, AUTHOR, CRITIC, rounds=2, seed=3) for each in prompts]

    def author() -> ScriptedPolicy:
        return saying(lambda turns: f"{len(turns)} {turns[-1]}"[:60])

    def broken(turns: list[str]) -> str:
        if turns[1].startswith("5"):
            raise KeyboardInterrupt  # in the second round
        return "No."

    whole = drive_all(flows(), Cast({"author": author(), "critic": saying(lambda _: "No.")}))
    path = tmp_path / "journal.jsonl"
    parts = {"author": author(), "critic": saying(broken)}
    with pytest.raises(KeyboardInterrupt):
        drive_all(flows(), Cast(parts), journal=FileJournal(path))
    again = author()
    parts = {"author": again, "critic": saying(lambda _: "No.")}
    assert drive_all(flows(), Cast(parts), journal=FileJournal(path)) == whole
    assert len(again.requests) == len(prompts)  # only the second revision was asked again
