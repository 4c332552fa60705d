"""Questions are put as lm_eval puts them, rows are believed as little as any, units are content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.suites import ROWS, examples

from ontogeny.base.errors import InputError
from ontogeny.evaluate import suite_rows
from ontogeny.evaluate.suite import SUITES
from ontogeny.evaluate.suite_judges import final_number, same_text
from ontogeny.evaluate.suite_rows import Loaded, SuiteFile, by_name, load, parse
from ontogeny.evaluate.suite_scores import of_choices


def written(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def loaded(directory: Path, name: str, rows: Sequence[Mapping[str, Any] | str]) -> Loaded:
    return load(SuiteFile(name, written(directory / "eval" / "rows.jsonl", rows)))


PUT = {
    "arc_easy": ("Question: What is number 0, \u201csaid\u201d twice?  \nAnswer:", " a stone.", 4),
    "hellaswag": ("Roof repair: How to mend. roof 0. Look up.", "  a stone. falls down ", 4),
    "piqa": ("Question: dry 0 boots \nAnswer:", " use a towel ", 2),
    "winogrande": ("Ann paid Bea 0 coins because Ann", " was owed  money.", 2),
    "boolq": ("Sea -- It is 0\nfeet deep.\nQuestion: is it 0?\nAnswer:", " yes", 2),
    "commonsense_qa": (
        "Question: What is number 0, \u201csaid\u201d twice?\nA. a stone.\nB. the sea.\n"
        "C. rain  water.\nD. na\u00efve fish.\nE. iron.\nAnswer:",
        " A",
        5,
    ),
    "social_iqa": ("Q: Kim opened door 0. Why?\nA:", " a stone.", 3),
    "openbookqa": ("What is number 0, \u201csaid\u201d twice?  ", " a stone.", 4),
    "mmlu": ("Which is 0?\nA. a stone.\nB. the sea.\nC. rain  water.\nD. \nAnswer:", " A", 4),
    "lambada_openai": ("He saw 0 ships.\n\n\u201cShips,\u201d said", " Bo", 1),
    "gsm8k": ("Question: Add 0 and 0.\nAnswer:", None, 0),
    "mine": ("0 is", " 0", 3),
    "lines": ("Say 0:", None, 0),
}


@pytest.mark.parametrize("name", PUT)
def test_a_question_is_put_with_these_words(tmp_path: Path, name: str) -> None:
    question = loaded(tmp_path, name, ROWS[name]).items[0].question
    context, target, count = PUT[name]
    assert question.contexts[question.gold] == context
    assert len(question.targets) == count
    if target is not None:
        assert question.targets[question.gold] == target


def test_every_known_suite_is_tried_here() -> None:
    assert {*SUITES, "mine", "lines"} == set(ROWS) == {*PUT, "arc_challenge"}


def test_a_suite_of_many_subjects_names_the_subject_first(tmp_path: Path) -> None:
    item = loaded(tmp_path, "mmlu", ROWS["mmlu"]).items[0]
    head = "The following are multiple choice questions (with answers) about"
    assert item.contexts()[0].startswith(f"{head} high school us history.\n\nWhich is 0?")


def other_form(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """`row` as (query, choices, gold), or lambada's as two columns."""
    if name == "lambada_openai":
        context, _, word = row["text"].rpartition(" ")
        return {"context": context, "continuation": word}
    if name == "boolq":
        query = f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:"
        return {"query": query, "choices": ["yes", "no"], "gold": int(not row["answer"])}
    asked = row.get("question", row.get("question_stem"))
    gold = row["choices"]["label"].index(row["answerKey"])
    query = f"Question: {asked}\nAnswer:"
    return {"query": query, "choices": row["choices"]["text"], "gold": gold}


