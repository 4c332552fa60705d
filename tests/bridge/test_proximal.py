"""PPO's rounds: credit once, ratios 1 at first, bad judgements left out, bitwise after a kill."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.bench import Bench, small_tokenizer, sometimes_right

from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.bridge.proximal import ProximalSteps
from ontogeny.model.tensor_file import read_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.objectives.proximal import PPO, Experience, whitened
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.rewards import OverExperience
from ontogeny.rollout.reward import PlainReward, Reward
from ontogeny.stages import ppo
from ontogeny.stages.reward_model import RewardModel
from ontogeny.train.checkpoint import Checkpoints, Training
from ontogeny.train.loop import Counters, Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD

PLAY = OverExperience(
    peak_lr=0.005,
    steps=3,
    environments={"vowels-3": 1.0},
    prompts=8,
    group=2,
    max_tokens=6,
    epochs=2,
    minibatches=2,
)
CONTEXT = 128
THREE = small_tokenizer().encode("3")[0]


def model_of() -> Transformer:
    model = sometimes_right(CONTEXT)
    model.add_score()
    return model


def steps_of(model: Transformer, reward: Reward | None = None, **play: Any) -> ProximalSteps:
    reference = sometimes_right(CONTEXT)
    game = replace(PLAY, **play)
    return ProximalSteps(model, small_tokenizer(), game, 7, reference, reward)


def optimizer_of(model: Transformer) -> Optimizer:
    return Optimizer(model, OptimizerSettings(peak_lr=PLAY.peak_lr, weight_decay=0.0), WSD(100))


def learn(model: Transformer, steps: ProximalSteps) -> list[Report]:
    reports: list[Report] = []
    train(model, PPO(), steps, optimizer_of(model), [reports.append])
    return reports


def said(batches: list[Any]) -> list[tuple[int, ...]]:
    """The answers of an update."""
    found = []
    for batch in batches:
        for number in range(batch.answers):
            mine = (batch.answer_BT == number) & (batch.weights_BT > 0)
            found.append(tuple(batch.targets_BT[mine].tolist()))
    return found


def test_a_round_is_learnt_from_once_an_epoch_in_another_division() -> None:
    steps = steps_of(model_of())
    updates = [next(steps) for _ in range(4)]
    first, second = ([*said(updates[n]), *said(updates[n + 1])] for n in (0, 2))
    assert len(first) == 16
    assert sorted(first) == sorted(second)
    assert sorted(said(updates[0])) != sorted(said(updates[2]))
    assert steps.played == 1
    next(steps)
    assert steps.played == 2


def test_the_ratio_is_1_before_the_first_update_and_not_behind_it() -> None:
    steps = steps_of(model_of())
    drifts = [report.metrics["drift"] for report in learn(model_of(), steps)]
    assert steps.gap < 1e-4
    first = drifts[0]
    assert first < 1e-4
    model = model_of()
    own = steps_of(model, minibatches=1)
    drifts = [report.metrics["drift"] for report in learn(model, own)]
    assert all(each < 1e-4 for each in drifts[0::2])
    assert all(each > 1e-3 for each in drifts[1::2])
    assert own.gap < 1e-4
    clipped = [report.metrics["clipped"] for report in learn(model_of(), steps_of(model_of()))]
    assert clipped[0] == 0


def test_credit_is_whitened_over_the_whole_round() -> None:
    (batch,) = next(steps_of(model_of(), minibatches=1))
    assert isinstance(batch, Experience)
    inside = batch.weights_BT > 0
    credit = batch.advantage_BT[inside]
    assert float(credit.mean()) == pytest.approx(0, abs=1e-5)
    assert float(credit.var(correction=0)) == pytest.approx(1, abs=1e-4)
    plain = batch.return_BT[inside] - batch.value_BT[inside]
    torch.testing.assert_close(credit, whitened(plain), rtol=1e-4, atol=1e-5)


def test_an_answer_that_does_not_end_pays() -> None:
    never = PlainReward(lambda _: 0.0)
    model = model_of()
    (batch,) = next(steps_of(model, never, minibatches=1, max_tokens=2, kl=0.0, gamma=1.0))
    assert isinstance(batch, Experience)
    answers = said([batch])
    ended = [ids[-1] == small_tokenizer().end_of_turn for ids in answers]
    assert 0 < sum(ended) < len(ended)
    for number, done in enumerate(ended):
        mine = (batch.answer_BT == number) & (batch.weights_BT > 0)
        wanted = batch.return_BT[mine]  # values are 0 at first, so this is what came
        assert float(wanted[-1]) == pytest.approx(0.0 if done else -1.0, abs=1e-6)


def killed_at(tmp_path: Path, updates: int, *, drop: str = "") -> dict[str, torch.Tensor]:
    """Weights at the end of a run that died behind the rollout after so many updates."""
    model, seen = model_of(), 0
    steps, optimizer = steps_of(model), optimizer_of(model)
    training = Training(model, optimizer, steps, Counters())
    checkpoints = Checkpoints(tmp_path / f"killed-{updates}{drop}")

    class Killed(Exception):
        pass

    def hook(_: Report) -> None:
        nonlocal seen
        seen += 1
        if seen == updates:
            checkpoints.save(training)
        if seen > updates:  # one more update is lost
            raise Killed

    with pytest.raises(Killed):
        train(model, PPO(), steps, optimizer, [hook], training.counters)
    model = model_of()
    steps, optimizer = steps_of(model), optimizer_of(model)
    training = Training(model, optimizer, steps, Counters())
    assert checkpoints.restore(training).path is not None
    if drop:
        steps.restore({**steps.state(), drop: [] if drop == "lessons" else 0})
    train(model, PPO(), steps, optimizer, [], training.counters)
    return named_weights(model)


@pytest.mark.parametrize("updates", [1, 2, 4, 7])
def test_a_kill_anywhere_changes_no_bit(tmp_path: Path, updates: int) -> None:
    model = model_of()
    whole = steps_of(model)
    learn(model, whole)
    found = killed_at(tmp_path, updates)
    for name, tensor in named_weights(model).items():
        assert torch.equal(tensor, found[name]), name


@pytest.mark.parametrize("drop", ["lessons", "taken", "played"])
def test_without_any_part_of_its_state_a_resumed_run_differs(tmp_path: Path, drop: str) -> None:
    model = model_of()
    learn(model, steps_of(model))
    found = killed_at(tmp_path, 6, drop=drop)
    assert any(not torch.equal(t, found[name]) for name, t in named_weights(model).items())


def test_a_state_is_plain_json_and_gives_the_same_batches() -> None:
    steps = steps_of(model_of())
    next(steps)
    state = json.loads(json.dumps(steps.state(), allow_nan=False))
    other = steps_of(model_of())
    other.restore(state)
    for one, two in zip(next(steps), next(other), strict=True):
        assert isinstance(one, Experience)
        assert isinstance(two, Experience)
        for name in ("tokens_BT", "sampled_BT", "advantage_BT", "value_BT", "return_BT"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name


def test_one_bad_judgement_is_left_out_and_counted() -> None:
    calls = iter(range(10_000))
    reward = PlainReward(lambda ids: math.nan if next(calls) == 3 else float(len(ids)))
    steps = steps_of(model_of(), reward, minibatches=1)
    (batch,) = next(steps)
    assert isinstance(batch, Experience)
    assert batch.answers == 15
    assert batch.advantage_BT.isfinite().all()
    assert steps.unjudged == 1
    assert steps.rows[0]["rewards"][3] is None


def test_a_verdict_beside_the_reward_that_is_no_number_is_written_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = steps_of(model_of(), PlainReward(lambda ids: float(len(ids))))
    play = steps.player.play
    monkeypatch.setattr(
        steps.player, "play", lambda step: [replace(each, score=math.nan) for each in play(step)]
    )
    next(steps)
    assert steps.rows[0]["verified"] == [None] * 16
    json.dumps(steps.state(), allow_nan=False)


def test_a_part_of_a_round_that_nothing_is_left_of_changes_nothing() -> None:
    calls = iter(range(10_000))
    reward = PlainReward(lambda ids: math.nan if next(calls) == 0 else float(len(ids)))
    steps = steps_of(model_of(), reward, prompts=2, group=1, minibatches=2, steps=1)
    assert sorted(len(said(next(steps))) for _ in range(2)) == [0, 1]
    calls = iter(range(10_000))
    model = model_of()
    steps = steps_of(model, reward, prompts=2, group=1, minibatches=2, steps=1)
    assert all(math.isfinite(report.loss) for report in learn(model, steps))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_many_bad_judgements_stop_the_run_with_a_reason(bad: float) -> None:
    calls = iter(range(10_000))
    reward = PlainReward(lambda _: bad if next(calls) % 4 == 0 else 1.0)
    with pytest.raises(InputError, match=r"judged by no finite number.*reward model"):
        next(steps_of(model_of(), reward))


@pytest.mark.parametrize("limit", [1, 6])
def test_a_judge_that_finds_everything_equal_teaches_no_nonsense(limit: int) -> None:
    model = model_of()
    play = {"kl": 0.0, "missing_end": 0.0, "lam": 1.0, "max_tokens": limit}
    before = {name: tensor.clone() for name, tensor in named_weights(model).items()}
    steps = steps_of(model, PlainReward(lambda _: 0.0), **play)
    for report in learn(model, steps):
        assert not report.skipped
        assert math.isfinite(report.loss)
    same = [torch.equal(before[name], each) for name, each in named_weights(model).items()]
    assert all(same), "no reward, no value, no credit: no change"


def test_answers_that_are_all_empty_or_all_too_long_are_learnt_from() -> None:
    model = model_of()
    with torch.no_grad():  # ends every turn at once
        model.embedding[small_tokenizer().end_of_turn, 0] = 60.0
    assert all(math.isfinite(report.loss) for report in learn(model, steps_of(model)))
    model = model_of()
    with torch.no_grad():
        model.embedding[small_tokenizer().end_of_turn] = -model.embedding[THREE]
    assert all(math.isfinite(report.loss) for report in learn(model, steps_of(model)))


def test_what_is_rewarded_becomes_likelier_and_the_value_foretells_it() -> None:
    model = model_of()
    reward = PlainReward(lambda ids: float(THREE in ids[-6:]))
    steps = steps_of(model, reward, steps=10, prompts=32, group=1, epochs=4, minibatches=1, kl=0.01)
    learn(model, steps)
    scores = [float(np.mean(row["rewards"])) for row in steps.rows]
    assert scores[-1] > scores[0] + 0.2
    assert steps.rows[0]["explained"] == 0
    assert steps.rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert steps.rows[-1]["kl"] > 0.01


def test_shuffled_scores_are_the_same_ones_in_other_hands() -> None:
    steps = steps_of(model_of(), PlainReward(lambda ids: float(sum(ids))), shuffled=True)
    next(steps)
    played, learnt = steps.rows[0]["rewards"], [each.score for each in steps.lessons]
    assert sorted(played) == sorted(learnt)
    assert played != learnt


@pytest.mark.parametrize("adapter", [None, LoRA(rank=2)])
def test_the_stage_writes_a_plain_model_and_what_it_rolled_out(
    tmp_path: Path, adapter: LoRA | None
) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), sometimes_right(CONTEXT), bench.tokenizer, chats=True)
    parent = bench.keep("sft", "model")
    rows = [{"task": "t", "prompt": [5, n], "chosen": [THREE], "rejected": [60]} for n in range(20)]
    payload = bench.payload()
    (payload / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = bench.keep("pairs", "pairs")
    judge, _ = bench.play(RewardModel(peak_lr=0.01, pairs_a_step=8), parent, pairs)
    play = {"environments": {"vowels-3": 1.0}, "prompts": 8, "steps": 2, "max_tokens": 4}
    stage = ppo.PPO(peak_lr=0.005, value_start="reward", adapter=adapter, **play)
    made, told = bench.play(stage, parent, judge)
    old = read_tensors(parent.path / "model.safetensors")
    new = read_tensors(made.path / "model.safetensors")
    assert new.keys() == old.keys(), "the value's head is gone"
    assert any(not torch.equal(new[name], old[name]) for name in old)
    rows = [json.loads(line) for line in (made.path / "rollouts.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert rows[0]["rewards"] != rows[0]["verified"]
    assert set(rows[0]["verified"]) <= {0.0, 1.0}
    assert told.metrics["ratio_gap"] < 1e-4
    assert told.metrics["episodes"] == 16
    if adapter is not None:
        assert (made.path / "adapter" / "adapter_model.safetensors").is_file()
    with pytest.raises(InputError, match="there is no reward model"):
        bench.play(ppo.PPO(peak_lr=0.005, value_start="reward", **play), parent)
