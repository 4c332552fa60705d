"""What is asked is equal in every run; how fast it was answered is the execution's."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import Bench, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.evaluate.series import read_series
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape
from ontogeny.stages.measure_serving import MeasureServing

ASKED = MeasureServing(clients=(1, 3), requests=2, prompt_tokens=8, answer_tokens=5, rounds=2)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def model(bench: Bench) -> Artifact:
    made = Transformer(Shape(small_tokenizer().vocab_size, 16, 2, 2, 1, 8, 32, 64))
    initialise(made, 1)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def test_every_request_is_answered_in_full(bench: Bench, model: Artifact) -> None:
    artifact, made = bench.play(ASKED, model)
    # 2 requests of each of 1 and of 3 clients, in 2 rounds and the one before them
    assert made.metrics == {"requests": 24, "prompt_tokens": 192, "answer_tokens": 120}
    series = read_series(artifact)["serving.tokens"]
    assert series.units[:3] == ["1 clients/0", "1 clients/1", "3 clients/0"]
    assert series.values == [5.0] * 8


def test_speeds_are_the_executions_and_nothing_else_differs(bench: Bench, model: Artifact) -> None:
    (first, made), (second, again) = (bench.play(ASKED, model) for _ in range(2))
    assert first.record.files == second.record.files
    assert (made.metrics, made.summary) == (again.metrics, again.summary)
    assert (made.tokens, made.flops) == (again.tokens, again.flops) and made.flops > 0
    assert not any(str(each) in str(made.metrics) for each in made.speeds.values())


def test_a_speed_is_told_for_each_number_of_clients(bench: Bench, model: Artifact) -> None:
    speeds = bench.play(ASKED, model)[1].speeds
    names = ("tokens_per_second", "seconds_per_thousand", "first_token_seconds")
    assert list(speeds) == [f"{clients}.{name}" for clients in (1, 3) for name in names]
    for clients in (1, 3):
        product = speeds[f"{clients}.tokens_per_second"] * speeds[f"{clients}.seconds_per_thousand"]
        assert product == pytest.approx(1000)
        assert speeds[f"{clients}.first_token_seconds"] > 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clients": ()}, "give numbers of clients"),
        ({"clients": (2, 2)}, "each once"),
        ({"clients": (0,)}, "at least 1"),
        ({"rounds": 0}, "at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        MeasureServing(**changes)  # type: ignore[arg-type]


def test_what_does_not_fit_the_context_is_refused(bench: Bench, model: Artifact) -> None:
    with pytest.raises(InputError, match="exceed the context of 'model/2', 64"):
        bench.play(MeasureServing(prompt_tokens=60, answer_tokens=5), model)
