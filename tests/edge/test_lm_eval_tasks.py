"""Every suite through lm_eval's own task files: the same tokens asked, the same verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.bench import small_tokenizer
from support.suites import ROWS, Guessing, examples

from ontogeny.base.errors import InputError
from ontogeny.edge.lm_eval_tasks import answer_through, parts_of, tasks_of
from ontogeny.evaluate.suite_answers import Answers, Room
from ontogeny.evaluate.suite_columns import Row
from ontogeny.evaluate.suite_prompts import mmlu
from ontogeny.evaluate.suite_rows import Loaded, SuiteFile, load
from ontogeny.evaluate.suite_scores import answer

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.parity


def written(path: Path, rows: list[Row] | list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def everything(directory: Path, shots: int) -> list[Loaded]:
    found = []
    for name, rows in ROWS.items():
        asked = SuiteFile(name, written(directory / "asked" / f"{name}.jsonl", rows))
        shown = SuiteFile(name, written(directory / "shown" / f"{name}.jsonl", examples(name)))
        found.append(load(asked, 0, shots, shown if shots else None))
    return found


@pytest.mark.parametrize("shots", [0, 3])
def test_lm_eval_asks_and_judges_as_we_do(tmp_path: Path, shots: int) -> None:
    tokenizer = small_tokenizer()
    said = tokenizer.encode(" 4\n#### 4, so 6. Question: more")
    ours, theirs = Guessing(said), Guessing(said)
    loaded = everything(tmp_path, shots)
    mine = answer(loaded, Answers(ours), tokenizer, Room(10_000), 32)
    found = answer_through(loaded, Answers(theirs), tokenizer, Room(10_000), 32)
    for each, own, others in zip(loaded, mine, found, strict=True):
        assert own == others, each.name
    assert {each.prompt for each in ours.scored} == {each.prompt for each in theirs.scored}
    assert [(each.prompt, each.max_tokens, each.stop_strings) for each in ours.sampled] == [
        (each.prompt, each.max_tokens, each.stop_strings) for each in theirs.sampled
    ]
    numbers = mine[[each.name for each in loaded].index("gsm8k")]
    assert [each.scores["right"] for each in numbers] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert [each.scores["flexible"] for each in numbers] == [0, 0, 0, 1, 0, 0, 0, 0]


def test_what_exceeds_the_context_is_cut_alike(tmp_path: Path) -> None:
    tokenizer, room, other = small_tokenizer(), Room(48), Room(48)
    loaded = everything(tmp_path, 2)
    mine = answer(loaded, Answers(Guessing([5])), tokenizer, room, 8)
    found = answer_through(loaded, Answers(Guessing([5])), tokenizer, other, 8)
    assert mine == found
    prompts = {
        context
        for each in loaded
        for item in each.items
        for context in item.contexts()
        if (
            len(tokenizer.encode(context)) > 48 - 8
            if each.suite.kind == "answer"
            else any(len(tokenizer.encode(context + t)) > 49 for t in item.question.targets)
        )
    }
    assert room.cut == other.cut == len(prompts)


def test_the_subjects_of_mmlu_are_called_as_lm_eval_calls_them(tmp_path: Path) -> None:
    import lm_eval.tasks

    folder = Path(str(lm_eval.tasks.__file__)).parent / "mmlu" / "default"
    subjects = sorted(each.stem.removeprefix("mmlu_") for each in folder.glob("mmlu_*.yaml"))
    assert len(subjects) == 57
    rows = [{**ROWS["mmlu"][0], "subject": subject} for subject in subjects]
    loaded = load(SuiteFile("mmlu", written(tmp_path / "mmlu.jsonl", rows)))
    for name, task in tasks_of(parts_of(loaded, 8))["tasks"].items():
        row = {**loaded.items[0].original, "subject": name.removeprefix("mmlu_")}
        assert task.config.description == mmlu(row).head


def test_a_task_that_lm_eval_has_not_is_one_line(tmp_path: Path) -> None:
    rows = [{**ROWS["mmlu"][0], "subject": "alchemy"}]
    loaded = load(SuiteFile("mmlu", written(tmp_path / "mmlu.jsonl", rows)))
    with pytest.raises(InputError, match=r"has no task 'mmlu_alchemy'.*--through ours"):
        answer_through([loaded], Answers(Guessing()), small_tokenizer(), Room(100), 8)


def test_lm_eval_says_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "rows.jsonl", ROWS["hellaswag"])
    loaded = load(SuiteFile("hellaswag", path))
    answer_through([loaded], Answers(Guessing()), small_tokenizer(), Room(1000), 8)
    assert capfd.readouterr() == ("", "")