@pytest.mark.parametrize(
    "name", ["arc_easy", "arc_challenge", "commonsense_qa", "openbookqa", "boolq", "lambada_openai"]
)
def test_both_forms_of_rows_ask_the_same(tmp_path: Path, name: str) -> None:
    first = loaded(tmp_path, name, ROWS[name])
    second = loaded(tmp_path, name, [other_form(name, row) for row in ROWS[name]])
    assert [each.question for each in first.items] == [each.question for each in second.items]
    assert [each.unit for each in first.items] == [each.unit for each in second.items]


def test_hellaswag_without_its_two_halves_is_put_as_it_stands(tmp_path: Path) -> None:
    row = {"activity_label": "Sport", "ctx": "He runs. the man", "endings": ["a", "b"], "label": 1}
    (item,) = loaded(tmp_path, "hellaswag", [row]).items
    assert item.question.contexts[0] == "Sport: He runs. the man"


GOOD = ROWS["arc_easy"][0]
WRONG: list[tuple[str, Any, str]] = [
    ("arc_easy", {**GOOD, "answerKey": "E"}, "answerKey is 'E'.*no_gold"),
    ("arc_easy", {**GOOD, "choices": ["a"]}, "choices is no object"),
    ("arc_easy", {"id": 1}, "question is missing, no text.*takes columns .*answerKey"),
    ("arc_easy", {"query": "Why?", "choices": ["a", "b"], "gold": 0}, "bad_query"),
    ("arc_easy", {"query": "Question: Q\nAnswer:", "choices": ["a", "b"], "gold": 2}, "0 to 1"),
    ("arc_easy", {"query": "Question: Q\nAnswer:", "choices": ["a", "b"], "gold": True}, "whole"),
    ("hellaswag", {**ROWS["hellaswag"][0], "label": ""}, "label is '', no whole"),
    ("hellaswag", {**ROWS["hellaswag"][0], "endings": ["[a]"] * 4}, "a choice is empty"),
    ("piqa", {**ROWS["piqa"][0], "label": -1}, "label is -1"),
    ("winogrande", {**ROWS["winogrande"][0], "sentence": "no gap"}, "no_gap"),
    ("winogrande", {**ROWS["winogrande"][0], "answer": "3"}, "1 to 2"),
    ("boolq", {**ROWS["boolq"][0], "answer": "yes"}, "label is missing"),
    ("commonsense_qa", GOOD, "4 choices, not 5"),
    ("mmlu", {**ROWS["mmlu"][0], "choices": ["a"]}, "1 choices, not 4"),
    ("gsm8k", {"question": "q", "answer": "3"}, "#### NUMBER"),
    ("mine", {"query": "q", "choices": ["a"], "gold": 0}, "fewer than 2"),
    ("arc_esy", {"question": "q"}, "no known suite.*did you mean arc_easy"),
    ("arc_easy", '{"question": ', "broken_json"),
    ("arc_easy", "[" * 5000, "json|nest|deep|object"),
]


@pytest.mark.parametrize(("name", "row", "reason"), WRONG)
def test_a_wrong_row_is_one_line_with_its_place(
    tmp_path: Path, name: str, row: Any, reason: str
) -> None:
    good = ROWS.get(name, [{"prompt": "p", "answer": "a"}] * 2)[:2]
    with pytest.raises(InputError, match=f"(?s){reason}") as told:
        loaded(tmp_path, name, [*good, row])
    assert str(told.value).startswith(f"{tmp_path}/eval/rows.jsonl:3: ")


def test_files_that_are_no_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(SuiteFile("arc_easy", tmp_path / "absent.jsonl"))
    with pytest.raises(InputError, match="a directory; name a file"):
        load(SuiteFile("arc_easy", tmp_path))
    with pytest.raises(InputError, match=r"rows\.jsonl:1: there is no row in it"):
        loaded(tmp_path, "mine", [])
    with pytest.raises(InputError, match="no file of rows"):
        load(SuiteFile("arc_easy", written(tmp_path / "a.txt", [GOOD])))


