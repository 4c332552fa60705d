"""Margins are differences of summed log-probs, one a held-out pair, by the pair's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.bench import Bench, lines, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import load_model, save_model
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.series import read_series
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape
from ontogeny.stages.effect import Effect
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.measure_pairs import MeasurePairs

PAIRS = [
    {
        "prompt": f"Is {n} even?",
        "chosen": "No!" if n % 2 else "Yes!",
        "rejected": "Who knows" * (n % 3 + 1),
    }
    for n in range(30)
]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def model(bench: Bench, seed: int = 2, context: int = 64) -> Artifact:
    made = Transformer(Shape(small_tokenizer().vocab_size, 16, 2, 2, 1, 8, 32, context))
    initialise(made, seed)
    with torch.no_grad():
        made.embedding.mul_(20.0)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def pairs(bench: Bench, heldout: float = 0.4) -> Artifact:
    spec = f"likes=path:{bench.rows('pairs.jsonl', PAIRS)}"
    return bench.play(LoadPairs(sources=(spec,), heldout=heldout), bench.tokenizer)[0]


def log_prob(made: Transformer, prompt: list[int], answer: list[int]) -> float:
    """Token by token, each alone behind all before it."""
    ids, total = [*prompt, *answer], 0.0
    for position in range(len(prompt), len(ids)):
        state = made.new_state(1, 64)
        window = torch.tensor([ids[:position]])
        logits = made.extend(window, [position], [0], state)
        total += float(torch.log_softmax(logits.double(), -1)[0, ids[position]])
    return total


def test_margins_are_differences_of_summed_log_probs(bench: Bench) -> None:
    made, known = model(bench), pairs(bench)
    measured, told = bench.play(MeasurePairs(), made, known)
    network, _ = load_model(made)
    rows = lines(known, "heldout.jsonl")
    assert 5 <= len(rows) <= 20
    expected = [
        log_prob(network, row["prompt"], row["chosen"])
        - log_prob(network, row["prompt"], row["rejected"])
        for row in rows
    ]
    series = read_series(measured)
    assert series["pairs.margin"].units == [row["task"] for row in rows]
    assert series["pairs.margin"].values == pytest.approx(expected, abs=2e-4)
    assert series["pairs.right"].values == [float(margin > 0) for margin in expected]
    assert told.metrics["pairs.margin"]["estimate"] == pytest.approx(
        sum(expected) / len(rows), abs=1e-4
    )
    assert f"of {len(rows)} held-out pairs" in told.summary[0]
    assert max(abs(each) for each in expected) > 1
    read = sum(2 * len(r["prompt"]) + len(r["chosen"]) + len(r["rejected"]) - 2 for r in rows)
    assert told.tokens == read


def test_the_change_of_margins_is_paired_by_name(bench: Bench) -> None:
    known = pairs(bench)
    before, _ = bench.play(MeasurePairs(), model(bench, 2), known)
    after, _ = bench.play(MeasurePairs(), model(bench, 3), known)
    first, second = (read_series(each)["pairs.margin"] for each in (before, after))
    assert first.units == second.units
    wins = sum(b > a for a, b in zip(first.values, second.values, strict=True))
    assert 0 < wins < len(first.units)
    claim = Claim("dpo.preference", "x", "share", "at_least", 0.5, null=0.5)
    effect = Effect(claim=claim, form="wins", series="pairs.margin")
    _, told = bench.play(effect, before, after)
    assert told.metrics["effect"]["estimate"] == wins / len(first.units)


def test_pairs_of_which_none_is_held_out_are_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="holds out no pairs; load them with a heldout share"):
        bench.play(MeasurePairs(), model(bench), pairs(bench, heldout=0.0))


def test_a_pair_that_exceeds_the_context_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="exceed the model's context of 8"):
        bench.play(MeasurePairs(), model(bench, context=8), pairs(bench))
