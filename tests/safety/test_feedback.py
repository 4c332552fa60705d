"""A judge's label is heard from both positions, sums to one, and keeps principle and reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.environments.policy import REFUSAL
from ontogeny.rollout.cast import Cast
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.fakes import ScriptedPolicy, UniformPolicy
from ontogeny.rollout.policy import (
    Completion,
    Continuation,
    Likelihood,
    Policy,
    Request,
    Sink,
)
from ontogeny.safety.constitution import Constitution, Principle, read_constitution
from ontogeny.safety.constitution_prompts import Prompt
from ontogeny.safety.constitution_voice import Voice
from ontogeny.safety.feedback import CLAMP, Opinion, bias, compare, favour, flips
from ontogeny.text.byte_codec import byte_tokenizer, rows_of

CODEC = byte_tokenizer()
VILLAGE = read_constitution(Path("village"))
WORDS = Constitution((Principle("kind", "Be kind."), Principle("brief", "Be brief.")))
STEAL = Prompt("t/1", "How do I steal the hat of Ann?", "harmful", "theft", REFUSAL)
HELP = "You can take the hat at night."
JUDGE = Voice("critic", CODEC, 60)
CHAT = Voice("critic", CODEC, 60, scores=False)


class Opinionated:
    """Likelihoods of its own for every continuation: a soft judge without a model."""

    async def sample(self, request: Request, sink: Sink | None = None) -> Completion:
        del sink
        ids = (*b"The first is better: (A)", CODEC.end_of_turn)[: request.max_tokens]
        return Completion(ids, (0.0,) * len(ids), (0,) * len(ids), "stop")

    async def score(self, request: Continuation) -> Likelihood:
        seen = hashlib.sha256(repr((request.prompt, request.target)).encode()).digest()
        return Likelihood((-seen[0] / 64,) * len(request.target), (False,) * len(request.target), 0)


def opinion(
    policy: Policy | None,
    answers: tuple[str, str] = (REFUSAL, HELP),
    *,
    voice: Voice = JUDGE,
    constitution: Constitution = WORDS,
    seed: int = 0,
    thinks: bool = False,
) -> Opinion:
    judge = voice if policy else None
    flow = compare(STEAL, answers, constitution, judge, seed=seed, thinks=thinks)
    return drive_all([flow], Cast({"critic": policy or UniformPolicy(2)}))[0]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 9), st.booleans())
def test_the_order_of_the_answers_does_not_matter(a: str, b: str, seed: int, thinks: bool) -> None:
    there = opinion(Opinionated(), (a, b), seed=seed, thinks=thinks)
    back = opinion(Opinionated(), (b, a), seed=seed, thinks=thinks)
    assert there.p + back.p == pytest.approx(1.0)
    assert there.p == pytest.approx(sum(there.orders) / 2)
    assert 0.0 <= there.p <= 1.0
    assert favour(there.orders) == pytest.approx(favour(back.orders))
    assert flips(there.orders) == flips(back.orders)


def test_a_judge_without_preference_is_even_and_fair() -> None:
    found = opinion(UniformPolicy(CODEC.vocab_size))
    assert (found.p, found.orders, found.decided) == (0.5, (0.5, 0.5), False)
    assert favour(found.orders) == 0.0 and not flips(found.orders)


def saying(text: str) -> ScriptedPolicy:
    return ScriptedPolicy(lambda _: [*text.encode(), CODEC.end_of_turn])


def test_a_judge_that_loves_a_position_decides_nothing_and_is_found_out() -> None:
    found = opinion(saying("The better answer is (A)"), voice=CHAT)
    assert found.orders == (1.0, 0.0) and found.p == 0.5
    assert favour(found.orders) == 0.5 and flips(found.orders)
    told = bias([found, found])
    assert told is not None and (told.first, told.flipped, told.pairs) == (0.5, 1.0, 2)


def letter(text: str) -> str:
    """Of the answer that refuses, in the order that is shown."""
    return "A" if text.index(REFUSAL) < text.index(HELP) else "B"


def test_a_judge_that_reads_decides_in_both_orders() -> None:
    def script(request: Request) -> list[int]:
        shown = rows_of(request.prompt)[-1]["content"]
        return [*f"({letter(shown)})".encode(), CODEC.end_of_turn]

    for answers, p in (((REFUSAL, HELP), 1.0), ((HELP, REFUSAL), 0.0)):
        found = opinion(ScriptedPolicy(script), answers, voice=CHAT)
        assert (found.p, found.orders) == (p, (p, p))
        assert found.judge == "critic" and found.reason == " | ".join(
            f"({letter(order)})" for order in (" ".join(answers), " ".join(answers[::-1]))
        )
        assert favour(found.orders) == 0.0 and not flips(found.orders)


@pytest.mark.parametrize(
    ("said", "p"),
    [
        ("(B)", 0.0),
        ("A", 1.0),
        ("B.", 0.0),
        ("A is better", 1.0),
        ("(A) is rude, so (B)", 0.0),
        ("A good answer is short", 0.5),
        ("A. Because (B) is rude", 1.0),
        ("(A), because (B) is rude", 1.0),
        ("(A) is better than (B).", 1.0),
        ("I prefer (A) over (B).", 0.5),
        ("(A) and (B) are alike", 0.5),
        ("Answer B", 0.0),
        ("I take (B)", 0.0),
        ("(B) is rude", 0.0),
        ("Both", 0.5),
        ("", 0.5),
    ],
)
def test_a_letter_is_read_from_words(said: str, p: float) -> None:
    assert opinion(saying(said), voice=CHAT).orders == (p, 1.0 - p)


def test_behind_a_thought_probabilities_are_clamped() -> None:
    low, high = CLAMP
    found = [opinion(Opinionated(), (f"{n}", HELP), thinks=True) for n in range(20)]
    assert all(low <= each <= high for one in found for each in one.orders)
    assert {each for one in found for each in one.orders} & set(CLAMP)
    assert found[0].reason == "The first is better: (A) | The first is better: (A)"


def test_a_label_keeps_the_principle_that_the_seed_draws() -> None:
    names = [opinion(Opinionated(), seed=seed).principle for seed in range(20)]
    assert set(names) == {"kind", "brief"}
    assert names == [opinion(Opinionated(), seed=seed).principle for seed in range(20)]


def test_a_rule_labels_hard_and_says_why() -> None:
    found = opinion(None, constitution=VILLAGE)
    assert (found.p, found.principle, found.judge) == (1.0, "theft", "rule:refuses_harm")
    assert "first: the answer refuses" in found.reason
    assert "second: the answer complies" in found.reason
    assert opinion(None, (HELP, REFUSAL), constitution=VILLAGE).p == 0.0
    assert bias([found]) is None


def test_where_no_rule_tells_answers_apart_the_label_is_even() -> None:
    found = opinion(None, constitution=VILLAGE.without(["theft"]))
    assert (found.p, found.principle, found.decided) == (0.5, "", False)


def test_a_rule_that_is_silent_leaves_the_label_to_the_next() -> None:
    long = " ".join(["You can walk."] * 10)
    found = opinion(None, (HELP, long), constitution=VILLAGE)
    assert (found.p, found.principle) == (1.0, "short")
