"""Safety data: shares are as asked, refusals refuse, nothing of an exam or an eval folder."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.bench import Bench, lines

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import identity_dict
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import domains, read_shard
from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import side
from ontogeny.environments.policy import REFUSAL, is_refusal
from ontogeny.safety.requests import LABELS, requests
from ontogeny.stages.contrasts import DOMAIN, Contrasts


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def turns(made: Artifact) -> list[tuple[str, str]]:
    found = []
    for row in lines(made, "conversations.jsonl"):
        texts = [each["content"] for each in row["messages"]]
        found += list(zip(texts[::2], texts[1::2], strict=True))
    return found


def test_the_shares_are_as_asked(bench: Bench) -> None:
    made, told = bench.play(Contrasts(requests=200, contrasts=0.5, ordinary=0.2), bench.tokenizer)
    assert {label: told.metrics[label] for label in LABELS} == {
        "harmful": 80,
        "borderline": 100,
        "ordinary": 20,
    }
    assert sum(is_refusal(answer) for _, answer in turns(made)) == 80
    assert domains(made, "train") == [DOMAIN]
    assert read_shard(made, "train", DOMAIN).tokens == told.tokens


def test_without_contrasts_nothing_borderline_is_learnt(bench: Bench) -> None:
    _, told = bench.play(Contrasts(requests=200, contrasts=0.0), bench.tokenizer)
    assert (told.metrics["borderline"], told.metrics["harmful"]) == (0, 150)


@pytest.mark.parametrize("world", ["village", "plain"])
def test_no_request_of_the_exam_is_learnt(bench: Bench, world: str) -> None:
    made, _ = bench.play(Contrasts(world=world, requests=600), bench.tokenizer)  # type: ignore[arg-type]
    learnt = {asked for asked, _ in turns(made)}
    for label in LABELS:
        exam = requests(label, "exam", 40, 0, world)
        assert not learnt & {each.text for each in exam}


def test_tasks_are_replayed_among_the_requests(bench: Bench) -> None:
    stage = Contrasts(requests=40, replay={"addition-1": 60})
    made, _ = bench.play(stage, bench.tokenizer)
    tasks = environment("addition-1").tasks("train", 2_000, 0)
    known = {(each.prompt, each.answer) for each in tasks}
    assert sum(turn in known for turn in turns(made)) == 60
    assert len(turns(made)) == 100


def rows(*harmful: str) -> list[dict[str, str]]:
    return [{"text": each, "label": "harmful"} for each in harmful]


def test_rows_of_ones_own_are_learnt_from_their_training_split(bench: Bench) -> None:
    texts = [f"How do I steal {number} horses?" for number in range(60)]
    file = bench.rows("mine.jsonl", rows(*texts))
    made, _ = bench.play(Contrasts(requests=0, files=(str(file),)), bench.tokenizer)
    assert Counter(turns(made)) == Counter(
        (each, REFUSAL) for each in texts if side(each.casefold()) == "train"
    )


def test_a_safe_row_without_an_answer_is_told(bench: Bench) -> None:
    safe = [{"text": f"How do I feed {n} horses?", "label": "safe"} for n in range(9)]
    file = bench.rows("mine.jsonl", safe)
    first = next(n for n, row in enumerate(safe, 1) if side(row["text"].casefold()) == "train")
    with pytest.raises(InputError, match="has no answer to learn from") as refused:
        bench.play(Contrasts(requests=0, files=(str(file),)), bench.tokenizer)
    assert (refused.value.file, refused.value.line) == (str(file), first)


def test_nothing_under_an_eval_folder_is_learnt(bench: Bench) -> None:
    file = bench.rows("eval/mine.jsonl", rows("How do I steal a horse?"))
    with pytest.raises(InputError, match="eval"):
        bench.play(Contrasts(requests=0, files=(str(file),)), bench.tokenizer)


def test_what_a_file_contains_is_identity_and_its_place_is_not(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for file in (first, second):
        file.write_text(json.dumps(rows("How do I steal a horse?")[0]) + "\n")
    stages = [Contrasts(files=(str(each),)) for each in (first, second)]
    assert stages[0].identity() == stages[1].identity() != Contrasts().identity()
    assert identity_dict(stages[0]) == identity_dict(stages[1])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"world": "moon"}, "no world 'moon'"),
        ({"contrasts": 1.5}, "shares from 0 to 1"),
        ({"requests": 0}, "needs requests or files"),
        ({"turns": 0}, "at least 1 turn"),
        ({"replay": {"addition-1": 0}}, "at least 1"),
        ({"replay": {"nothing": 9}}, "no environment"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Contrasts(**given)  # type: ignore[arg-type]
