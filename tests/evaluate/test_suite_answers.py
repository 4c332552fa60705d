"""Contexts are cut as HFLM cuts them; what was answered is not asked again after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import small_tokenizer
from support.suites import Guessing

from ontogeny.base.errors import InputError
from ontogeny.evaluate.suite_answers import (
    CHUNK_TOKENS,
    Answers,
    Room,
    Scored,
    encoded,
    first_id,
    pair,
    text_until,
)
from ontogeny.rollout.journal import FileJournal
from ontogeny.rollout.policy import Continuation, Likelihood, Request


@pytest.mark.parametrize(
    ("context", "target"),
    [("Question: why?\nAnswer:", " because"), ("def", " f(x):"), ("a ", " b"), ("a\n", "b")],
)
def test_a_pair_together_is_its_whole_text(context: str, target: str) -> None:
    tokenizer = small_tokenizer()
    before, behind = pair(tokenizer, context, target)
    assert [*before, *behind] == tokenizer.encode(context + target)
    assert before == tokenizer.encode(context.rstrip()) and behind


def test_a_text_with_nothing_before_it_stands_behind_the_first_id() -> None:
    tokenizer = small_tokenizer()
    assert pair(tokenizer, "", " word") == ([first_id(tokenizer)], tokenizer.encode(" word"))
    assert pair(tokenizer, "  ", "word") == ([first_id(tokenizer)], tokenizer.encode("  word"))


def test_a_target_without_a_token_is_refused() -> None:
    with pytest.raises(InputError, match="no token of its own"):
        pair(small_tokenizer(), "a", "")


def test_what_does_not_fit_loses_its_front_and_is_counted() -> None:
    room = Room(8)
    assert room.continuation(range(6), [9, 9, 9]) == Continuation(tuple(range(6)), (9, 9, 9))
    assert room.cut == 0
    assert room.continuation(range(7), [9, 9, 9]) == Continuation(tuple(range(1, 7)), (9, 9, 9))
    assert room.prompt(range(9), 3) == tuple(range(4, 9))
    assert room.cut == 2
    assert room.continuation([5, 6], [9] * 8).prompt == (6,)
    with pytest.raises(InputError, match="a choice is 9 tokens"):
        room.continuation([5], [9] * 9)
    with pytest.raises(InputError, match="lower max_tokens"):
        room.prompt([5], 8)


def test_a_prompt_of_several_choices_is_cut_once() -> None:
    room = Room(8)
    for prompt in (range(9), range(9), range(1, 10)):
        for choice in ([1], [2, 2], [3, 3, 3]):
            room.continuation(prompt, choice)
    assert room.cut == 2


def test_an_answer_ends_before_the_first_of_what_ends_it() -> None:
    tokenizer = small_tokenizer()
    ids = tokenizer.encode(" one\nQuestion: two\n")
    assert text_until(tokenizer, ids, ("Question:", "\n")) == " one"
    assert text_until(tokenizer, ids, ("absent",)) == " one\nQuestion: two\n"


def asked(count: int, length: int) -> list[Continuation]:
    """`count` prompts with three choices each."""
    return [
        Continuation((prompt, *range(length)), (choice, choice))
        for prompt in range(count)
        for choice in range(3)
    ]


class Dies(Exception):
    """The machine, in the middle of it."""


def test_a_killed_run_asks_the_rest_in_the_same_batches(tmp_path: Path) -> None:
    whole = Guessing()
    scoring, sampling = asked(30, CHUNK_TOKENS // 8), [Request((n,), 4) for n in range(200)]
    undisturbed = Answers(whole)
    expected = undisturbed.score(scoring), undisturbed.sample(sampling)
    seen: list[int] = []
    batches: list[tuple[int, int]] = []
    while True:
        policy = Guessing()

        def told(done: int, _total: int) -> None:
            if done not in seen:
                seen.append(done)
                raise Dies

        answers = Answers(policy, FileJournal(tmp_path / "log.jsonl"), told)
        try:
            found = answers.score(scoring), answers.sample(sampling)
        except Dies:
            batches.append((len(policy.scored), len(policy.sampled)))
            continue
        break
    assert (policy.scored, policy.sampled) == ([], [])
    assert found == expected and answers.tokens == undisturbed.tokens
    assert len(seen) > 4 and all(min(batch) == 0 for batch in batches)
    assert sum(scored for scored, _ in batches) == len(whole.scored)
    assert sum(sampled for _, sampled in batches) == len(whole.sampled)


def test_choices_of_one_prompt_are_asked_together() -> None:
    ends: list[int] = []
    answers = Answers(Guessing(), told=lambda done, _: ends.append(done))
    answers.score(asked(40, 1000))
    assert len(ends) > 5 and ends[-1] == 120
    assert all(end % 3 == 0 for end in ends)


def test_the_log_of_other_questions_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    Answers(Guessing(), FileJournal(log)).score(asked(2, 5))
    with pytest.raises(InputError, match="other code"):
        Answers(Guessing(), FileJournal(log)).score(asked(2, 6))


class Fixed(Guessing):
    """Says what one continuation scores."""

    async def score(self, request: Continuation) -> Likelihood:
        """Halves, and a last token that greedy decoding would not say."""
        marks = [True] * len(request.target)
        return Likelihood((-0.5,) * len(marks), (*marks[:-1], request.target[-1] == 1), 0)


def test_a_total_is_the_sum_and_greedy_is_all_of_it() -> None:
    asked = [Continuation((1,), (2, 3)), Continuation((1,), (2, 2, 1))]
    assert Answers(Fixed()).score(asked) == [Scored(-1.0, False), Scored(-1.5, True)]


def test_tokens_of_a_shared_prompt_count_once() -> None:
    answers = Answers(Guessing())
    answers.score(asked(2, 9))
    assert answers.tokens == 2 * 10 + 6 * 2


def test_a_tokenizer_of_ours_puts_nothing_in_front() -> None:
    tokenizer = small_tokenizer()
    assert encoded(tokenizer, "a b") == tokenizer.encode("a b")
    assert first_id(tokenizer) == tokenizer.end_of_text
