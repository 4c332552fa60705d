"""A user's problems become an environment: verified golds, disjoint splits, exams kept apart."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, lines

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.environments.environment import SPLITS
from ontogeny.environments.own import read_tasks
from ontogeny.environments.verifiers import VERIFIERS
from ontogeny.stages.load_tasks import LoadTasks


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def problem(number: int, answer: str = "") -> dict[str, Any]:
    gold = answer or f"Add 1 to {number}.\n#### {number + 1}"
    return {"question": f"What comes after {number}?", "answer": gold}


MANY = [problem(number) for number in range(100)]


def load(file: Path, **fields: Any) -> LoadTasks:
    return LoadTasks(**{"sources": (f"sums=path:{file}",), "verifier": "final_number", **fields})


def split_of(made: Artifact, name: str = "tasks/sums") -> dict[str, str]:
    """Prompt -> split."""
    rows = [row for row in lines(made, "tasks.jsonl") if row["environment"] == name]
    found = {row["prompt"]: row["split"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_every_task_is_in_one_split_and_its_gold_answer_scores_1(bench: Bench) -> None:
    made, told = bench.play(load(bench.rows("a.jsonl", MANY)), bench.tokenizer)
    (world,) = read_tasks(made).values()
    prompts = {split: {task.prompt for task in world.tasks(split, 0, 0)} for split in SPLITS}
    assert sum(map(len, prompts.values())) == len(set().union(*prompts.values())) == 100
    assert 70 <= len(prompts["train"]) <= 90
    assert [told.metrics[f"kept.{split}"] for split in SPLITS] == [len(prompts[s]) for s in SPLITS]
    for split in SPLITS:
        for task in world.tasks(split, 0, 0):
            assert world.score(task, task.answer) == 1.0
            assert world.score(task, "") == 0.0
    world.validate()
    assert told.summary[0].startswith(f"tasks (tasks/sums): {len(prompts['train'])} train")


def test_neither_order_nor_more_rows_move_a_task_to_another_split(bench: Bench) -> None:
    first, _ = bench.play(load(bench.rows("a.jsonl", MANY)), bench.tokenizer)
    more = [problem(number) for number in range(500, 600)]
    mixed = random.Random(0).sample([*MANY, *more], 200)
    second, _ = bench.play(load(bench.rows("b.jsonl", mixed)), bench.tokenizer)
    before, after = split_of(first), split_of(second)
    assert {prompt: after[prompt] for prompt in before} == before
    assert len(after) == 200


def test_a_question_is_in_one_split_of_all_environments(bench: Bench) -> None:
    """Otherwise what one of them examines, the other would teach."""
    shouted = [{**row, "question": f" {row['question'].upper()}"} for row in MANY]
    one, two = bench.rows("a.jsonl", MANY), bench.rows("b.jsonl", shouted)
    stage = LoadTasks(sources=(f"one=path:{one}", f"two=path:{two}"), verifier="final_number")
    made, _ = bench.play(stage, bench.tokenizer)
    first, second = split_of(made, "tasks/one"), split_of(made, "tasks/two")
    assert first == {prompt.strip().capitalize(): split for prompt, split in second.items()}


def test_every_row_is_kept_or_counted(bench: Bench) -> None:
    wrong = [
        MANY[0],
        problem(1, "#### 3"),
        problem(200, "none"),
        problem(201, " "),
        {"question": "?"},
        {"question": "Which?", "choices": ["a", "b"], "answer": "c"},
    ]
    made, _ = bench.play(load(bench.rows("a.jsonl", [*MANY, *wrong])), bench.tokenizer)
    (world,) = read_tasks(made).values()
    assert sum(len(world.listed.get(split, ())) for split in SPLITS) == 100
    report = made.file("report.json").read_text()
    for reason in (
        "exact_duplicate",
        "same_prompt",
        "gold_fails",
        "empty_turn",
        "no_column",
        "bad_choice",
    ):
        assert f'"{reason}": 1' in report


def test_a_verifier_that_does_not_take_the_golds_is_one_line_with_the_first(bench: Bench) -> None:
    file = bench.rows("a.jsonl", MANY)
    with pytest.raises(InputError) as caught:
        bench.play(load(file, verifier="integer"), bench.tokenizer)
    assert (caught.value.file, caught.value.line) == (str(file), 1)
    assert "the verifier integer does not take the gold answer" in caught.value.reason
    assert "none is right" in caught.value.reason


@pytest.mark.parametrize("judge", sorted(VERIFIERS))
def test_golds_of_every_verifier_are_taken_and_empty_ones_not(bench: Bench, judge: str) -> None:
    golds = {"integer": "7", "final_number": "= 7", "json": '{"a": 7}', "brackets": "[a b]"}
    golds |= {"choice": "B", "list": "a, b", "words": "a b"}
    draw = random.Random(judge)
    rows = [
        {"prompt": f"Say it {number} times.", "answer": golds.get(judge, draw.choice("abc"))}
        for number in range(60)
    ]
    made, _ = bench.play(load(bench.rows(f"{judge}.jsonl", rows), verifier=judge), bench.tokenizer)
    (world,) = read_tasks(made).values()
    for split in SPLITS:
        for task in world.listed[split]:
            assert (world.score(task, task.answer), world.score(task, "")) == (1.0, 0.0)
            assert world.well_formed(task, task.answer)


def test_an_eval_folder_examines_and_never_trains(bench: Bench) -> None:
    file = bench.rows("eval/a.jsonl", MANY)
    with pytest.raises(InputError, match="lies under a folder named eval"):
        bench.play(load(file), bench.tokenizer)
    for place in (file, file.parent, file.parents[1]):
        made, told = bench.play(load(place, use="exam"), bench.tokenizer)
        assert set(split_of(made).values()) == {"exam"}
        assert told.metrics["kept.exam"] == 100.0


def test_what_another_exam_asks_is_not_trained_on(bench: Bench) -> None:
    exam = bench.rows("eval/a.jsonl", MANY[:10])
    examined, _ = bench.play(load(exam, use="exam"), bench.tokenizer)
    file = bench.rows("a.jsonl", MANY)
    stage = load(file, sources=(f"more=path:{file}",))
    made, told = bench.play(stage, bench.tokenizer, examined)
    assert told.metrics["removed.contaminated"] == 10.0
    assert not set(split_of(examined)) & set(split_of(made, "tasks/more"))
    again, _ = bench.play(load(exam, use="exam"), bench.tokenizer, examined)
    assert split_of(again) == split_of(examined)


def test_an_exam_of_another_use_is_another_artifact(bench: Bench) -> None:
    file = bench.rows("a.jsonl", MANY)
    one, two = load(file), load(file, use="exam")
    assert one.identity() == two.identity()  # the same bytes
    assert (one.trains, two.trains) == (True, False)


def test_too_few_for_an_exam_is_told_at_once(bench: Bench) -> None:
    file = bench.rows("a.jsonl", MANY[:1])
    with pytest.raises(InputError, match=r"none of the 1 tasks of 'tasks/sums' falls into the"):
        bench.play(load(file), bench.tokenizer)
    made, _ = bench.play(load(file, use="exam"), bench.tokenizer)
    assert len(split_of(made)) == 1


def test_what_is_longer_than_allowed_is_counted(bench: Bench) -> None:
    long = {"question": "word " * 200, "answer": "1"}
    made, told = bench.play(load(bench.rows("a.jsonl", [*MANY, long]), longest=60), bench.tokenizer)
    assert told.metrics["removed.too_long"] == 1.0
    assert len(split_of(made)) == 100


def test_personal_data_is_scrubbed_before_the_gold_answer_is_tried(bench: Bench) -> None:
    rows = [
        *MANY,
        {"question": "Who is ann@example.com?", "answer": "7"},
        {"question": "Which card?", "answer": "4111 1111 1111 1111"},
    ]
    made, told = bench.play(load(bench.rows("a.jsonl", rows)), bench.tokenizer)
    assert "Who is [mail]?" in split_of(made)
    assert told.metrics["changed.scrubbed_mail"] == 1.0
    assert told.metrics["removed.gold_fails"] == 1.0  # [card] is no number


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"verifier": "regex"}, "no verifier 'regex'"), ({"use": "train"}, "use is 'train'")],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(Path("x"), **fields)
