"""Pairs are read whole, seen once an epoch, and start where the reference stands."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import torch
from conftest import publish

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.store import Store
from ontogeny.bridge.packing import Said
from ontogeny.bridge.preference import PAIRS, Pair, PairSteps, pair_batch, read_pairs
from ontogeny.infer.scoring import score
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Pairs
from ontogeny.objectives.preference import DPO
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD

FILL = 99
WIDTH = 24


def pairs(count: int) -> list[Pair]:
    """Each with a prompt of its own and answers that differ."""
    draw = random.Random(0)

    def said(prompt: tuple[int, ...]) -> Said:
        return Said(prompt, tuple(draw.randrange(90) for _ in range(draw.randint(1, 8))))

    prompts = [(number % 90, number // 90, 7) for number in range(count)]
    return [Pair(said(p), said(p), (-draw.random(), -draw.random())) for p in prompts]


def steps(known: list[Pair], at_once: int = 4, count: int = 10, seed: int = 0) -> PairSteps:
    return PairSteps(known, at_once, count, WIDTH, FILL, seed)


def prompts_of(batch: Pairs) -> list[tuple[int, ...]]:
    """The prompts of a batch, one a pair."""
    found = []
    for row, lengths in enumerate(batch.documents or []):
        start = 0
        for length in lengths:
            tokens = batch.tokens_BT[row, start : start + length].tolist()
            start += length
            if tokens[0] != FILL:
                found.append(tuple(tokens[:3]))
    assert found[0::2] == found[1::2]
    return found[0::2]


def test_every_pair_comes_once_an_epoch_in_a_new_order() -> None:
    known = pairs(10)
    seen = [prompt for (batch,) in steps(known) for prompt in prompts_of(batch)]  # type: ignore[arg-type]
    epochs = [seen[first : first + 10] for first in range(0, 40, 10)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(pair.chosen.prompt for pair in known)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_restoring_goes_on_with_the_same_pairs() -> None:
    known = pairs(10)
    source, other = steps(known), steps(known)
    for _ in range(3):
        next(source)
    other.restore(source.state())
    rest = [batch.tokens_BT.tolist() for (batch,) in source]
    assert [batch.tokens_BT.tolist() for (batch,) in other] == rest
    assert len(rest) == 7
    assert [batch.tokens_BT.tolist() for (batch,) in steps(known, seed=1)][3:] != rest


def test_chosen_stands_before_rejected_and_the_reference_beside_its_answer() -> None:
    known = pairs(5)
    batch = pair_batch(known, WIDTH, FILL, "x")
    inside = batch.weights_BT > 0
    said = [id_ for pair in known for each in (pair.chosen, pair.rejected) for id_ in each.answer]
    assert batch.targets_BT[inside].tolist() == said
    expected = torch.tensor([each for pair in known for each in pair.reference])
    assert torch.equal(batch.reference_S, expected)
    lengths = [len(e.answer) for pair in known for e in (pair.chosen, pair.rejected)]
    assert batch.lengths().tolist() == lengths


def learnt(objective: DPO, micro_rows: int) -> tuple[list[Report], list[int], Transformer]:
    """Two steps of 6 pairs: reports, micro-batches of each step, and the model."""
    model = Transformer(Shape(100, 32, 2, 4, 2, 8, 64, 32))
    initialise(model, 2)
    batches = PairSteps(pairs(12), 6, 2, WIDTH, FILL, 0, micro_rows)
    counts = [len(each) for each in PairSteps(pairs(12), 6, 2, WIDTH, FILL, 0, micro_rows)]
    reports: list[Report] = []
    settings = OptimizerSettings(peak_lr=0.01, matrices="adamw")
    train(model, objective, batches, Optimizer(model, settings, WSD(9)), [reports.append])
    return reports, counts, model


@pytest.mark.parametrize(
    "objective", [DPO(nll=0.5), DPO(loss="ipo", length_normalised=True)], ids=["sigmoid", "ipo"]
)
def test_micro_batches_of_pairs_change_nothing_but_rounding(objective: DPO) -> None:
    whole, one, model = learnt(objective, micro_rows=32)
    parts, many, other = learnt(objective, micro_rows=1)
    assert one == [1, 1]
    assert min(many) >= 3
    for a, b in zip(whole, parts, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5)
        assert b.gradient_norm == pytest.approx(a.gradient_norm, rel=1e-4)
        assert b.metrics == pytest.approx(a.metrics, rel=1e-4, abs=1e-6)
        assert b.counts == a.counts
    for first, second in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_a_pair_is_never_divided() -> None:
    known = pairs(12)
    for batches in PairSteps(known, 6, 2, WIDTH, FILL, 0, micro_rows=1):
        assert len(batches) > 2
        assert sum(len(prompts_of(batch)) for batch in batches) == 6  # type: ignore[arg-type]


def test_a_stage_knows_the_most_rows_of_its_steps() -> None:
    load = steps(pairs(10)).load()
    rows = [batch.tokens_BT.shape for (batch,) in steps(pairs(10))]
    assert (load.rows, load.width) == (max(shape[0] for shape in rows), WIDTH)
    assert load.scored
    assert load.together == 1


def test_a_pair_that_needs_two_rows_is_told() -> None:
    long = Said((1, 2), (3,) * 18)
    known = [*pairs(9), Pair(long, Said((1, 2), (4,) * 18))]
    assert steps(known).load().together == 2


@pytest.mark.parity
def test_a_model_is_at_0_from_itself() -> None:
    """The scorer's log-probs, taken once before training, are those of the trainer's forward."""
    model = Transformer(Shape(100, 32, 2, 4, 2, 8, 64, 32))
    initialise(model, 2)
    with torch.no_grad():
        model.embedding.mul_(20.0)
    known = pairs(12)
    said = [each for pair in known for each in (pair.chosen, pair.rejected)]
    sums = [sum(each[0]) for each in score(model, [(each.prompt, each.answer) for each in said])]
    own = [
        Pair(pair.chosen, pair.rejected, (sums[2 * n], sums[2 * n + 1]))
        for n, pair in enumerate(known)
    ]
    batch = pair_batch(own, WIDTH, FILL, "x")
    with torch.no_grad():
        loss = DPO(beta=0.5)(model(batch, DPO().needs), batch)
    assert float(loss.terms["preference"].sum) == pytest.approx(12 * math.log(2), rel=1e-5)
    assert abs(float(loss.metrics["margin"])) < 1e-4
    assert min(sums) < -5


def artifact(store: Store, text: str) -> Artifact:
    payload = store.work / "0123456789abcdef" / "payload"
    payload.mkdir(parents=True)
    (payload / PAIRS).write_text(text)
    return publish(store, payload, "pairs", "pairs")


GOOD = json.dumps({"prompt": [1, 2], "chosen": [3], "rejected": [4, 5], "scores": [1.0, 0.0]})


def test_pairs_are_read_as_they_were_sampled(tmp_path: Path) -> None:
    found = read_pairs(artifact(Store.create(tmp_path / "life"), f"{GOOD}\n{GOOD}\n"))
    assert found == [Pair(Said((1, 2), (3,)), Said((1, 2), (4, 5)))] * 2


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '{"prompt": [1], "chosen": [2]}',
        '{"prompt": [], "chosen": [2], "rejected": [3]}',
        '{"prompt": [1], "chosen": [], "rejected": [3]}',
        '{"prompt": [1], "chosen": ["x"], "rejected": [3]}',
        '{"prompt": 1, "chosen": [2], "rejected": [3]}',
    ],
)
def test_a_line_that_holds_no_pair_is_named(tmp_path: Path, line: str) -> None:
    made = artifact(Store.create(tmp_path / "life"), f"{GOOD}\n{line}\n")
    with pytest.raises(CorruptArtifact, match="no preference pair") as caught:
        read_pairs(made)
    assert caught.value.line == 2


def test_a_pair_of_one_answer_is_named(tmp_path: Path) -> None:
    line = '{"prompt": [1], "chosen": [2], "rejected": [2]}'
    made = artifact(Store.create(tmp_path / "life"), f"{GOOD}\n{line}\n")
    with pytest.raises(CorruptArtifact, match="the same answer") as caught:
        read_pairs(made)
    assert caught.value.line == 2
