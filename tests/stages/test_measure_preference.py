"""Two models are asked the same fresh questions, and the one that is liked wins them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.bench import Bench, lines, small_tokenizer, sometimes_right
from support.gating import Scales, scores

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.gate import Criterion
from ontogeny.evaluate.series import read_series, wins
from ontogeny.feedback.open_questions import topics
from ontogeny.feedback.tastes import words
from ontogeny.stages.gate import Gate
from ontogeny.stages.gate_effect import GateEffect
from ontogeny.stages.measure_preference import MeasurePreference

STAGE = MeasurePreference(questions=12, answers=2, max_tokens=4)
SERIES = "preference.score"
CLAIM = Claim("circle.promoted", "whether it promotes", "decision", "at_least", 0.5)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def fond_of(bench: Bench, word: str, context: int = 128) -> Artifact:
    """A model that says `word`, which is one token, and ends its turn."""
    model, tokenizer = sometimes_right(context), small_tokenizer()
    (said,) = tokenizer.encode(word)
    with torch.no_grad():
        model.embedding[[*tokenizer.encode("3")], 0] = 1.0
        model.embedding[said, 0] = 3.0
    save_model(bench.payload(), model, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def test_the_model_that_says_what_is_liked_wins(bench: Bench) -> None:
    plain, liked = fond_of(bench, "3"), fond_of(bench, " name")
    made = [bench.play(STAGE, each)[0] for each in (plain, liked)]
    before, after = (read_series(each)[SERIES] for each in made)
    assert before.units == after.units
    assert len(before.units) == 12
    won = wins(before, after, "liked")
    assert won.units > 6
    assert won.value == 1.0
    assert wins(after, before, "liked").value == 0.0


def test_a_unit_is_a_question_and_its_value_the_share_of_answers_liked(bench: Bench) -> None:
    made, said = bench.play(STAGE, fond_of(bench, " name"))
    series, rows = read_series(made)[SERIES], lines(made, "answers.jsonl")
    assert [row["question"] for row in rows] == list(series.units)
    for row, value in zip(rows, series.values, strict=True):
        assert len(row["answers"]) == 2
        assert value == sum(map(words, row["answers"])) / 2
    assert said.metrics[SERIES]["estimate"] == sum(series.values) / 12
    assert said.metrics[SERIES]["low"] <= said.metrics[SERIES]["estimate"]


def test_questions_are_of_topics_that_no_user_asks_about(bench: Bench) -> None:
    asked = set(topics("train"))
    for split in ("exam", "heldout"):
        made, _ = bench.play(replace(STAGE, split=split), fond_of(bench, "3"))  # type: ignore[arg-type]
        for row in lines(made, "answers.jsonl"):
            said = row["prompt"].replace(",", "").replace(".", "").replace("?", "").split()
            assert not set(said[2:]) & asked - {"people"}, row["prompt"]


def test_the_same_is_measured_each_time(bench: Bench) -> None:
    model = fond_of(bench, "3")
    first, again = (bench.play(STAGE, model, seed=5)[0] for _ in range(2))
    assert first.record.files == again.record.files
    other, _ = bench.play(STAGE, model, seed=6)
    assert read_series(other)[SERIES].units != read_series(first)[SERIES].units


def test_a_question_without_room_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="lower max_tokens"):
        bench.play(replace(STAGE, max_tokens=128), fond_of(bench, "3"))


def test_numbers_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(InputError, match="no taste"):
        MeasurePreference(taste="salt")
    with pytest.raises(InputError, match="at least 1"):
        MeasurePreference(answers=0)
    with pytest.raises(InputError, match="temperature"):
        MeasurePreference(temperature=-1.0)


@pytest.mark.parametrize(("gain", "said"), [(1.0, 1.0), (0.0, 0.0)])
def test_a_gate_s_word_is_the_number_of_a_claim(tmp_path: Path, gain: float, said: float) -> None:
    scales = Scales(tmp_path)
    candidate, released = scales.model("candidate"), scales.model("released")
    measured = [
        scales.measured(candidate, {SERIES: scores([gain] * 40)}),
        scales.measured(released, {SERIES: scores([0.0] * 40)}),
    ]
    criteria = (Criterion("liked", SERIES, "gain", 0.0),)
    gate, _ = scales.gate(Gate(criteria=criteria), candidate, released, *measured)
    _, made = Bench(tmp_path / "bench").play(GateEffect(claim=CLAIM), gate)
    effect = made.metrics["effect"]
    assert [effect[each] for each in ("estimate", "low", "high", "null", "target")] == [
        *(said, said, said),
        *(0.0, 0.5),
    ]
    assert made.summary[0] == ("promote" if said else "stay")


def test_a_claim_about_a_gate_needs_a_null_value() -> None:
    with pytest.raises(InputError, match="give a null value"):
        GateEffect(claim=replace(CLAIM, null=None))
