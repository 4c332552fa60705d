"""Resuming equals no interruption, bit by bit; and no part of the state is idle."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ontogeny.base.errors import CorruptArtifact, NoSpace, OntogenyError, Stopped
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.loss import Loss, Outputs, Term
from ontogeny.plan.shape import Shape
from ontogeny.train import checkpoint
from ontogeny.train.checkpoint import Checkpoints, Training, fault
from ontogeny.train.loop import Counters, Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.saver import Saver
from ontogeny.train.schedule import WSD

SHAPE = Shape(41, 16, 1, 2, 1, 8, 24, 12)
STEPS = 8


class DiceSteps:
    """Batches drawn from all three global generators; every third one is poisoned."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if self.position == STEPS:
            raise StopIteration
        self.position += 1
        tokens = torch.randint(SHAPE.vocab_size, (2, 13))
        tokens[0, 0] = random.randrange(SHAPE.vocab_size)
        tokens[1, 0] = int(np.random.randint(SHAPE.vocab_size))
        tokens[0, 1] = self.position
        name = f"{'bad' if self.position == 3 else 'good'} {self.position}"
        inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        return [Batch(inputs, targets, torch.ones(2, 12), name=name)]

    def state(self) -> dict[str, Any]:
        return {"position": self.position}

    def restore(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


@dataclass(frozen=True)
class NoisyNextToken(NextToken):
    """Randomness between forward and backward, and a NaN where the batch says so."""

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        term = NextToken.__call__(self, outputs, batch).terms["nll"]
        factor = float("nan") if batch.name.startswith("bad") else 1 + 0.1 * torch.rand(())
        return Loss({"nll": Term(term.sum * factor, term.count)})


def new_training() -> Training:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(11)
    model = Transformer(SHAPE)
    initialise(model, 3)
    settings = OptimizerSettings(peak_lr=1e-2)
    schedule = WSD(STEPS, warmup_steps=2, decay_fraction=0.5)
    return Training(model, Optimizer(model, settings, schedule), DiceSteps(), Counters())


def go(training: Training, *hooks: Callable[[Report], None]) -> None:
    parts = training.model, NoisyNextToken(), training.steps, training.optimizer
    train(*parts, hooks, training.counters)


def result(training: Training) -> dict[str, Any]:
    tensors = training.model.state_dict() | training.optimizer.state()
    return {n: t.clone() for n, t in tensors.items()} | {"counters": training.counters}


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)

    return one.keys() == two.keys() and all(equal(one[name], two[name]) for name in one)


def undisturbed() -> dict[str, Any]:
    training = new_training()
    go(training)
    return result(training)


def interrupted(directory: Path, step: int) -> Checkpoints:
    """A run that was killed right after the checkpoint of `step`."""
    checkpoints, training = Checkpoints(directory), new_training()

    class Killed(Exception):
        pass

    def kill(report: Report) -> None:
        if report.step == step:
            checkpoints.save(training)
            raise Killed

    with pytest.raises(Killed):
        go(training, kill)
    return checkpoints


@pytest.mark.interrupt
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_resuming_at_any_step_equals_no_interruption(step: int, tmp_path: Path) -> None:
    checkpoints, training = interrupted(tmp_path, step), new_training()
    found = checkpoints.restore(training)
    assert found.path is not None
    assert (found.ignored, found.differences) == ((), ())
    assert training.counters.step == step
    go(training)
    assert same(result(training), undisturbed())


def test_a_checkpoint_is_a_snapshot(tmp_path: Path) -> None:
    """Training goes on; what was written does not change with it (A 9)."""
    checkpoints, training, taken = Checkpoints(tmp_path, keep=9), new_training(), {}

    def take(_: Report) -> None:
        taken[checkpoints.save(training).name] = result(training)["embedding"]

    go(training, take)
    assert len(taken) == STEPS
    for name, embedding in taken.items():
        found = checkpoint.read_tensors(tmp_path / name / "model.safetensors")
        assert torch.equal(found["model.embed_tokens.weight"], embedding)


def forget(part: str) -> Callable[[Training], None]:
    """Undo one part of a restored state, as if the checkpoint had left it out."""

    def forgetful(training: Training) -> None:
        fresh = {"python": random.seed, "numpy": np.random.seed, "torch": torch.manual_seed}
        if part in fresh:
            fresh[part](11)
        elif part in ("muon", "exp_avg", "exp_avg_sq", "step of AdamW"):
            for name, value in training.optimizer.state().items():
                if name.startswith(part) or name.endswith("." + part.split()[0]):
                    value.zero_()
        elif part == "data":
            training.steps.restore({"position": 0})
        elif part == "weights":
            initialise(training.model, 3)
        else:
            setattr(training.counters, part, 0)

    return forgetful


@pytest.mark.interrupt
@pytest.mark.parametrize(
    "part",
    [
        "weights",
        "muon",
        "exp_avg",
        "exp_avg_sq",
        "step of AdamW",
        "data",
        "python",
        "numpy",
        "torch",
        "step",
        "tokens",
        "skipped",
    ],
)
def test_leaving_out_any_part_of_the_state_is_noticed(part: str, tmp_path: Path) -> None:
    """Negative controls (A 14); `step` is the schedule's place. Interrupted right after a skip."""
    checkpoints, training = interrupted(tmp_path, 3), new_training()
    checkpoints.restore(training)
    forget(part)(training)
    go(training)
    assert not same(result(training), undisturbed())


