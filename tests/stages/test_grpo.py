"""GRPO as a stage: what it writes, which environments it plays, what it says of mistakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.bench import Bench, small_tokenizer
from support.conversing import fond

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import identity_dict, override
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.models import load_model, save_model
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.objectives.batch import Batch
from ontogeny.plan.optimization import Turns
from ontogeny.rollout.rolled import FILE
from ontogeny.run.work import Work
from ontogeny.stages.grpo import GRPO

STAGE = GRPO(
    peak_lr=0.01,
    steps=2,
    environments={"library-1": 1.0, "vowels-3": 0.2},
    prompts=2,
    group=2,
    max_tokens=12,
    turns=Turns(most=2, result=40),
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def model(bench: Bench) -> Artifact:
    made = fond(small_tokenizer(), ("3",), context=1024)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


@pytest.mark.parametrize("forced", [False, True])
def test_tools_and_questions_are_played_by_one_stage_and_recorded(
    bench: Bench, forced: bool
) -> None:
    parent = model(bench)
    stage = replace(STAGE, turns=replace(STAGE.turns, forced=forced))
    made, told = bench.play(stage, parent)
    assert told.metrics["answers"] == 8
    assert told.metrics["unjudged_groups"] == 0
    rows = [json.loads(line) for line in made.file(FILE).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert {len(row[name]) for name in ("rewards", "verified", "lengths", "repeats")} == {4}
        assert max(row["lengths"]) <= 2 * 12
        assert not forced or max(row["lengths"]) == 2 * 12
    load_model(made)
    again, _ = bench.play(stage, parent)
    assert again.file(FILE).read_bytes() == made.file(FILE).read_bytes()


class Killed(Exception):
    pass


def test_episodes_killed_between_rollout_and_update_are_played_again_bit_by_bit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model and record; the second session begins with a new engine and old weights."""
    parent = model(bench)
    stage = replace(STAGE, steps=4, checkpoint_seconds=0.0)
    whole, _ = bench.play(stage, parent)
    work = Work("played", bench.payload().parent, 0, Events(), StopRequest())
    play = RolloutSteps.__next__

    def dying(steps: RolloutSteps) -> list[Batch]:
        batches = play(steps)
        if steps.taken == 3:
            raise Killed
        return batches

    with monkeypatch.context() as patch:
        patch.setattr(RolloutSteps, "__next__", dying)
        with pytest.raises(Killed):
            stage(work, parent)
    assert list(work.checkpoints.glob("step-*/complete.json"))
    stage(work, parent)
    names = [path.name for path in work.payload.iterdir() if path.is_file()]
    assert {"model.safetensors", FILE} <= set(names)
    for name in names:
        assert (work.payload / name).read_bytes() == whole.file(name).read_bytes(), name


def test_what_the_reference_reads_is_counted(bench: Bench) -> None:
    parent = model(bench)
    stage = replace(STAGE, environments={"vowels-3": 1.0}, steps=1)
    (_, alone), (_, beside) = (bench.play(replace(stage, beta=b), parent) for b in (0.0, 0.1))
    assert alone.tokens == beside.tokens
    forward = load_model(parent)[0].shape.forward_flops_per_token(256)
    assert beside.flops - alone.flops == pytest.approx(beside.tokens * forward)


def test_turns_leave_the_identity_of_what_was_made_before() -> None:
    assert "turns" not in identity_dict(replace(STAGE, turns=Turns()))
    changed = override(STAGE, ("turns.most", "5"), ("turns.forced", "true"))
    assert changed.turns == Turns(most=5, result=40, forced=True)
    assert identity_dict(changed)["turns"]["most"] == 5


def test_what_cannot_be_played_is_refused_in_one_line(bench: Bench) -> None:
    with pytest.raises(InputError, match="no environment 'library-9'"):
        replace(STAGE, environments={"library-9": 1.0})
    with pytest.raises(InputError, match="group at least 2"):
        replace(STAGE, group=1)
    with pytest.raises(InputError, match=r"turns\.context 0 or more"):
        Turns(context=-1)
    parent = model(bench)
    for turns, reason in [
        (Turns(context=2048), "turns.context is 2048, the model's context 1024; lower it"),
        (Turns(context=40), "leaves no room for a turn: an episode has 40 tokens"),
    ]:
        with pytest.raises(InputError, match=reason):
            bench.play(replace(STAGE, environments={"library-1": 1.0}, turns=turns), parent)