def test_a_unit_is_its_question_wherever_it_stands(tmp_path: Path) -> None:
    first = [each.unit for each in loaded(tmp_path, "mine", ROWS["mine"]).items]
    moved = loaded(tmp_path, "mine", [*ROWS["mine"][3:], *ROWS["mine"][:3]])
    assert {each.unit for each in moved.items} == set(first)
    twice = [each.unit for each in loaded(tmp_path, "mine", ROWS["mine"][:1] * 3).items]
    assert twice == [first[0], f"{first[0]}#2", f"{first[0]}#3"]


def test_a_limit_takes_the_first_and_looks_no_further(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [*ROWS["mine"], "broken"])
    assert len(load(SuiteFile("mine", path), limit=3).items) == 3


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("arc_easy=a.jsonl", "arc_easy"),
        ("csqa=a.jsonl", "commonsense_qa"),
        ("mine=a=b.jsonl", "mine"),
        ("dir/my questions.jsonl.gz", "my-questions"),
        ("./x=y.json", "x-y"),
        ("my-comonsense_qa=a.jsonl", "my-comonsense_qa"),
        ("questions=a.jsonl", "questions"),
    ],
)
def test_a_suite_is_named_or_called_as_its_file(spec: str, name: str) -> None:
    assert parse(spec).name == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("comonsense_qa", "commonsense_qa"),
        ("CSQA", "csqa"),
        ("arc_esy", "arc_easy"),
        ("ARC_Easy", "arc_easy"),
        ("gsm8", "gsm8k"),
    ],
)
def test_a_name_that_is_nearly_a_known_one_is_no_suite_of_ones_own(name: str, meant: str) -> None:
    told = f"'{name}' is no known suite; did you mean {meant}?.* my-{name}=FILE"
    with pytest.raises(InputError, match=told):
        parse(f"{name}=a.jsonl")


def test_a_name_without_a_file_is_told_what_it_lacks() -> None:
    with pytest.raises(InputError, match="no file behind arc_easy=; write arc_easy=FILE"):
        parse("arc_easy=")


def test_examples_belong_to_what_is_asked() -> None:
    asked = [parse("arc_easy=a"), parse("mine=b")]
    shown = [parse("mine=d"), parse("arc_easy=c")]
    assert by_name(shown, asked) == {"arc_easy": shown[1], "mine": shown[0]}
    assert by_name([parse("c.jsonl")], asked[:1])["arc_easy"].path == Path("c.jsonl")
    for wrong, reason in (
        (shown[:1], "nothing for arc_easy; add arc_easy=FILE"),
        ([*shown, parse("piqa=e")], "examples for piqa, which is not asked"),
        ([*shown, parse("mine=e")], "two files of examples"),
    ):
        with pytest.raises(InputError, match=reason):
            by_name(wrong, asked)
    with pytest.raises(InputError, match="nothing for arc_easy"):
        by_name([parse("piqa=c.jsonl")], asked[:1])


def test_as_many_questions_as_are_read_are_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite_rows, "MOST_ITEMS", 8)
    assert len(loaded(tmp_path, "mine", ROWS["mine"]).items) == 8
    with pytest.raises(InputError, match="more than 8 questions; set a limit"):
        loaded(tmp_path, "mine", [*ROWS["mine"], *examples("mine")[:1]])
    asked = SuiteFile("mine", written(tmp_path / "asked.jsonl", ROWS["mine"][:2]))
    shown = pool(tmp_path, "mine", [*ROWS["mine"], *examples("mine")])
    with pytest.raises(InputError, match="more than 8 questions; bring fewer examples"):
        load(asked, 0, 1, shown)


def test_a_file_with_a_suites_name_does_not_become_that_suite_by_itself() -> None:
    with pytest.raises(InputError, match=r"write arc_easy=dir/arc_easy\.jsonl if"):
        parse("dir/arc_easy.jsonl")
    with pytest.raises(InputError, match=r"write arc_easy=ARC_Easy\.jsonl if"):
        parse("ARC_Easy.jsonl")