def test_two_complete_checkpoints_stay_and_one_always_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, training = Checkpoints(tmp_path), new_training()
    standing: list[int] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        whole = [p for p in tmp_path.glob("step-*") if fault(p) is None]
        standing.append(len(whole))
        return moved

    monkeypatch.setattr(Path, "rename", watched)
    go(training, lambda _: checkpoints.save(training))
    assert min(standing) >= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000007", "step-00000008"]


def test_saving_a_step_twice_keeps_the_first(tmp_path: Path) -> None:
    checkpoints = interrupted(tmp_path, 2)
    training = new_training()
    path = checkpoints.restore(training).path
    assert path is not None
    before = path.stat().st_ino
    assert checkpoints.save(training) == path
    assert path.stat().st_ino == before


def damage(path: Path, kind: str, file: str) -> None:
    target = path / file
    if kind == "flip":
        data = bytearray(target.read_bytes())
        data[random.Random(file).randrange(len(data))] ^= 4
        target.write_bytes(data)
    elif kind == "truncate":
        target.write_bytes(target.read_bytes()[:-1])
    elif kind == "remove":
        target.unlink()
    else:
        (path / "stranger.bin").write_bytes(b"")


FILES = ["model.safetensors", "optimizer.safetensors", "state.json", "rank-0.json", "complete.json"]


@pytest.mark.parametrize("kind", ["flip", "truncate", "remove", "add"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(
    kind: str, file: str, tmp_path: Path
) -> None:
    checkpoints, training = Checkpoints(tmp_path), new_training()
    go(training, lambda _: checkpoints.save(training))
    newest = tmp_path / f"step-{STEPS:08d}"
    damage(newest, kind, file)
    resumed = new_training()
    found = checkpoints.restore(resumed)
    assert [path for path, _ in found.ignored] == [newest]
    assert resumed.counters.step == STEPS - 1
    go(resumed)
    assert same(result(resumed), undisturbed())
    checkpoints.save(resumed)
    assert fault(newest) is None


def test_leftovers_of_a_killed_save_are_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = interrupted(tmp_path, 2)
    shutil.copytree(tmp_path / "step-00000002", tmp_path / ".partial-step-00000005")
    training = new_training()
    assert checkpoints.restore(training).path == tmp_path / "step-00000002"
    go(training, lambda _: checkpoints.save(training))
    assert not list(tmp_path.glob(".*"))


def test_nothing_to_resume_from_is_no_error(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").restore(new_training()).path is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_a_failing_disk_is_one_line_and_the_earlier_checkpoint_stands(
    code: int, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = interrupted(tmp_path, 2)
    training = new_training()
    checkpoints.restore(training)
    calls = 0

    def failing(*_: Any, **__: Any) -> None:
        nonlocal calls
        calls += 1
        raise OSError(code, os.strerror(code))

    training.counters.step = 4
    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync")}.get(call, (Path, call)), failing)
        with pytest.raises(NoSpace) as caught:
            checkpoints.save(training)
    assert calls == 1, "never tried again on the same file"
    assert caught.value.exit_code == 4
    assert str(tmp_path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002"]
    assert fault(tmp_path / "step-00000002") is None
    checkpoints.save(training)
    assert checkpoints.latest().path == tmp_path / "step-00000004"


def test_a_nan_weight_is_never_written(tmp_path: Path) -> None:
    training = new_training()
    with torch.no_grad():
        training.model.embedding[0, 0] = torch.nan
    with pytest.raises(OntogenyError, match="embedding holds NaN"):
        Checkpoints(tmp_path / "none").save(training)
    assert not (tmp_path / "none").exists()


def test_a_checkpoint_of_another_shape_or_format_is_refused(tmp_path: Path) -> None:
    checkpoints = interrupted(tmp_path, 2)
    training = new_training()
    other = Transformer(Shape(41, 16, 2, 2, 1, 8, 24, 12))
    initialise(other, 3)
    optimizer = Optimizer(other, OptimizerSettings(), WSD(STEPS))
    with pytest.raises(CorruptArtifact, match=r"layers\.1"):
        checkpoints.restore(Training(other, optimizer, training.steps, training.counters))
    plain = Optimizer(training.model, OptimizerSettings(matrices="adamw"), WSD(STEPS))
    with pytest.raises(CorruptArtifact, match="optimizer"):
        checkpoints.restore(Training(training.model, plain, training.steps, training.counters))


def test_another_execution_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = interrupted(tmp_path, 2)
    monkeypatch.setattr(torch, "__version__", "9.9")
    differences = checkpoints.restore(new_training()).differences
    assert len(differences) == 1
    assert differences[0].endswith("-> 9.9")


def test_another_schedule_is_named(tmp_path: Path) -> None:
    checkpoints, training = interrupted(tmp_path, 2), new_training()
    training.optimizer.schedule = WSD(STEPS + 1)
    differences = checkpoints.restore(training).differences
    assert [text.split(":")[0] for text in differences] == ["schedule"]


def test_a_request_to_stop_checkpoints_and_the_run_goes_on_later(tmp_path: Path) -> None:
    checkpoints, training = Checkpoints(tmp_path), new_training()
    answers = iter([False, False, True])
    saver = Saver(checkpoints, training, stop_requested=lambda: next(answers))
    with pytest.raises(Stopped) as caught:
        go(training, saver)
    assert caught.value.exit_code == 75
    resumed = new_training()
    assert checkpoints.restore(resumed).path == tmp_path / "step-00000003"
    go(resumed)
    assert same(result(resumed), undisturbed())
