"""Suites become series that pair by question; a killed evaluation goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, lines, sometimes_right
from support.suites import ROWS, examples

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.models import save_model
from ontogeny.evaluate import suite_answers
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.intervals import wilson
from ontogeny.evaluate.series import read_series
from ontogeny.run.request import request
from ontogeny.run.work import Stage, Work
from ontogeny.stages.effect import Effect
from ontogeny.stages.evaluate import LOG, Evaluate

NAMES = ("arc_easy", "lambada_openai", "mmlu", "gsm8k", "mine", "lines")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def model(bench: Bench, context: int = 200) -> Artifact:
    save_model(bench.payload(), sometimes_right(context), bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def specs(bench: Bench, *names: str, folder: str = "eval") -> tuple[str, ...]:
    return tuple(f"{name}={bench.rows(f'{folder}/{name}.jsonl', ROWS[name])}" for name in names)


def made_id(stage: Stage, of: Artifact) -> str:
    return request(stage, ((of.id, "model"),), name="e", seed=0, settings=[]).id


def test_every_question_is_a_unit_and_nothing_of_its_text_is_kept(bench: Bench) -> None:
    stage = Evaluate(suites=specs(bench, *NAMES), max_tokens=6)
    measured, told = bench.play(stage, model(bench))
    series = read_series(measured)
    assert {name.partition(".")[0] for name in series} == set(NAMES)
    assert all(len(each.units) == 8 for each in series.values())
    rows = lines(measured, "items.jsonl")
    assert len(rows) == 8 * len(NAMES)
    kept = measured.file("items.jsonl").read_text() + measured.file("series.json").read_text()
    for words in ("What is number", "moss", "Ships", "Add 0", "Which is", "odd", "Say 0"):
        assert words not in kept
    right = series["arc_easy.right"].values
    own = [row for row in rows if row["suite"] == "arc_easy"]
    assert [float(row["chosen"] == row["gold"]) for row in own] == right
    best = [max(range(4), key=row["log_probs"].__getitem__) for row in own]
    assert [row["chosen"] for row in own] == best
    assert series["arc_easy.nats"].values == [-row["log_probs"][row["gold"]] for row in own]
    assert [row["id"] for row in own] == [f"q{n}" for n in range(8)]
    level = wilson(round(sum(right)), 8)
    assert told.metrics["arc_easy.right"]["low"] == level.low
    assert any(each.startswith("arc_easy: acc ") for each in told.summary)
    assert any(", perplexity " in each for each in told.summary)
    assert told.tokens > 0 and told.flops > 0


def test_what_a_model_lost_and_won_is_an_effect_of_paired_questions(bench: Bench) -> None:
    first, _ = bench.play(Evaluate(suites=specs(bench, "mine")), model(bench))
    some = bench.rows("eval/half.jsonl", reversed(ROWS["mine"][:5]))
    second, _ = bench.play(Evaluate(suites=(f"mine={some}",)), model(bench, 300))
    claim = Claim("mine.change", "own questions", "share right", "at_least", 0.1)
    effect = Effect(claim=claim, form="change", series="mine.nats")
    _, told = bench.play(effect, first, second)
    assert told.metrics["effect"]["units"] == 5
    assert told.metrics["effect"]["estimate"] == pytest.approx(0.0, abs=1e-4)


def test_a_file_may_move_but_not_change(bench: Bench) -> None:
    of = model(bench)
    here = made_id(Evaluate(suites=specs(bench, "mine")), of)
    assert made_id(Evaluate(suites=specs(bench, "mine", folder="elsewhere")), of) == here
    other = bench.rows("eval/mine.jsonl", ROWS["mine"][:7])
    ids = {
        here,
        made_id(Evaluate(suites=(f"mine={other}",)), of),
        made_id(Evaluate(suites=(f"ours={other}",)), of),
        made_id(Evaluate(suites=(f"mine={other}",), limit=3), of),
        made_id(Evaluate(suites=(f"mine={other}",), through="lm_eval"), of),
        made_id(Evaluate(suites=(f"mine={other}",), shots=1, shots_from=(str(other),)), of),
    }
    assert len(ids) == 6


def test_how_a_file_of_examples_is_called_is_not_part_of_an_evaluation(bench: Bench) -> None:
    of, suites = model(bench), specs(bench, "mine")
    shown = [bench.rows(f"train/{name}.jsonl", examples("mine")) for name in ("one", "two")]
    ids = {
        made_id(Evaluate(suites=suites, shots=1, shots_from=(each,)), of)
        for each in (f"mine={shown[0]}", str(shown[0]), str(shown[1]))
    }
    assert len(ids) == 1


def test_examples_come_from_the_file_of_their_suite(bench: Bench) -> None:
    shown = tuple(
        f"{name}={bench.rows(f'train/{name}.jsonl', examples(name))}" for name in ("mine", "mmlu")
    )
    of, suites = model(bench), specs(bench, "mmlu", "mine")
    plain, _ = bench.play(Evaluate(suites=suites), of)
    helped, told = bench.play(Evaluate(suites=suites, shots=2, shots_from=shown), of)
    assert (
        lines(plain, "items.jsonl")[8]["log_probs"] != lines(helped, "items.jsonl")[8]["log_probs"]
    )
    assert lines(plain, "items.jsonl")[8]["unit"] == lines(helped, "items.jsonl")[8]["unit"]
    assert any(", 2 examples" in each for each in told.summary)
    assert any("exceed the context" in each for each in told.summary)
    with pytest.raises(InputError, match="nothing for mmlu; add mmlu=FILE"):
        bench.play(Evaluate(suites=suites, shots=1, shots_from=shown[:1] * 2), of)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"suites": ()}, "no suites"),
    ({"suites": ("a=x", "a=y")}, "two suites have one name"),
    ({"suites": ("a=x",), "limit": -1}, "limit and shots"),
    ({"suites": ("a=x",), "slots": 0}, "at least 1"),
    ({"suites": ("a=x",), "shots": 2}, "shots needs shots_from"),
    ({"suites": ("a=x",), "shots": 2, "shots_from": ("b=y",)}, "nothing for a; add a=FILE"),
    ({"suites": ("a=x",), "shots": 2, "shots_from": ("a=y", "b=z")}, "b, which is not asked"),
    ({"suites": ("arc_esy=x",)}, "did you mean arc_easy"),
    ({"suites": ("a=x",), "through": "helm"}, "give ours or lm_eval"),
]


@pytest.mark.parametrize(("settings", "reason"), WRONG)
def test_what_cannot_be_meant_is_one_line(settings: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Evaluate(**settings)


def test_a_choice_that_does_not_fit_is_named_by_its_line(bench: Bench) -> None:
    long = {"query": "q", "choices": ["a", "word " * 400], "gold": 0}
    path = bench.rows("eval/long.jsonl", [*ROWS["mine"][:2], long])
    with pytest.raises(InputError, match="the model's context 200") as told:
        bench.play(Evaluate(suites=(str(path),)), model(bench))
    assert str(told.value).startswith(f"{path}:3: ")


class Dies(Exception):
    """The machine, in the middle of it."""


class Mortal(Events):
    """Ends the process, as it were, at the first event behind `after` answers."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def progress(self, stage: str, done: float, total: float, unit: str, **numbers: float) -> None:
        """Dies once."""
        super().progress(stage, done, total, unit, **numbers)
        if done > self.after:
            raise Dies


