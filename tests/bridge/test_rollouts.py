"""Episodes of several turns: learnt where the policy chose, as sampled, with one credit each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.conversing import Verified, World, fond
from support.conversing import learn as learnt

from ontogeny.base.errors import InputError
from ontogeny.bridge.packing import pack, row_width
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.bridge.rollouts import Episode, Player
from ontogeny.environments.catalogue import environment
from ontogeny.environments.playable import Playable
from ontogeny.infer.scoring import score
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Rollouts
from ontogeny.objectives.policy_gradient import GRPO, Normalise
from ontogeny.plan.optimization import OverRollouts, Turns
from ontogeny.rollout.rolled import repeats
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train as train_tokenizer
from ontogeny.train.loop import Report

PLAY = OverRollouts(
    peak_lr=0.02,
    steps=3,
    environments={"two-turns": 1.0},
    prompts=4,
    group=4,
    max_tokens=3,
    turns=Turns(context=160),
)
WORLDS: Mapping[str, Playable] = {"two-turns": World()}
FIELDS = {"step", "rewards", "verified", "lengths", "repeats", "distinct", "signs"}
VOWELS: Mapping[str, Playable] = {"vowels-3": environment("vowels-3")}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["Say the first word. And the second? " * 5], 300)


@pytest.fixture
def model(tokenizer: Tokenizer) -> Transformer:
    return fond(tokenizer, context=512, strength=5.0)


def steps_of(
    model: Transformer,
    tokenizer: Tokenizer,
    worlds: Mapping[str, Playable] = WORLDS,
    reference: Transformer | None = None,
    **play: Any,
) -> RolloutSteps:
    return RolloutSteps(model, tokenizer, replace(PLAY, **play), 7, reference, worlds)


def rolled(steps: RolloutSteps) -> list[tuple[list[Episode], list[Rollouts]]]:
    """Episodes and batches of every step; nothing is learnt, so playing again is the same."""
    found = []
    for number in range(steps.play.steps):
        batches: list[Rollouts] = next(steps)  # type: ignore[assignment]
        found.append((steps.rollout(number), batches))
    return found


def learn(model: Transformer, steps: RolloutSteps, objective: GRPO | None = None) -> list[Report]:
    return learnt(model, steps, objective or GRPO())


def log_probs(model: Transformer, batch: Rollouts) -> torch.Tensor:
    """Of the learnt tokens, as the trainer computes them."""
    with torch.no_grad():
        found_BT = model(batch, GRPO().needs).log_probs_BT
    assert found_BT is not None
    return found_BT[batch.weights_BT > 0]


@pytest.mark.parity
@pytest.mark.parametrize("forced", [False, True])
def test_the_trainer_finds_every_turn_as_likely_as_it_was_when_sampled(
    tokenizer: Tokenizer, forced: bool
) -> None:
    """In a made-up world and at the library's desk, where a grammar leaves little choice."""
    model = fond(tokenizer, ("a", "b"), context=2048)
    settings = {"environments": {"library-1": 1.0}, "prompts": 2, "group": 2, "max_tokens": 40}
    turns = Turns(most=3, result=60, forced=forced)
    library = RolloutSteps(model, tokenizer, replace(PLAY, **settings, turns=turns), 7)  # type: ignore[arg-type]
    for steps in (library, steps_of(model, tokenizer)):
        turned = 0
        for episodes, batches in rolled(steps):
            turned += sum(len(each.trajectory.turns) > 1 for each in episodes)
            for batch in batches:
                gaps = (log_probs(model, batch) - batch.sampled_BT[batch.weights_BT > 0]).abs()
                assert float(batch.sampled_BT.min()) < -1
                assert float(gaps.max()) < 1e-4
        assert turned >= 4 or not (forced or steps is not library)


