"""A user's programming problems: only tests that can be hidden count; every gold program ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, lines, sometimes_right
from support.contained import or_skip

from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.environments.environment import SPLITS
from ontogeny.environments.own import read_tasks
from ontogeny.environments.programs import Programs
from ontogeny.environments.programs_pool import POOL
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.load_programs import LoadPrograms
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.stages.measure import Measure


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True, scope="module")
def sandbox() -> Iterator[None]:
    """A skip by name where programs cannot be contained, a failure under CI."""
    with or_skip():
        POOL.run_all([])
    yield
    POOL.close()


def row(number: int, **fields: Any) -> dict[str, Any]:
    """Adding a number, as MBPP writes it."""
    return {
        "text": f"Write a function to add {number}.",
        "code": f"def add(x): \r\n\treturn x + {number} ",
        "task_id": number,
        "test_setup_code": "",
        "test_list": [f"assert add({x}) == {x + number}" for x in (1, 10, 100)],
        "challenge_test_list": [],
        **fields,
    }


MANY = [row(number) for number in range(40)]


def load(file: Path, **fields: Any) -> LoadPrograms:
    return LoadPrograms(**{"sources": (f"mbpp=path:{file}",), **fields})


def test_problems_are_split_by_what_they_ask_and_show_one_test(bench: Bench) -> None:
    made, told = bench.play(load(bench.rows("a.jsonl", MANY)), bench.tokenizer)
    (world,) = read_tasks(made).values()
    assert isinstance(world, Programs)
    tasks = {split: world.tasks(split, 0, 0) for split in SPLITS if world.listed.get(split)}
    assert sum(map(len, tasks.values())) == 40
    task = tasks["train"][0]
    number = int(str(task.meta["asked"]).rstrip(".").split()[-1])
    assert task.prompt == f"Write a function to add {number}.\n\nExample: add(1) == {1 + number}"
    assert task.answer == f"def add(x):\n\treturn x + {number}"
    assert told.metrics["tests.hidden"] == 80.0
    assert told.metrics["tests.left_out"] == 0.0
    world.validate()
    again, _ = bench.play(load(bench.rows("b.jsonl", [*MANY[::-1], row(99)])), bench.tokenizer)
    sides = [
        {each["prompt"]: each["split"] for each in lines(a, "tasks.jsonl")} for a in (made, again)
    ]
    assert sides[0].items() < sides[1].items()


def test_what_cannot_be_judged_is_counted_by_its_reason(bench: Bench) -> None:
    odd = [
        row(50, code="def add(x): return x - 50"),
        row(51, code="def add(x):\n    while True: pass"),
        row(
            52, test_list=["assert add(1) == 53", "assert add(1.0) == 53", "assert add(True) == 53"]
        ),
        row(53, test_list=["assert add(1) > 2", *row(53)["test_list"]]),
        row(54, test_list=["assert abs(add(1) - 55) < 1e-6", "assert add(2) == 56"]),
        row(55, text="write a function  to add 1."),
        row(56, text="Mail ann@example.com the sum.", test_setup_code="import math"),
    ]
    made, told = bench.play(load(bench.rows("a.jsonl", [*MANY, *odd])), bench.tokenizer)
    counts = {name: n for name, n in told.metrics.items() if name.startswith(("removed", "tests"))}
    assert counts == {
        "removed.gold_fails": 2.0,
        "removed.constant_passes": 2.0,
        "removed.same_prompt": 1.0,
        "tests.hidden": 84.0,
        "tests.left_out": 2.0,
        "tests.no_equality": 2.0,
    }
    prompts = [each["prompt"] for each in lines(made, "tasks.jsonl")]
    assert any(each.startswith("Mail [mail] the sum.") for each in prompts)
    assert "left out: 2 no_equality" in told.summary[1]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"code": None}, "no text in a column code; the row has text, code"),
        ({"code": "def add(:"}, "it is no Python"),
        ({"code": "x = " + "(" * 9_000}, "it is no Python"),
        ({"code": "x = 1\n" * 20_000}, "64000 are allowed"),
        ({"text": " "}, "the description or the program is empty"),
        ({"test_list": "assert add(1) == 2"}, "'test_list' holds no list of texts"),
        ({"test_list": []}, "there is no test"),
        ({"test_setup_code": 3}, "'test_setup_code' holds no text"),
        ({"test_setup_code": "import"}, "it is no Python"),
    ],
)  # fmt: skip
def test_rows_of_another_form_are_named(bench: Bench, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        bench.play(load(bench.rows("a.jsonl", [row(1, **fields)])), bench.tokenizer)
    assert (Path(str(error.value.file)).name, error.value.line) == ("a.jsonl", 1)


def test_columns_of_other_names_and_the_sanitized_form_are_read(bench: Bench) -> None:
    def other(number: int) -> dict[str, Any]:
        given = row(number)
        return {
            "prompt": given["text"],
            "solution": f"def add(x): return math.floor(x) + {number}".replace("math.", ""),
            "test_imports": ["import math"],
            "test_list": [f"assert add(math.floor({x}.5)) == {x + number}" for x in (1, 2, 3)],
        }

    rows = [other(number) for number in range(30)]
    for each in rows:
        each["solution"] = f"from math import floor\n{each['solution']}"
    stage = load(bench.rows("a.jsonl", rows), columns={"answer": "solution"})
    made, _ = bench.play(stage, bench.tokenizer)
    assert len(lines(made, "tasks.jsonl")) == 30
    with pytest.raises(InputError, match="no column of a program means 'choices'"):
        load(Path("x"), columns={"choices": "x"})
    with pytest.raises(InputError, match="use is 'train'"):
        load(Path("x"), use="train")


def test_what_it_examines_is_not_trained_on_elsewhere(bench: Bench) -> None:
    made, _ = bench.play(load(bench.rows("eval/a.jsonl", MANY), use="exam"), bench.tokenizer)
    rows = [
        {"question": each["text"], "answer": "x"} for each in [*MANY[:5], *map(row, range(40, 70))]
    ]
    chats = LoadTasks(sources=(f"t=path:{bench.rows('t.jsonl', rows)}",), verifier="exact")
    _, told = bench.play(chats, bench.tokenizer, made)
    assert told.metrics["removed.contaminated"] == 5.0


def test_a_model_is_examined_with_programs(bench: Bench) -> None:
    tasks, _ = bench.play(load(bench.rows("a.jsonl", MANY), use="exam"), bench.tokenizer)
    model = sometimes_right(400)
    save_model(bench.payload(), model, bench.tokenizer, chats=True)
    parent = bench.keep("sft", "model")
    stage = Measure(domains=(), exam={"tasks/mbpp": 6, "programs-integer-1": 3}, max_tokens=4)
    made, told = bench.play(stage, parent, tasks)
    found = lines(made, "answers.jsonl")
    assert [each["notes"]["of_hidden"] for each in found] == [2] * 6 + [8] * 3
    assert told.metrics["exam.score"]["units"] == 9


def test_grpo_is_rewarded_by_programs_the_same_way_twice(bench: Bench) -> None:
    tasks, _ = bench.play(load(bench.rows("a.jsonl", MANY)), bench.tokenizer)
    save_model(bench.payload(), sometimes_right(400), bench.tokenizer, chats=True)
    parent = bench.keep("sft", "model")
    played = {"tasks/mbpp": 1.0, "programs-integer-1": 1.0}
    stage = GRPO(steps=2, environments=played, prompts=2, group=2, max_tokens=3, peak_lr=0.01)
    found = [bench.play(stage, parent, tasks)[0] for _ in range(2)]
    weights = [each.file("model.safetensors").read_bytes() for each in found]
    assert weights[0] == weights[1]
