"""Tasks that people bring: kept as they were written, drawn as asked, one name for each."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import publish
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.store import Store
from ontogeny.corpus.own import folded
from ontogeny.environments.environment import SPLITS, Environment, Task
from ontogeny.environments.own import (
    FILE,
    Listed,
    check_counts,
    check_names,
    environments_of,
    examined,
    own_task,
    read_tasks,
    write_tasks,
)
from ontogeny.environments.verifiers import VERIFIERS, verifier

NAME = "tasks/sums"
SIZES = {"train": 8, "heldout": 2, "exam": 3}


def world(name: str = NAME, judge: str = "integer", sizes: Mapping[str, int] = SIZES) -> Listed:
    listed = {
        split: [own_task(name, f"{split} {number}?", str(number)) for number in range(count)]
        for split, count in sizes.items()
    }
    return Listed(name, verifier(judge), listed)


def artifact(store: Store, number: int, *worlds: Listed) -> Artifact:
    payload = store.work / f"{number:016x}" / "payload"
    payload.mkdir(parents=True)
    write_tasks(payload, {each.name: each for each in worlds})
    return publish(store, payload, "load_tasks", "tasks", f"tasks-{number}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def test_it_is_an_environment_like_any_other() -> None:
    each: Environment = world()
    each.validate()
    task = each.tasks("train", 1, 0)[0]
    assert each.score(task, task.answer) == 1.0
    assert each.score(task, "") == 0.0
    assert each.well_formed(task, "12")
    assert not each.well_formed(task, "twelve")
    assert task.kind == "sums"
    assert task.id == own_task(NAME, task.prompt, "other").id


@given(
    st.sampled_from(sorted(VERIFIERS)), st.text(string.printable, min_size=1), st.text(min_size=1)
)
def test_gold_scores_1_wherever_the_verifier_takes_it(judge: str, gold: str, prompt: str) -> None:
    each = Listed(NAME, verifier(judge), {"train": [own_task(NAME, prompt, gold)]})
    task = each.tasks("train", 0, 0)[0]
    if each.judge.same(gold, gold):
        assert each.score(task, gold) == 1.0
        assert each.well_formed(task, gold)
        each.validate()
    assert each.score(task, " ") == 0.0


def test_a_draw_follows_from_split_count_and_seed() -> None:
    each = world(sizes={"train": 30, "heldout": 20, "exam": 20})
    for split in SPLITS:
        drawn = each.tasks(split, 10, seed=1)
        assert drawn == each.tasks(split, 10, seed=1)
        assert drawn != each.tasks(split, 10, seed=2)
        assert len({task.id for task in drawn}) == 10
        assert all(task.prompt.startswith(split) for task in drawn)
        everything = each.tasks(split, 0, seed=1)
        assert sorted(everything, key=str) == sorted(each.listed[split], key=str)


def test_tasks_of_train_come_again_only_when_all_have_come() -> None:
    drawn = world().tasks("train", 20, seed=0)
    rounds = [drawn[:8], drawn[8:16]]
    assert all(len({task.id for task in each}) == 8 for each in rounds)
    assert rounds[0] != rounds[1]
    assert len(drawn) == 20


@pytest.mark.parametrize(
    ("split", "count", "told"),
    [
        ("exam", 4, "has 3 tasks in split exam, 4 are asked for"),
        ("heldout", 3, "has 2 tasks in split heldout"),
        ("test", 1, "no split 'test'; splits are train, heldout, exam"),
    ],
)
def test_more_than_there_are_is_refused(split: str, count: int, told: str) -> None:
    with pytest.raises(InputError, match=told):
        world().tasks(split, count, 0)
    with pytest.raises(InputError, match="has 0 tasks in split train, some are asked for"):
        world(sizes={"exam": 3}).tasks("train", 0, 0)


def test_what_is_written_is_read(store: Store) -> None:
    odd = own_task("tasks/odd", 'Line\u2028one\n"<|end|>" \u00e9?', "\u00e9\n#### 4")
    worlds = (world(), Listed("tasks/odd", verifier("final_number"), {"exam": [odd]}))
    found = read_tasks(artifact(store, 1, *worlds))
    assert list(found) == [NAME, "tasks/odd"]
    assert found[NAME] == worlds[0]
    assert found["tasks/odd"].tasks("exam", 0, 0) == [odd]
    assert found["tasks/odd"].judge is verifier("final_number")


GOOD = (
    '{"environment": "tasks/a", "verifier": "word", "split": "train", "prompt": "?", "answer": "x"}'
)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        GOOD.replace("word", "regex"),
        GOOD.replace('"?"', "3"),
        GOOD.replace('"x"', "3"),
    ],
)
def test_a_line_that_holds_no_task_is_named(store: Store, line: str) -> None:
    payload = store.work / f"{1:016x}" / "payload"
    payload.mkdir(parents=True)
    (payload / FILE).write_text(f"{GOOD}\n{line}\n")
    made = publish(store, payload, "load_tasks", "tasks")
    with pytest.raises(CorruptArtifact, match="no task") as caught:
        read_tasks(made)
    assert caught.value.line == 2


def test_names_are_found_among_the_parents_or_the_generated(store: Store) -> None:
    made = artifact(store, 1, world()), artifact(store, 2, world("tasks/other"))
    found = environments_of({"tasks/other": 1, "vowels-3": 1, NAME: 2}, made)
    assert {name: each.name for name, each in found.items()} == {
        "tasks/other": "tasks/other",
        "vowels-3": "vowels-3",
        NAME: NAME,
    }


def test_a_name_that_no_parent_brings_is_refused(store: Store) -> None:
    made = artifact(store, 1, world())
    with pytest.raises(InputError, match=r"no tasks 'tasks/sum' among the parents \(tasks/sums\)"):
        environments_of(["tasks/sum"], [made])
    with pytest.raises(InputError, match=r"none is given.*LoadTasks"):
        environments_of([NAME])
    with pytest.raises(InputError, match="no environment 'vowel'"):
        environments_of(["vowel"], [made])
    with pytest.raises(InputError, match="two tasks artifacts bring 'tasks/sums'"):
        environments_of([NAME], [made, artifact(store, 2, world())])


def test_counts_and_names_are_checked_before_anything_runs() -> None:
    check_counts({NAME: 0, "vowels-3": 1}, "measure")
    check_names([NAME, "vowels-3"])
    for counts in ({}, {NAME: -1}, {"vowels-3": 0}, {"vowel-3": 1}):
        with pytest.raises(InputError):
            check_counts(counts, "measure")


def test_what_an_exam_asks_is_known_and_what_trains_is_not(store: Store) -> None:
    asked = examined(
        [artifact(store, 1, world()), artifact(store, 2, world("tasks/b", sizes={"exam": 1}))]
    )
    held = [task.prompt for split in ("heldout", "exam") for task in world().listed[split]]
    assert asked == {folded(prompt) for prompt in held}
    assert examined([]) == frozenset()


def test_tasks_of_equal_prompt_have_one_id_and_those_of_two_environments_not() -> None:
    task: Task = own_task(NAME, "1 + 1?", "2")
    assert task.id.startswith("tasks/sums/")
    assert task.id != own_task("tasks/other", "1 + 1?", "2").id
