"""A reward model reads whole answers, learns what tells them apart, and loads as it was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.bench import Bench, lines, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.bridge.comparisons import (
    Comparison,
    ComparisonSteps,
    comparisons,
    joined_length,
    snug,
)
from ontogeny.bridge.models import load_model, save_model
from ontogeny.bridge.packing import pack, pieces
from ontogeny.bridge.reward_model import RewardModel as Judge
from ontogeny.bridge.reward_model import judged, load_reward, reward_shape
from ontogeny.evaluate.series import read_series
from ontogeny.model.initial import initialise
from ontogeny.model.tensor_file import read_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.objectives.reward import Compared
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.shape import Shape
from ontogeny.stages.reward_model import RewardModel
from ontogeny.text.message import Message

END = small_tokenizer().end_of_turn
GOOD, BAD = 40, 41
LEARN: dict[str, Any] = {"peak_lr": 0.01, "pairs_a_step": 8, "epochs": 4}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def parent(bench: Bench, tied: bool = True) -> Artifact:
    made = Transformer(Shape(small_tokenizer().vocab_size, 16, 2, 2, 1, 8, 32, 64, tied=tied))
    initialise(made, 2)
    with torch.no_grad():
        made.embedding.mul_(20.0)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def pairs(bench: Bench, count: int = 60, **more: Any) -> Artifact:
    """The good answers say `GOOD` where the bad ones say `BAD`."""
    draw = np.random.default_rng(0)
    payload = bench.payload()
    with (payload / "pairs.jsonl").open("w") as file:
        for number in range(count):
            around = draw.integers(50, 300, draw.integers(1, 6)).tolist()
            row = {
                "task": f"t{number}",
                "prompt": [5, 6, number + 50],
                "chosen": [*around, GOOD, END],
                "rejected": [*around, BAD, END],
            }
            file.write(json.dumps(row | more) + "\n")
    return bench.keep("pairs", "pairs")


def test_it_learns_what_tells_the_answers_apart(bench: Bench) -> None:
    made, said = bench.play(RewardModel(**LEARN, heldout=0.3), parent(bench), pairs(bench))
    assert said.metrics["accuracy"]["estimate"] > 0.9
    assert said.metrics["accuracy"]["units"] > 8
    judge = load_reward(made)
    good, bad = judge.rate([(5, 6, 99, 77, GOOD, END), (5, 6, 99, 77, BAD, END)])
    assert good > bad


def test_the_mean_over_what_was_learnt_from_is_0(bench: Bench) -> None:
    known = pairs(bench)
    made, _ = bench.play(RewardModel(**LEARN, heldout=0.3), parent(bench), known)
    judge = load_reward(made)
    learnt, _ = comparisons(known, small_tokenizer(), 0.3)
    rated = judge.rate([e.prompt for p in learnt for e in (p.chosen, p.rejected)])
    assert float(rated.mean()) == pytest.approx(0, abs=1e-5)


def test_a_judgement_does_not_depend_on_what_stands_beside(bench: Bench) -> None:
    model, tokenizer = load_model(parent(bench))
    model.add_score()
    assert model.score is not None
    with torch.no_grad():
        model.score.normal_(generator=torch.Generator().manual_seed(0))
    judge = Judge(model, tokenizer, 0.25)
    draw = np.random.default_rng(1)
    sequences = [tuple(draw.integers(300, size=draw.integers(1, 60)).tolist()) for _ in range(40)]
    together = judge.rate(sequences)
    alone = [float(judge.rate([each])[0]) for each in sequences]
    assert together.tolist() == pytest.approx(alone, rel=1e-4, abs=1e-4)
    last = model.states(_row(sequences[0]))[-1]
    assert float(last @ model.score[0].detach()) + 0.25 == pytest.approx(alone[0], rel=1e-4)
    assert len(judge.rate([])) == 0
    with pytest.raises(InputError, match="exceed the reward model's context"):
        judge.rate([tuple(range(65))])


def _row(ids: tuple[int, ...]) -> Batch:
    tokens = torch.tensor([ids])
    return Batch(tokens, tokens, torch.ones(tokens.shape))


def test_answers_to_one_prompt_stay_on_one_side(bench: Bench) -> None:
    payload = bench.payload()
    rows = [
        {"task": "t", "prompt": [5, n % 20], "chosen": [60, n], "rejected": [61, n]}
        for n in range(100)
    ]
    (payload / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    learnt, asked = comparisons(bench.keep("pairs", "pairs"), small_tokenizer(), 0.4)
    sides = [{pair.chosen.prompt[:2] for pair in side} for side in (learnt, asked)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) + len(sides[1]) == 20
    assert min(map(len, sides)) > 3


def test_pairs_of_one_prompt_are_one_unit(bench: Bench) -> None:
    model = parent(bench)
    payload = bench.payload()
    for name, count in (("pairs.jsonl", 9), ("heldout.jsonl", 12)):
        rows = [
            {"task": f"t{n}", "prompt": [5, n % 3], "chosen": [60 + n], "rejected": [99]}
            for n in range(count)
        ]
        (payload / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    made, said = bench.play(RewardModel(**LEARN), model, bench.keep("load_pairs", "pairs"))
    series = read_series(made)
    assert series["pairs.right"].weights == series["pairs.lead"].weights == [4.0] * 3
    assert said.metrics["accuracy"]["units"] == 3
    assert said.summary[-1].endswith("of 12 held-out pairs")
    leads = [row["rewards"][0] - row["rewards"][1] for row in lines(made, "heldout.jsonl")]
    assert series["pairs.lead"].values == pytest.approx([sum(leads[n::3]) for n in range(3)])


def test_pairs_that_hold_some_out_are_asked_these(bench: Bench) -> None:
    payload = bench.payload()
    for name, count in (("pairs.jsonl", 7), ("heldout.jsonl", 3)):
        rows = [
            {"task": "t", "prompt": [5, n], "chosen": [60, END, 9], "rejected": [61]}
            for n in range(count)
        ]
        (payload / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    learnt, asked = comparisons(bench.keep("load_pairs", "pairs"), small_tokenizer(), 0.5)
    assert (len(learnt), len(asked)) == (7, 3)
    assert learnt[0].chosen.prompt == (5, 0, 60, END), "an answer ends behind its last end of turn"
    assert learnt[0].rejected.prompt == (5, 0, 61)


def test_soft_labels_are_read_and_refused_outside_0_to_1(bench: Bench) -> None:
    learnt, _ = comparisons(pairs(bench, 4, probability=0.8), small_tokenizer(), 0.0)
    assert [each.probability for each in learnt] == [0.8] * 4
    with pytest.raises(CorruptArtifact, match="probability is no number from 0 to 1"):
        comparisons(pairs(bench, 4, probability=1.2), small_tokenizer(), 0.0)


def test_too_few_pairs_are_refused_with_their_number(bench: Bench) -> None:
    with pytest.raises(InputError, match="has 5 pairs to learn from, a step takes 8"):
        bench.play(
            RewardModel(peak_lr=0.01, heldout=0.0, pairs_a_step=8), parent(bench), pairs(bench, 5)
        )


FORMS = {
    "llama": Shape(600, 16, 2, 4, 2, 8, 32, 24),
    "windowed": Shape(
        600, 16, 2, 4, 2, 8, 32, 24, family="gemma3_text", pattern="lg", window=5, local_theta=1e3
    ),
    "capped": Shape(
        600, 16, 2, 4, 2, 8, 32, 24, family="gemma2", pattern="lg", window=5, attention_cap=5.0
    ),
}


def judgements(model: Transformer, batch: Any) -> torch.Tensor:
    """Reward of each answer, with its gradient at the embedding left behind."""
    rewards: torch.Tensor = batch.sums(model(batch, Needs(values=True)).values_BT)
    (rewards * torch.arange(1, len(rewards) + 1)).sum().backward()  # type: ignore[no-untyped-call]
    return rewards.detach()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("recompute", [False, True])
def test_reading_a_prompt_once_changes_nothing_but_rounding(form: str, recompute: bool) -> None:
    model = Transformer(FORMS[form])
    initialise(model, 4)
    model.add_score()
    model.recompute = recompute
    model.train()
    assert model.score is not None
    with torch.no_grad():
        model.embedding.mul_(20.0)
        model.score.normal_(generator=torch.Generator().manual_seed(0))
    ends = [
        ((5, 6, 7, 8, 9, 30, 31), (5, 6, 7, 8, 9, 32, 33, 34, 35, 36, 37, 38, 39, 40)),
        ((70, 71), (80, 81, 82)),  # nothing in common
        ((5, 6, 7), (5, 6, 7, 8)),  # one begins the other
        ((9,), (10,)),
        (tuple(range(100, 124)), (*range(100, 115), *range(200, 209))),  # the whole context
    ]
    pairs = [Comparison(judged(one, 0), judged(other, 0)) for one, other in ends]
    steps = ComparisonSteps(pairs, 5, 1, 40, 0, 0)
    shared = steps.batch(pairs, "shared")
    found = judgements(model, shared)
    gradient = model.embedding.grad
    model.embedding.grad = None
    packed = pack([each for p in pairs for each in (p.chosen, p.rejected)], 40, 0)
    plain = Compared(
        packed.tokens_BT,
        packed.targets_BT,
        packed.weights_BT,
        packed.documents,
        answer_BT=packed.answer_BT,
        answers=10,
        probability_P=torch.ones(5),
    )
    torch.testing.assert_close(found, judgements(model, plain), rtol=1e-4, atol=1e-5)
    assert gradient is not None
    torch.testing.assert_close(gradient, model.embedding.grad, rtol=1e-3, atol=1e-4)
    read = sum(map(joined_length, pairs))
    assert read == sum(len(one) + len(other) for one, other in ends) - 5 - 0 - 2 - 0 - 15
    assert shared.tokens_BT.numel() < plain.tokens_BT.numel()


def test_the_rest_of_a_row_wider_than_the_context_is_padded() -> None:
    """Two long branches stand side by side in a row that holds more than a context."""
    model = Transformer(FORMS["llama"])
    initialise(model, 4)
    model.add_score()
    long = Comparison(judged(range(22), 0), judged(range(100, 122), 0))
    short = Comparison(judged((70, 71), 0), judged((80, 81), 0))
    batch = ComparisonSteps([long, short], 2, 1, 44, 0, 0).batch([long, short], "wide")
    assert batch.tokens_BT.shape == (2, 44)
    assert model(batch, Needs(values=True)).values_BT.isfinite().all()


def test_rows_are_snug() -> None:
    draw = np.random.default_rng(5)
    for _ in range(20):
        lengths = draw.integers(50, 800, draw.integers(1, 20)).tolist()
        width = snug(lengths, 1024)
        rows = -(-sum(lengths) // 1024)
        assert max(lengths) <= width <= sum(lengths) + 8
        assert len(pieces(lengths, width, rows)) == 1
    assert snug([440] * 8, 1024) * 4 == 440 * 8


def test_a_pair_that_exceeds_the_context_is_refused(bench: Bench) -> None:
    payload = bench.payload()
    row = {"task": "t", "prompt": [5] * 40, "chosen": [60] * 25, "rejected": [61]}
    (payload / "pairs.jsonl").write_text((json.dumps(row) + "\n") * 9)
    long = bench.keep("pairs", "pairs")
    with pytest.raises(InputError, match="takes 65 tokens, the model's context is 64"):
        bench.play(RewardModel(**LEARN, heldout=0.0), parent(bench), long)


def test_pairs_in_another_vocabulary_are_refused(bench: Bench) -> None:
    before = parent(bench)
    with pytest.raises(InputError, match=r"holds id 600, the model's vocabulary ends at 599"):
        bench.play(RewardModel(**LEARN), before, pairs(bench, prompt=[5, 600]))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("adapter", [None, LoRA(rank=4)])
def test_an_adapter_learns_beside_the_head(bench: Bench, tied: bool, adapter: LoRA | None) -> None:
    before = parent(bench, tied)
    made, said = bench.play(RewardModel(**LEARN, adapter=adapter), before, pairs(bench))
    tensors = read_tensors(made.path / "model.safetensors")
    old = read_tensors(before.path / "model.safetensors")
    assert tensors.keys() == {*old, "score.weight"}
    assert float(tensors["score.weight"].abs().max()) > 0
    same = torch.equal(tensors["model.embed_tokens.weight"], old["model.embed_tokens.weight"])
    assert same == (adapter is not None)
    assert reward_shape(made).tied == tied
    assert said.metrics["accuracy"]["estimate"] > 0.7
    assert said.flops > 0


def test_texts_are_judged_through_the_one_template(bench: Bench) -> None:
    made, _ = bench.play(RewardModel(**LEARN), parent(bench), pairs(bench))
    judge = load_reward(made)
    turns = [Message("user", "Is it?"), Message("assistant", "It is.")]
    found = judge.rate_conversations([turns, [*turns[:1], Message("assistant", "No.")]])
    assert np.isfinite(found).all()
    assert found[0] != found[1]


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_loads_it_and_says_the_same(bench: Bench, tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    made, _ = bench.play(RewardModel(**LEARN), parent(bench, tied), pairs(bench))
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(made.path)
    judge = load_reward(made)
    draw = np.random.default_rng(3)
    for _ in range(5):
        ids = tuple(draw.integers(40, 500, size=draw.integers(2, 40)).tolist())
        with torch.no_grad():
            logits = theirs(torch.tensor([ids])).logits
        assert logits.shape == (1, 1)
        assert float(judge.rate([ids])[0]) - judge.offset == pytest.approx(
            float(logits), rel=1e-4, abs=1e-5
        )


def test_only_a_reward_model_is_loaded_as_one(bench: Bench) -> None:
    with pytest.raises(InputError, match="is a model, no reward model"):
        load_reward(parent(bench))