def test_loss_falls_on_what_the_policy_chose_and_nothing_is_encoded_again(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    ((episodes, (batch,)),) = rolled(steps_of(model, tokenizer, steps=1))
    assert {len(each.trajectory.turns) for each in episodes} == {1, 2}
    inside = batch.weights_BT > 0
    said = [turn.completion.ids for each in episodes for turn in each.trajectory.turns]
    assert batch.targets_BT[inside].tolist() == [id_ for ids in said for id_ in ids]
    assert batch.turns == len(said) > len(episodes) == batch.answers
    lengths = torch.bincount(batch.turn_BT[inside], minlength=batch.turns)  # type: ignore[index]
    assert lengths.tolist() == [len(ids) for ids in said]
    stood = [
        tuple(batch.tokens_BT[row, start : start + length].tolist())
        for row, documents in enumerate(batch.documents or ())
        for start, length in zip(_starts(documents), documents, strict=True)
    ]
    for each in episodes:
        assert each.trajectory.ids()[:-1] in stood
    # what was read may be any token as a target: nothing is learnt from it
    other = replace(batch, targets_BT=batch.targets_BT.where(inside, 5))
    gradients = []
    for each in (batch, other):
        model.zero_grad()
        GRPO()(model(each, GRPO().needs), each).terms["policy"].sum.backward()  # type: ignore[no-untyped-call]
        gradients.append([value.grad.clone() for value in model.parameters()])  # type: ignore[union-attr]
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
    assert any(bool(value.any()) for value in gradients[0])


def _starts(lengths: Sequence[int]) -> list[int]:
    return [sum(lengths[:n]) for n in range(len(lengths))]


def test_a_packed_episode_is_the_concatenation_scored(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    """The same numbers from the likelihood path, which knows no packing and no turns."""
    ((episodes, (batch,)),) = rolled(steps_of(model, tokenizer, steps=1))
    found: list[float] = []
    for each in episodes:
        ids, sampled = each.trajectory.ids(), each.trajectory.sampled()
        ((values, _),) = score(model, [(ids[:1], ids[1:])])
        found += [value for value, own in zip(values, sampled[1:], strict=True) if own]
    torch.testing.assert_close(log_probs(model, batch), torch.tensor(found), rtol=0, atol=1e-4)
    steps = steps_of(model, tokenizer, reference=model, steps=1, beta=0.1)
    ((_, (again,)),) = rolled(steps)
    assert again.reference_BT is not None
    reference = again.reference_BT[again.weights_BT > 0]
    torch.testing.assert_close(reference, torch.tensor(found), rtol=0, atol=1e-4)


def test_an_episode_is_one_answer_and_its_turns_may_weigh_alike(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    """By turn: the mean over a turn's tokens, then over all turns of the step."""
    ((episodes, (batch,)),) = rolled(steps_of(model, tokenizer, steps=1))
    assert (batch.advantage_S != 0).any()
    turns = [
        (float(advantage), len(turn.completion.ids))
        for each, advantage in zip(episodes, batch.advantage_S, strict=True)
        for turn in each.trajectory.turns
    ]
    expected = {
        "turn": sum(advantage for advantage, _ in turns) / len(turns),
        "token": sum(a * n for a, n in turns) / sum(n for _, n in turns),
        "answer": float(batch.advantage_S.mean()),
    }
    for normalise, gain in expected.items():
        objective = GRPO(normalise=normalise)  # type: ignore[arg-type]
        loss = objective(model(batch, objective.needs), batch)
        term = loss.terms["policy"]
        assert float(term.sum.detach()) / term.count == pytest.approx(-gain, abs=1e-4)


@pytest.mark.parametrize("normalise", ["turn", "answer"])
def test_micro_batches_of_episodes_change_nothing_but_rounding(
    tokenizer: Tokenizer, normalise: Normalise
) -> None:
    found = []
    for micro_rows in (32, 1):
        model = fond(tokenizer, strength=5.0)
        steps = steps_of(model, tokenizer, steps=1, prompts=8, micro_rows=micro_rows)
        found.append(learn(model, steps, GRPO(normalise=normalise))[0])
    whole, parts = found
    assert len(whole.names) == 1
    assert len(parts.names) >= 4
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
    assert parts.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-4)
    assert parts.counts == whole.counts


def test_restoring_plays_the_same_next_step_and_keeps_the_record(
    tokenizer: Tokenizer,
) -> None:
    """Through JSON, as a checkpoint holds it."""
    whole = steps_of(fond(tokenizer, strength=5.0), tokenizer)
    rolled(whole)
    first = steps_of(fond(tokenizer, strength=5.0), tokenizer)
    next(first)
    other = steps_of(fond(tokenizer, strength=5.0), tokenizer)
    other.restore(json.loads(json.dumps(first.state(), sort_keys=True)))
    assert other.rollout(1) == whole.rollout(1)
    next(other)
    next(other)
    assert other.state() == whole.state()


def test_the_record_tells_what_was_learnt_from_and_what_was_not(tokenizer: Tokenizer) -> None:
    told: list[Mapping[str, Any]] = []
    model = fond(tokenizer, strength=5.0)
    play, worlds = replace(PLAY, shuffled=True), {"two-turns": Verified()}
    steps = RolloutSteps(model, tokenizer, play, 7, None, worlds, told.append)
    for number, (episodes, _) in enumerate(rolled(steps), start=1):
        row = steps.rows[number - 1]
        assert row is told[number - 1]
        assert row["step"] == number
        assert row["rewards"] == [each.score for each in episodes]
        assert row["verified"] == [each.trajectory.notes["verified"] for each in episodes]
        assert row["lengths"] == [sum(each.trajectory.sampled()) for each in episodes]
        assert row["signs"] == {"said_a": sum("a" in each.answer for each in episodes)}
        assert 0 < row["distinct"] < 1
        assert set(row) == FIELDS
    steps = steps_of(model, tokenizer, steps=1)
    next(steps)
    assert set(steps.rows[0]["verified"]) == {None}
    assert steps.rows[0]["signs"] == {}


def test_repeats_are_the_share_of_4_grams_that_stood_before() -> None:
    assert repeats([1, 2, 3]) == 0.0
    assert repeats([1, 2, 3, 4, 5]) == 0.0
    assert repeats([7] * 8) == pytest.approx(4 / 5)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_skips_its_group_and_many_end_the_run(
    tokenizer: Tokenizer, broken: float
) -> None:
    """Case B 24: one group in forty is counted and teaches nothing; above 5 % the run stops."""
    model = fond(tokenizer, strength=5.0)
    once = World(faulty=lambda number: broken if number == 5 else None)
    steps = steps_of(model, tokenizer, {"two-turns": once}, steps=10)
    (batch,), *rest = steps
    assert isinstance(batch, Rollouts)
    assert batch.advantage_S.isfinite().all()
    assert not batch.advantage_S[4:8].any()
    assert batch.advantage_S[:4].any()
    assert batch.reward_S.isfinite().all()
    assert steps.unjudged == 1
    assert len(rest) == 9
    assert steps.rows[0]["rewards"][5] is None
    assert json.loads(json.dumps(steps.state(), allow_nan=False))["unjudged"] == 1
    often = World(faulty=lambda number: broken if number % 16 == 3 else None)
    steps = steps_of(model, tokenizer, {"two-turns": often}, steps=10)
    with pytest.raises(InputError, match="2 of 8 groups have a reward that is no finite") as caught:
        learn(model, steps)
    assert "more than 5%" in str(caught.value)
    assert all(bool(value.isfinite().all()) for value in model.parameters())


@pytest.mark.parametrize("reward", [0.0, 0.1, 1.0])
def test_a_constant_reward_teaches_nothing_and_the_run_goes_on(
    tokenizer: Tokenizer, reward: float
) -> None:
    """Case B 24, zero variance: no credit, no NaN."""
    model = fond(tokenizer, strength=5.0)
    before = [value.clone() for value in model.parameters()]
    steps = steps_of(model, tokenizer, {"two-turns": World(faulty=lambda _: reward)})
    reports = learn(model, steps)
    assert [report.metrics["no_credit"] for report in reports] == [1.0] * 3
    assert [report.gradient_norm for report in reports] == [0.0] * 3
    assert not any(report.skipped for report in reports)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "ends", "length"),
    [
        ("two-turns", True, 2),
        ("two-turns", False, 3),
        ("vowels-3", True, 1),
        ("vowels-3", False, 3),
    ],
)
def test_rollouts_that_are_all_empty_or_all_cut_do_no_harm(
    tokenizer: Tokenizer, name: str, ends: bool, length: int
) -> None:
    """Case B 25: nothing but the end of a turn, or nothing but its longest."""
    model = fond(tokenizer, () if ends else ("a", "b"), ends=ends, strength=40.0)
    play = replace(PLAY, environments={name: 1.0})
    steps = RolloutSteps(model, tokenizer, play, 7, None, {**VOWELS, **WORLDS})
    reports = learn(model, steps)
    for row, report in zip(steps.rows, reports, strict=True):
        assert set(row["lengths"]) == {length}
        assert math.isfinite(report.loss)
        assert math.isfinite(report.gradient_norm)
    assert all(bool(value.isfinite().all()) for value in model.parameters())


