"""Tasks become prompts, and what a policy says to them is judged as it was said."""

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.asking import (
    TEXT_PROMPT,
    Answered,
    Form,
    Question,
    ask_all,
    questions_of,
)
from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import as_text
from ontogeny.rollout.fakes import ScriptedPolicy, UniformPolicy
from ontogeny.rollout.policy import Request
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train

WORLDS = ("addition-2", "copy-3")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(["Question: What is 1 plus 2?\nAnswer: 3\n" * 5 + "So.\n" * 50], 300)


def asked(tokenizer: Tokenizer, form: Form, count: int = 6) -> list[Question]:
    counts = [(environment(name), count) for name in WORLDS]
    return questions_of(counts, "exam", 0, tokenizer, form)


def said(
    questions: list[Question], tokenizer: Tokenizer, answers: list[list[int]], max_tokens: int = 40
) -> list[Answered]:
    """The verdicts on these answers, given in the order of the questions."""
    turns = iter(answers)
    policy = ScriptedPolicy(lambda _: next(turns))
    options = {"max_tokens": max_tokens, "temperature": 1.0, "seed": 3}
    return ask_all(policy, tokenizer, questions, **options)  # type: ignore[arg-type]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(each) for each in tokenizer.encode(text)]


def test_a_chat_question_is_the_beginning_of_the_conversation_that_is_learnt(
    tokenizer: Tokenizer,
) -> None:
    """Up to where the weights begin: nothing that the assistant is to say stands in the prompt."""
    for each in asked(tokenizer, "chat"):
        turns = [Message("user", each.task.prompt), Message("assistant", each.task.answer)]
        learnt = render(turns, tokenizer)
        first = learnt.weights.index(1.0)
        assert each.prompt == learnt.ids[:first]
        assert learnt.ids[-1] in each.stop
        assert tokenizer.end_of_text in each.stop


def test_a_text_question_is_the_beginning_of_the_document_that_is_learnt(
    tokenizer: Tokenizer,
) -> None:
    for each in asked(tokenizer, "text"):
        document = as_text(each.task)
        prompt = TEXT_PROMPT.format(prompt=each.task.prompt)
        assert document.startswith(prompt)
        assert each.prompt == (tokenizer.end_of_text, *ids(tokenizer, prompt))
        rest = ids(tokenizer, document)
        assert rest[: len(each.prompt) - 1] == list(each.prompt[1:])
        assert set(ids(tokenizer, "\n")) < set(each.stop)


@pytest.mark.parametrize("form", ["chat", "text"])
def test_gold_answers_score_1_and_are_well_formed(tokenizer: Tokenizer, form: Form) -> None:
    questions = asked(tokenizer, form)
    end = [tokenizer.end_of_turn] if form == "chat" else ids(tokenizer, "\n")
    space = " " if form == "text" else ""
    answers = [[*ids(tokenizer, space + each.task.answer), *end] for each in questions]
    found = said(questions, tokenizer, answers)
    assert [each.score for each in found] == [1.0] * len(questions)
    assert all(each.well_formed for each in found)
    assert [each.answer for each in found] == [each.task.answer for each in questions]
    assert [each.question for each in found] == questions


@pytest.mark.parametrize("form", ["chat", "text"])
def test_an_answer_that_does_not_end_is_not_well_formed(tokenizer: Tokenizer, form: Form) -> None:
    questions = asked(tokenizer, form)
    answers = [ids(tokenizer, each.task.answer) for each in questions]
    found = said(questions, tokenizer, answers)
    assert not any(each.well_formed for each in found)
    assert [each.score for each in found] == [1.0] * len(questions)


def test_an_answer_is_cut_at_max_tokens(tokenizer: Tokenizer) -> None:
    questions = asked(tokenizer, "chat")
    answers = [[*ids(tokenizer, "7" * 30), tokenizer.end_of_turn] for _ in questions]
    found = said(questions, tokenizer, answers, max_tokens=5)
    assert {len(each.trajectory.turns[0].completion.ids) for each in found} == {5}
    assert not any(each.well_formed for each in found)