def pool(tmp_path: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> SuiteFile:
    return SuiteFile("examples", written(tmp_path / "train" / f"{name}.jsonl", rows))


def test_examples_are_never_what_is_asked(tmp_path: Path) -> None:
    asked = SuiteFile("mine", written(tmp_path / "asked.jsonl", ROWS["mine"]))
    shown = pool(tmp_path, "mine", [*ROWS["mine"], *examples("mine")])
    found = load(asked, 0, 8, shown)
    for item in found.items:
        assert all(each.contexts[0].startswith("So ") for each in item.examples)
        assert len(set(item.examples)) == 8
    orders = {item.examples for item in found.items}
    assert len(orders) > 1 and load(asked, 0, 8, shown) == found
    with pytest.raises(InputError, match="9 examples are asked for, 8 are no question"):
        load(asked, 0, 9, shown)
    same = SuiteFile("other", written(tmp_path / "same.jsonl", ROWS["mine"]))
    with pytest.raises(InputError, match="another file"):
        load(asked, 0, 1, same)


def test_an_example_ends_in_its_right_answer(tmp_path: Path) -> None:
    asked = SuiteFile("boolq", written(tmp_path / "asked.jsonl", ROWS["boolq"][:1]))
    shown = pool(tmp_path, "boolq", examples("boolq")[:1])
    (item,) = load(asked, 0, 1, shown).items
    before, _, behind = item.contexts()[0].partition("\n\n")
    assert before.endswith("\nQuestion: Now: is it 0?\nAnswer: yes")
    assert behind == item.question.contexts[0]


def test_examples_of_a_subject_are_its_first(tmp_path: Path) -> None:
    asked = SuiteFile("mmlu", written(tmp_path / "asked.jsonl", ROWS["mmlu"]))
    found = load(asked, 0, 2, pool(tmp_path, "mmlu", examples("mmlu")))
    for item in found.items:
        assert [each.group for each in item.examples] == [item.question.group] * 2
        number = 1 if item.question.group == "astronomy" else 0
        firsts = [f"Now:  Which is {n}?" for n in (number, number + 2)]
        assert [each.contexts[0].split("\n")[0] for each in item.examples] == firsts


@pytest.mark.parametrize(
    ("said", "gold", "right", "flexible"),
    [
        (" So 5.\n#### 1,234", "x\n#### 1234", True, True),
        ("#### $18.", "#### 18", False, True),
        ("It is 18 dollars.", "#### 18", False, True),
        ("#### 3\nThen #### 4", "#### 3", True, False),
        ("none", "#### 3", False, False),
        ("", "#### 0", False, False),
        ("#### -2", "#### -2", True, True),
    ],
)
def test_a_number_is_found_strictly_or_flexibly(
    said: str, gold: str, right: bool, flexible: bool
) -> None:
    assert final_number(said, gold) == {"right": right, "flexible": flexible}


def test_a_text_is_the_same_but_for_white_space_around_it() -> None:
    assert same_text(" Paris \n", "Paris") == {"right": True}
    assert same_text("paris", "Paris") == {"right": False}


def test_acc_norm_divides_by_characters_and_ties_go_to_the_first(tmp_path: Path) -> None:
    row = {"query": "q", "choices": ["\u00e9\u00e9", "abc", "x"], "gold": 1}
    (item,) = loaded(tmp_path, "mine", [row]).items
    # by bytes (4, 3, 1) the first would win, by characters (2, 3, 1) the second does
    found = of_choices(item.question, [-6.0, -5.5, -2.0], normed=True)
    assert found.scores == {"right": 0.0, "norm": 1.0, "nats": 5.5}
    tied = of_choices(item.question, [-3.0, -3.0, -3.0], normed=False)
    assert tied.scores == {"right": 0.0, "nats": 3.0}