def test_an_episode_is_cut_at_its_context_and_scored(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    many = replace(PLAY, group=32)
    opening = len(Player(model, tokenizer, PLAY, 7, WORLDS).play(0)[0].trajectory.turns[0].context)
    turns = Turns(context=opening + 4)
    cut = Player(model, tokenizer, replace(many, turns=turns), 7, WORLDS).play(0)
    assert {each.trajectory.notes["end"] for each in cut} <= {"context", "length"}
    assert all(len(each.trajectory.ids()) <= opening + 4 for each in cut)
    assert {each.score for each in cut} <= {0.0, 0.5}
    assert 0.5 in {each.score for each in cut}
    for context, reason in [(opening, "leaves no room for a turn"), (9999, "context 512; lower")]:
        play = replace(PLAY, turns=Turns(context=context))
        with pytest.raises(InputError, match=reason):
            Player(model, tokenizer, play, 7, WORLDS).play(0)


def test_a_stage_knows_how_much_its_longest_episodes_will_hold(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    steps = steps_of(model, tokenizer, turns=Turns(context=300), prompts=6)
    load = steps.load()
    assert load.width == 299
    assert load.rows == load.sampling == 6 * 4
    assert load.cached == 24 * 320
    longest = row_width(299, 512, 256)
    for episodes, batches in rolled(steps):
        assert max(len(each.trajectory.ids()) for each in episodes) <= 300
        assert sum(len(batch.tokens_BT) for batch in batches) <= load.rows
        assert all(batch.tokens_BT.shape[1] <= longest for batch in batches)
    policy = steps.player._policy
    assert policy is not None
    assert policy.engine.length * load.sampling == load.cached


def test_questions_and_episodes_share_a_step_and_groups_stand_side_by_side(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    play = replace(PLAY, environments={"two-turns": 1.0, "vowels-3": 1.0}, prompts=8)
    player = Player(model, tokenizer, play, 7, {**VOWELS, **WORLDS})
    episodes = player.play(0)
    names = [each.environment for each in episodes]
    assert names == sorted(names, key=["vowels-3", "two-turns"].index)
    assert set(names) == {"vowels-3", "two-turns"}
    for first in range(0, len(episodes), 4):
        assert len({each.task.id for each in episodes[first : first + 4]}) == 1
    packed = pack([each.told() for each in episodes], 256, tokenizer.pad)
    assert packed.spread([each.log_probs() for each in episodes]).isfinite().all()
    assert player.play(0) == episodes