def test_other_answers_score_0_and_may_be_well_formed(tokenizer: Tokenizer) -> None:
    questions = [each for each in asked(tokenizer, "chat") if each.task.kind == "addition"]
    wrong = [str(int(each.task.answer) + 1) for each in questions]
    answers = [[*ids(tokenizer, text), tokenizer.end_of_turn] for text in wrong]
    found = said(questions, tokenizer, answers)
    assert [(each.score, each.well_formed) for each in found] == [(0.0, True)] * len(questions)
    chatter = [[*ids(tokenizer, f"It is {text}!"), tokenizer.end_of_turn] for text in wrong]
    found = said(questions, tokenizer, chatter)
    assert [(each.score, each.well_formed) for each in found] == [(0.0, False)] * len(questions)


def test_a_text_answer_is_its_first_line(tokenizer: Tokenizer) -> None:
    """Also where one token ends the line among other letters and the policy goes on behind it."""
    (merged,) = ids(tokenizer, ".\n")
    questions = asked(tokenizer, "text")
    more = ids(tokenizer, "Question")
    answers = [[*ids(tokenizer, f" {each.task.answer}"), merged, *more] for each in questions]
    found = said(questions, tokenizer, answers)
    assert [each.answer for each in found] == [f"{each.task.answer}." for each in questions]
    assert [each.score for each in found] == [1.0] * len(questions)


def test_a_chat_answer_is_all_its_lines(tokenizer: Tokenizer) -> None:
    questions = asked(tokenizer, "chat")
    texts = [f"{each.task.answer}\nso" for each in questions]
    found = said(questions, tokenizer, [[*ids(tokenizer, t), tokenizer.end_of_turn] for t in texts])
    assert [each.answer for each in found] == texts
    assert [(each.score, each.well_formed) for each in found] == [(0.0, False)] * len(questions)


def test_the_trajectory_holds_prompt_and_answer_as_sampled(tokenizer: Tokenizer) -> None:
    questions = asked(tokenizer, "chat", count=2)
    answers = [[*ids(tokenizer, "x"), tokenizer.end_of_turn, 5] for _ in questions]
    for each, answer in zip(said(questions, tokenizer, answers), answers, strict=True):
        (turn,) = each.trajectory.turns
        assert turn.context == each.question.prompt
        assert list(turn.completion.ids) == answer[:2]  # nothing behind the end of the turn
        assert each.trajectory.task == each.question.task.id


def test_every_question_draws_for_itself_and_the_same_again(tokenizer: Tokenizer) -> None:
    questions = [asked(tokenizer, "chat", count=1)[0]] * 8
    requests: list[Request] = []

    def play(seed: int) -> list[tuple[int, ...]]:
        policy = UniformPolicy(tokenizer.vocab_size)
        found = ask_all(policy, tokenizer, questions, max_tokens=6, temperature=1.0, seed=seed)
        return [each.trajectory.turns[0].completion.ids for each in found]

    assert len(set(play(1))) == len(questions)
    assert play(1) == play(1)
    assert set(play(1)).isdisjoint(play(2))
    policy = ScriptedPolicy(lambda request: (requests.append(request), [0])[1])
    ask_all(policy, tokenizer, questions, max_tokens=6, temperature=0.5, seed=1)
    assert {(each.max_tokens, each.sampling.temperature, each.stop) for each in requests} == {
        (6, 0.5, questions[0].stop)
    }


def test_questions_come_by_environment_and_from_their_split(tokenizer: Tokenizer) -> None:
    found = asked(tokenizer, "chat", count=6)
    assert [each.environment.name for each in found] == ["addition-2"] * 6 + ["copy-3"] * 6
    expected = environment("addition-2").tasks("exam", 6, 0)
    assert [each.task for each in found[:6]] == expected


def test_asking_for_nothing_is_one_line(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="no tasks are asked for"):
        questions_of([(environment("copy-3"), 0)], "exam", 0, tokenizer, "chat")
