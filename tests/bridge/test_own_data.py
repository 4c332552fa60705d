"""A model on a user's own data: what an assistant says is scored, own tasks are played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.bench import Bench, lines, sometimes_right

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import load_model, save_model
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.bridge.scoring import TOKENS, score_conversations
from ontogeny.corpus.shards import Shard, read_shard
from ontogeny.environments.own import environments_of
from ontogeny.evaluate.series import read_series
from ontogeny.model.transformer import Transformer
from ontogeny.plan.optimization import OverRollouts
from ontogeny.stages.dpo import DPO
from ontogeny.stages.drift import Drift
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.stages.measure import Measure
from ontogeny.stages.pairs import Pairs

CONTEXT = 96
NAME = "tasks/sums"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def model(bench: Bench) -> Artifact:
    made = sometimes_right(CONTEXT)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def chats(bench: Bench) -> Artifact:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Count to {n % 7}."},
                {"role": "assistant", "content": " ".join(map(str, range(n % 7 + 1)))},
                {"role": "user", "content": "And " + "on " * n},
                {"role": "assistant", "content": "No."},
            ]
        }
        for n in range(40)
    ]
    stage = LoadConversations(sources=(f"chat=path:{bench.rows('c.jsonl', rows)}",), heldout=0.5)
    return bench.play(stage, bench.tokenizer)[0]


def tasks(bench: Bench) -> Artifact:
    rows = [{"question": f"{n} less {n - 3}?", "answer": 3} for n in range(60)]
    stage = LoadTasks(sources=(f"sums=path:{bench.rows('t.jsonl', rows)}",), verifier="integer")
    return bench.play(stage, bench.tokenizer)[0]


def plain(network: Transformer, shard: Shard, window: int) -> tuple[list[float], list[int]]:
    """Every token the assistant says alone, behind all before it."""
    nats, counts = [0.0] * len(shard), [0] * len(shard)
    for d in range(len(shard)):
        ids, weights = shard.document(d).astype(np.int64), shard.document_weights(d)
        for position in range(1, min(len(ids), window + 1)):
            if weights[position]:
                state = network.new_state(1, CONTEXT)
                logits = network.extend(
                    torch.from_numpy(ids[None, :position]), [position], [0], state
                )
                nats[d] -= float(torch.log_softmax(logits.double(), -1)[0, ids[position]])
                counts[d] += 1
    return nats, counts


@pytest.mark.parametrize("window", [0, 12, 40])
def test_nats_of_conversations_are_those_of_what_the_assistant_says(
    bench: Bench, window: int
) -> None:
    network, _ = load_model(model(bench))
    shard = read_shard(chats(bench), "heldout", "chat")
    expected, counts = plain(network, shard, window or CONTEXT)
    nats, tokens, read = score_conversations(network, shard, window)
    assert tokens.tolist() == counts
    assert nats == pytest.approx(expected, rel=1e-5, abs=1e-6)
    lengths = np.diff(shard.starts)
    assert read == sum(min(int(each), (window or CONTEXT) + 1) for each in lengths)
    assert 0 < sum(counts) < shard.tokens / 2
    if not window:
        assert sum(counts) == int(shard.weights.sum())  # type: ignore[union-attr]
    assert (max(lengths) > 41) and (min(lengths) < 41)


def test_nats_do_not_depend_on_what_shares_a_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = load_model(model(bench))
    shard = read_shard(chats(bench), "train", "chat")
    together, _, _ = score_conversations(network, shard)
    assert len(shard) * CONTEXT < TOKENS
    monkeypatch.setattr("ontogeny.bridge.scoring.TOKENS", 2 * CONTEXT)
    assert score_conversations(network, shard)[0] == pytest.approx(together, rel=1e-5)


def test_a_measurement_of_conversations_and_own_tasks_keeps_a_unit_each(bench: Bench) -> None:
    made, said, asked = model(bench), chats(bench), tasks(bench)
    stage = Measure(domains=("chat",), window=32, exam={NAME: 0, "vowels-3": 4}, max_tokens=3)
    measured, told = bench.play(stage, made, said, asked)
    series = read_series(measured)
    shard = read_shard(said, "heldout", "chat")
    nats, tokens, _ = score_conversations(load_model(made)[0], shard, 32)
    assert series["chat.nats"].values == pytest.approx(nats.tolist())
    assert series["chat.nats"].weights == tokens.tolist()
    rows = lines(asked, "tasks.jsonl")
    exam = {row["prompt"]: row["answer"] for row in rows if row["split"] == "exam"}
    answers = [row for row in lines(measured, "answers.jsonl") if row["environment"] == NAME]
    assert {row["prompt"]: row["gold"] for row in answers} == exam
    assert len(series[f"exam.{NAME}.score"].units) == len(exam) >= 3
    assert len(series["exam.score"].units) == len(exam) + 4
    assert told.metrics["exam.score"]["units"] == len(exam) + 4


def test_a_window_in_which_nobody_answers_is_refused(bench: Bench) -> None:
    stage = Measure(domains=("chat",), window=3)
    with pytest.raises(InputError, match="no answer of 'chat' begins in the first 3 tokens"):
        bench.play(stage, model(bench), chats(bench))


PLAY = {"steps": 2, "peak_lr": 0.01, "prompts": 4, "group": 4, "max_tokens": 3}


def grpo(**environments: float) -> GRPO:
    return GRPO(**PLAY, environments=environments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tasks/sum", "tasks/chat"])
def test_a_name_that_no_parent_brings_is_refused_by_every_stage(bench: Bench, name: str) -> None:
    made, asked = model(bench), tasks(bench)
    stages: list[tuple[Any, tuple[Artifact, ...]]] = [
        (grpo(**{name: 1.0}), (made,)),
        (Measure(domains=(), exam={name: 1}), (made,)),
        (Pairs(environments={name: 4}), (made,)),
        (Drift(environments={name: 4}), (made, made)),
    ]
    for stage, parents in stages:
        with pytest.raises(InputError, match=rf"no tasks '{name}' among the parents \({NAME}\)"):
            bench.play(stage, *parents, asked)
        with pytest.raises(InputError, match="none is given"):
            bench.play(stage, *parents)


def test_rollouts_play_training_tasks_of_ones_own(bench: Bench) -> None:
    made, asked = model(bench), tasks(bench)
    network, tokenizer = load_model(made)
    play = OverRollouts(**PLAY, environments={NAME: 1.0, "vowels-3": 1.0})  # type: ignore[arg-type]
    worlds = environments_of(play.environments, [asked])
    steps = RolloutSteps(network, tokenizer, replace(play, prompts=24), 0, None, worlds)
    answered = steps.rollout(0)
    train = {row["prompt"] for row in lines(asked, "tasks.jsonl") if row["split"] == "train"}
    own = [each for each in answered if each.environment == NAME]
    assert {each.task.prompt for each in own} <= train
    assert 0 < len(own) < len(answered) == 24 * 4
    assert {each.score for each in own} == {0.0, 1.0}
    assert all(each.score == float(each.answer.strip().rstrip(".") == "3") for each in own)
    again = RolloutSteps(network, tokenizer, replace(play, prompts=24), 0, None, worlds).rollout(0)
    assert [each.answer for each in again] == [each.answer for each in answered]


def test_every_stage_of_answers_takes_own_tasks_and_pairs(bench: Bench) -> None:
    made, asked = model(bench), tasks(bench)
    trained, told = bench.play(grpo(**{NAME: 1.0}), made, asked)
    assert told.metrics["answers"] == 32
    measured, _ = bench.play(Drift(environments={NAME: 0}, max_tokens=3), made, trained, asked)
    assert len(read_series(measured)["kl"].units) >= 3
    sampled, _ = bench.play(Pairs(environments={NAME: 0}, answers=6, max_tokens=3), made, asked)
    assert lines(sampled, "pairs.jsonl")
    written = [{"prompt": f"{n}?", "chosen": "Yes", "rejected": "No"} for n in range(20)]
    likes = LoadPairs(sources=(f"p=path:{bench.rows('p.jsonl', written)}",), heldout=0.3)
    known, _ = bench.play(likes, bench.tokenizer)
    preferred, told = bench.play(DPO(peak_lr=0.001, pairs_a_step=4), made, known)
    assert told.metrics["pairs"] == len(lines(known, "pairs.jsonl"))
    assert preferred.record.kind == "model"
