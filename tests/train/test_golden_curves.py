"""The loss of every step of four small trainings stays what it was, on a CPU and on a GPU.

`tests/support/golden_curves.json` holds the curves, made on a CPU in fp32. After a deliberate
change of the arithmetic: `python tests/train/test_golden_curves.py`, and say in the log why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ontogeny.bridge.device import device
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch, Pairs, Rollouts
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.loss import Objective
from ontogeny.objectives.policy_gradient import GRPO, group_advantages
from ontogeny.objectives.preference import DPO
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

GOLDEN = Path(__file__).parents[1] / "support" / "golden_curves.json"
SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
STEPS, ROWS, LENGTH, PROMPT = 12, 8, 12, 5
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2}
"""Of the largest loss of the curve; a GPU's Muon makes its steps orthogonal in bf16."""


def tokens(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of rows that count upwards with a stride of their own: learnable."""
    made = torch.Generator().manual_seed(seed)
    first = torch.randint(SHAPE.vocab_size, (ROWS, 1), generator=made)
    stride = torch.randint(1, 4, (ROWS, 1), generator=made)
    rows = (first + stride * torch.arange(LENGTH + 1)) % SHAPE.vocab_size
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def text(seed: int) -> Batch:
    inputs, targets = tokens(seed)
    return Batch(inputs, targets, torch.ones(inputs.shape))


def answers(seed: int) -> dict[str, object]:
    """Fields of a batch whose rows are a prompt and an answer each."""
    inputs, targets = tokens(seed)
    weights = torch.ones(inputs.shape)
    weights[:, : PROMPT - 1] = 0.0
    whose = torch.arange(ROWS)[:, None] * (weights > 0)
    fields = {"tokens_BT": inputs, "targets_BT": targets, "weights_BT": weights}
    return fields | {"answer_BT": whose, "answers": ROWS}


def pairs(seed: int) -> Batch:
    made = torch.Generator().manual_seed(seed)
    return Pairs(reference_S=-30 - torch.rand(ROWS, generator=made), **answers(seed))


def rollouts(seed: int) -> Batch:
    made = torch.Generator().manual_seed(seed)
    reward_S = torch.rand(ROWS, generator=made)
    advantage_S = group_advantages(reward_S.view(2, -1)).flatten()
    sampled = torch.full((ROWS, LENGTH), -4.0)
    return Rollouts(advantage_S=advantage_S, reward_S=reward_S, sampled_BT=sampled, **answers(seed))


LIVES: dict[str, tuple[Objective, Callable[[int], Batch], OptimizerSettings]] = {
    "next token, Muon": (NextToken(), text, OptimizerSettings(peak_lr=0.02)),
    "next token, AdamW": (NextToken(), text, OptimizerSettings(peak_lr=0.01, matrices="adamw")),
    "DPO, AdamW": (DPO(), pairs, OptimizerSettings(peak_lr=0.003, matrices="adamw")),
    "GRPO, Muon": (GRPO(), rollouts, OptimizerSettings(peak_lr=0.003)),
}


def curve(name: str) -> list[float]:
    """The loss of each step on this machine's device."""
    objective, batch, settings = LIVES[name]
    model, reports = Transformer(SHAPE), list[Report]()
    initialise(model, 3)
    model = model.to(device())
    steps = ListSteps([[batch(2 * step), batch(2 * step + 1)] for step in range(STEPS)])
    optimizer = Optimizer(model, settings, WSD(STEPS, warmup_steps=2))
    train(model, objective, steps, optimizer, [reports.append])
    return [report.loss for report in reports]


@pytest.mark.parity
@pytest.mark.parametrize("name", LIVES)
def test_the_loss_of_every_step_is_what_it_was(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    assert len({round(loss, 3) for loss in golden}) > STEPS // 2, "a flat curve would prove nothing"
    tolerance = TOLERANCE[device().type] * max(map(abs, golden))
    assert curve(name) == pytest.approx(golden, rel=0, abs=tolerance)


if __name__ == "__main__":
    assert device().type == "cpu", "the curves are those of a CPU"
    made = {name: [float(f"{loss:.7g}") for loss in curve(name)] for name in LIVES}
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")
    print(f"wrote {GOLDEN}", file=sys.stderr)
