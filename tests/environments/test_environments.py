"""Claims about every environment: gold scores 1, splits are disjoint, verifiers are not fooled."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.environments.answers import FORMS, same_answer, well_formed
from ontogeny.environments.arithmetic import addition
from ontogeny.environments.catalogue import ENVIRONMENTS, environment
from ontogeny.environments.environment import (
    SPLITS,
    Environment,
    Generated,
    Problem,
    Task,
    as_documents,
    as_text,
    validate,
)
from ontogeny.environments.recall import recall
from ontogeny.environments.strings import strings

EVERY = pytest.mark.parametrize("each", ENVIRONMENTS.values(), ids=ENVIRONMENTS)


def _some(each: Environment, split: str, seed: int) -> list[Task]:
    """Up to 50 tasks; the smallest environments have only a handful outside training."""
    for count in (50, 3):
        try:
            return each.tasks(split, count, seed)
        except InputError:
            continue
    raise AssertionError(f"{each.name} has no 3 problems in {split}")


@EVERY
def test_gold_scores_one_and_nothing_else_does(each: Environment) -> None:
    each.validate()
    for task in _some(each, "exam", 5):
        assert each.score(task, f"  {task.answer}\n") == 1.0
        for wrong in ("", "\n", f"{task.answer} {task.answer}", f"x{task.answer}", task.prompt * 9):
            assert each.score(task, wrong) == 0.0


@EVERY
def test_splits_share_no_prompt_under_any_seeds(each: Environment) -> None:
    prompts = {
        split: {task.prompt for seed in (0, 1) for task in _some(each, split, seed)}
        for split in SPLITS
    }
    assert not prompts["train"] & prompts["heldout"]
    assert not prompts["train"] & prompts["exam"]
    assert not prompts["heldout"] & prompts["exam"]


@EVERY
def test_equal_arguments_give_equal_tasks_and_another_seed_others(each: Environment) -> None:
    assert each.tasks("train", 30, 1) == each.tasks("train", 30, 1)
    assert each.tasks("train", 30, 1) != each.tasks("train", 30, 2)
    assert each.tasks("train", 30, 1)[:10] == each.tasks("train", 10, 1)


def test_turning_a_sum_round_does_not_bring_it_to_another_side() -> None:
    pairs: dict[frozenset[str], set[str]] = {}
    each = addition(2)
    for split in SPLITS:
        for task in each.tasks(split, 200, 0):
            numbers = frozenset("".join(c if c.isdigit() else " " for c in task.prompt).split())
            pairs.setdefault(numbers, set()).add(split)
    assert all(len(splits) == 1 for splits in pairs.values())


def test_exam_problems_are_distinct_and_too_many_are_refused_in_one_line() -> None:
    tasks = environment("addition-3").tasks("exam", 1_000, 0)
    assert len({task.id for task in tasks}) == 1_000
    with pytest.raises(InputError, match="has only 5 distinct problems in split exam"):
        environment("addition-1").tasks("exam", 300, 0)
    with pytest.raises(InputError, match="no split 'test'"):
        environment("addition-1").tasks("test", 1, 0)
    with pytest.raises(InputError, match="no environment 'nothing'"):
        environment("nothing")
    assert environment("addition-1").tasks("exam", 0, 0) == []


def test_validate_catches_a_verifier_that_refuses_gold() -> None:
    def draw(source: random.Random) -> Problem:
        number = source.randrange(10**6)
        return Problem(str(number), f"Say {number}.", f"{number}!", "integer")

    with pytest.raises(InputError, match="repair its verifier"):
        validate(Generated("broken", "broken", 1, draw))


@pytest.mark.parametrize(
    ("form", "gold", "right", "wrong"),
    [
        ("integer", "7", ["7", " 7 ", "07", "7."], ["7 7", "8", "seven", "7.0", "+7", "7\n8", "٧"]),
        ("integer", "-7", ["-7"], ["7", "--7", "- 7"]),
        ("word", "red", ["red", "red."], ["Red", "red blue", "the red"]),
        ("words", "a b", ["a b", "a b."], ["a  b", "b a", "a, b", "a b c"]),
        ("list", "a, b", ["a, b"], ["a b", "a,b", "b, a", "a, b, "]),
        ("brackets", "[a b]", ["[a b]"], ["a b", "[[a b]]", "[a b].", "[a b] [a b]"]),
        (
            "json",
            '{"answer": 1}',
            ['{"answer":1}', '{ "answer" : 1 }'],
            ['{"answer": true}', '{"answer": 1.0}', '{"answer": "1"}', '{"answer": 1, "x": 2}',
             '{"answer": 2, "answer": 1}', '[{"answer": 1}]', '{"answer": 1', "{" * 3000 + "}"],
        ),
    ],
)  # fmt: skip
def test_an_answer_is_right_only_as_a_whole(
    form: str, gold: str, right: list[str], wrong: list[str]
) -> None:
    for answer in right:
        assert same_answer(form, gold, answer), answer
    for answer in wrong:
        assert not same_answer(form, gold, answer), answer


@given(st.sampled_from(sorted(FORMS)), st.text(max_size=40))
def test_a_right_answer_is_well_formed_and_no_text_breaks_the_verifier(
    form: str, answer: str
) -> None:
    assert isinstance(well_formed(form, answer), bool)
    if same_answer(form, "7", answer):
        assert well_formed(form, answer)


def test_a_huge_answer_costs_nothing() -> None:
    assert not same_answer("integer", "7", "7" * 10_000_000)


def test_recall_asks_for_a_fact_it_states_and_the_last_update_holds() -> None:
    for task in recall(8, filler=20).tasks("train", 50, 0):
        assert task.answer in task.prompt
        assert task.prompt.count(".") == 28
        assert 0 <= task.meta["depth"] <= 1  # type: ignore[operator]
    for task in recall(2, updates=True).tasks("train", 50, 0):
        *facts, _ = task.prompt.replace("?", ".").split(". ")
        name = next(w.strip(".:?") for w in reversed(task.prompt.split()) if w[0].isupper())
        assert task.answer in [fact for fact in facts if name in fact.split()][-1]
    with pytest.raises(InputError):
        recall(0)


def test_only_one_word_is_the_longest() -> None:
    for task in strings("longest", 5).tasks("train", 100, 0):
        words = task.prompt.rstrip(".?").split(": ")[1].split()
        assert sum(len(word) == len(task.answer) for word in words) == 1
        assert max(map(len, words)) == len(task.answer)


def test_task_documents_have_ids_of_their_own_though_tasks_repeat() -> None:
    tasks = environment("addition-1").tasks("train", 500, 0)
    rows = as_documents("addition-1", tasks)
    assert len({row.id for row in rows}) == 500 > len({row.text for row in rows})
    assert rows[0].text == as_text(tasks[0])
    assert rows[0].text.endswith(f"\nAnswer: {tasks[0].answer}\n")