def payload(work: Work) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(work.payload.iterdir())}


@pytest.mark.parametrize("through", ["ours", "lm_eval"])
def test_a_killed_evaluation_ends_with_the_bytes_of_an_undisturbed_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, through: Any
) -> None:
    if through == "lm_eval":
        pytest.importorskip("lm_eval")
    monkeypatch.setattr(suite_answers, "CHUNK_TOKENS", 600)
    monkeypatch.setattr(suite_answers, "CHUNK_ANSWERS", 6)
    stage, of = Evaluate(suites=specs(bench, *NAMES), max_tokens=4, through=through), model(bench)
    whole = Work("e", bench.root / "whole", 0, Events(), StopRequest())
    broken = Work("e", bench.root / "broken", 0, Mortal(0), StopRequest())
    for each in (whole, broken):
        each.payload.mkdir(parents=True)
        each.checkpoints.mkdir()
    expected = stage(whole, of)
    deaths, logged = 0, 0
    while True:
        shutil.rmtree(broken.payload)
        broken.payload.mkdir()
        try:
            made = stage(broken, of)
        except Dies:
            deaths += 1
            log = (broken.checkpoints / LOG).read_text().splitlines()
            assert len(log) == logged + 1  # one chunk further, and none asked again
            logged = len(log)
            broken.events = Mortal(sum(len(json.loads(line)["answers"]) for line in log))
            continue
        break
    assert deaths > 4
    assert payload(broken) == payload(whole) and made == expected
