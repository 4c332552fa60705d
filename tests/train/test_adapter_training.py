"""Training an adapter: the base keeps every bit, a checkpoint holds what learns and all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from ontogeny.base.errors import CorruptArtifact, OntogenyError
from ontogeny.model.adapted import attach, named_adapter
from ontogeny.model.initial import initialise
from ontogeny.model.tensor_file import read_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.adapter import AdapterKind, LoRA
from ontogeny.plan.shape import Shape
from ontogeny.train.checkpoint import Checkpoints, Training
from ontogeny.train.loop import Counters, Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

KINDS = get_args(AdapterKind)
SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
SETTINGS = OptimizerSettings(peak_lr=1e-2, matrices="adamw")
STEPS = 6


def batch(seed: int) -> Batch:
    tokens = torch.randint(61, (4, 13), generator=torch.Generator().manual_seed(seed))
    return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.ones(4, 12))


def new_training(
    kind: AdapterKind | None, settings: OptimizerSettings = SETTINGS, seed: int = 1
) -> Training:
    model = Transformer(SHAPE)
    initialise(model, 3)
    if kind is not None:
        attach(model, LoRA(rank=4, kind=kind), seed)
    optimizer = Optimizer(model, settings, WSD(STEPS, warmup_steps=2, decay_fraction=0.5))
    steps = ListSteps([[batch(2 * n), batch(2 * n + 1)] for n in range(STEPS)])
    return Training(model, optimizer, steps, Counters())


def go(training: Training, *hooks: Any) -> list[Report]:
    reports: list[Report] = []
    parts = training.model, NextToken(), training.steps, training.optimizer
    train(*parts, [reports.append, *hooks], training.counters)
    return reports


def result(training: Training) -> dict[str, torch.Tensor]:
    tensors = dict(training.model.named_parameters()) | training.optimizer.state()
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_keeps_every_bit_and_all_of_the_adapter_moves(kind: AdapterKind) -> None:
    training = replace(new_training(kind), steps=ListSteps([[batch(0)]] * STEPS))
    before = result(training)
    reports = go(training)
    after = result(training)
    moved = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert moved == training.optimizer.parameters.keys()
    assert all(".adapters." in name for name in moved)
    assert reports[-1].loss < reports[0].loss


def test_the_optimizer_has_room_for_what_learns_alone() -> None:
    training = new_training("dora")
    go(training)
    learnt = sum(value.numel() for value in named_adapter(training.model).values())
    state = training.optimizer.state()
    assert sum(value.numel() for value in state.values() if value.ndim) == 2 * learnt
    assert sum(p.numel() for p in training.optimizer.gradients()) == learnt
    assert training.optimizer.flops() == 0.0


def test_weight_decay_acts_on_a_and_b_and_not_on_the_magnitude() -> None:
    settings = OptimizerSettings(peak_lr=0.5, weight_decay=0.5, matrices="adamw")
    training = new_training("dora", settings)
    before = result(training)
    training.optimizer.gradients()
    training.optimizer.apply(2, 0.0)
    for name, value in training.optimizer.parameters.items():
        factor = 1.0 if name.endswith("magnitude") else 0.75
        torch.testing.assert_close(value.detach(), factor * before[name], rtol=1e-6, atol=0)


def interrupted(directory: Path, kind: AdapterKind, step: int) -> Checkpoints:
    checkpoints, training = Checkpoints(directory), new_training(kind)

    class Killed(Exception):
        pass

    def kill(report: Report) -> None:
        if report.step == step:
            checkpoints.save(training)
            raise Killed

    with pytest.raises(Killed):
        go(training, kill)
    return checkpoints


@pytest.mark.parametrize("step", [1, 3, STEPS])
@pytest.mark.parametrize("kind", KINDS)
def test_resuming_equals_no_interruption(kind: AdapterKind, step: int, tmp_path: Path) -> None:
    undisturbed = new_training(kind)
    go(undisturbed)
    checkpoints, training = interrupted(tmp_path, kind, step), new_training(kind, seed=2)
    found = checkpoints.restore(training)
    assert found.path is not None
    assert found.differences == ()
    go(training)
    assert same(result(training), result(undisturbed))


@pytest.mark.parametrize(
    "part", ["lora_A", "lora_B", "lora_magnitude_vector", "exp_avg", "exp_avg_sq"]
)
def test_leaving_out_any_part_is_noticed(part: str, tmp_path: Path) -> None:
    """Negative controls of the one above."""
    undisturbed = new_training("dora")
    go(undisturbed)
    checkpoints, training = interrupted(tmp_path, "dora", 3), new_training("dora")
    checkpoints.restore(training)
    for name, value in (named_adapter(training.model) | training.optimizer.state()).items():
        if part in name.split("."):
            value.zero_()
    go(training)
    assert not same(result(training), result(undisturbed))


def test_a_checkpoint_holds_the_adapter_alone(tmp_path: Path) -> None:
    path = interrupted(tmp_path, "lora", 2).latest().path
    assert path is not None
    training = new_training("lora")
    tensors = read_tensors(path / "model.safetensors")
    assert tensors.keys() == named_adapter(training.model).keys()
    moments = read_tensors(path / "optimizer.safetensors")
    assert all(".adapters." in name for name in moments)
    sizes = (path / "model.safetensors").stat().st_size, 4 * SHAPE.parameters()
    assert sizes[0] < sizes[1] / 2


def test_a_checkpoint_of_another_kind_of_training_is_refused(tmp_path: Path) -> None:
    checkpoints = interrupted(tmp_path, "lora", 2)
    for kind in (None, "dora"):
        with pytest.raises(CorruptArtifact, match="tensor"):
            checkpoints.restore(new_training(kind))  # type: ignore[arg-type]


def test_a_nan_in_the_adapter_is_never_written(tmp_path: Path) -> None:
    training = new_training("lora")
    next(iter(named_adapter(training.model).values()))[0, 0] = torch.nan
    with pytest.raises(OntogenyError, match=r"adapters\.qkv\.A holds NaN"):
        Checkpoints(tmp_path / "none").save(training)
