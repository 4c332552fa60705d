"""The one dial: from a budget and a measured machine to every number of a life.

`resolve` is a pure function; its result is written into the store and pinned there, and identity
uses the resolved numbers, never the measured ones. Rungs a factor 1.5 apart keep like machines on
the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ontogeny.base.config import from_dict
from ontogeny.base.errors import InputError
from ontogeny.plan.budget import Budget
from ontogeny.plan.laws import data_constrained_loss
from ontogeny.plan.shape import Shape

FORMAT = 2
IN_HAND = 0.4
"""Share of the budget that is not for learning: data, measuring, and what was measured wrongly."""
STEP = 1.5
FIRST_RUNG_FLOPS = 1e9
SHARES = {
    "pretrain": 0.55,
    "continue": 0.04,
    "context": 0.08,
    "sft": 0.1,
    "wash": 0.06,
    "dpo": 0.03,
    "grpo": 0.14,
}
"""Share of the run's FLOPs by stage that learns. Later stages have far more than in large runs
(docs/log.md): a small model learns to answer by seeing answers."""
CONTEXT_FACTOR = 4
"""The context stage and all after it work at so many times the first context."""

LAW_FLOPS = 1e17
"""Pretraining FLOPs from which published scaling laws choose the shape."""

SWEEP_FLOPS, SWEEP_TOKENS, SWEEP_WIDTH = 2.4e13, 2.5e6, 128
SWEEP_RATIO, SWEEP_EXPONENT = 5.6, 0.1
SWEEP_BATCH, SWEEP_LR = 2048, 0.005
"""Batch and rate: the best of our first sweep; the ratio of tokens to parameters: width 96, better
than 128 at equal FLOPs on validation documents (docs/log.md, 2026-11-21). The exponent reaches
Chinchilla's 20 tokens a parameter at 1e19 FLOPs."""

WIDTHS = (64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048, 2560, 4096, 8192)


@dataclass(frozen=True)
class Machine:
    """What this machine was measured to sustain.

    Units: FLOP/s for `matmul_peak` (square fp32 product) and `train` (one training micro-step),
    tokens/s for `decode`.
    """

    matmul_peak: float
    train: float
    decode: float
    processors: int
    device: str = "cpu"


@dataclass(frozen=True)
class Plan:
    """Resolved numbers of one run.

    `tokens` of each stage that learns count every pass, repeated ones too; `batch_tokens` are
    those of one step of pretraining.
    """

    budget: str
    rung: int
    flops: float
    shape: Shape
    tokens: Mapping[str, int]
    batch_tokens: int
    peak_lr: float
    machine: Machine | None = None
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the pinned file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, *, file: str) -> Plan:
        """The plan in a file's values.

        Raises:
            InputError: naming the file and the field that does not fit.
        """
        if isinstance(values, dict) and values.get("format", 1) != FORMAT:
            raise InputError(
                f"a plan of format {values.get('format', 1)}, ours is {FORMAT}; make a new one by "
                "--replan",
                file=file,
            )
        return from_dict(cls, values, file=file)


def resolve(budget: Budget, machine: Machine, unique_tokens: float = math.inf) -> Plan:
    """The plan for `budget` on `machine`.

    Args:
        budget: what may be spent in all.
        machine: measured rates.
        unique_tokens: how many different tokens pretraining will see, where that is known.

    Raises:
        InputError: when the budget is too small for the smallest model.
    """
    available = budget.total_flops(machine.train) * (1 - IN_HAND)
    rung = math.floor(math.log(max(available, 1.0) / FIRST_RUNG_FLOPS, STEP))
    if rung < 0:
        raise InputError(f"--budget {budget.text} is too small; give more")
    flops = FIRST_RUNG_FLOPS * STEP**rung
    shape = best_shape(flops * SHARES["pretrain"], unique_tokens)
    pretrain = flops * SHARES["pretrain"] / shape.train_flops_per_token()
    batch = batch_tokens(pretrain, shape.context)
    return Plan(
        budget=budget.text,
        rung=rung,
        flops=flops,
        shape=shape,
        tokens={name: stage_tokens(name, flops, shape, batch) for name in SHARES},
        batch_tokens=batch,
        peak_lr=peak_learning_rate(shape),
        machine=machine,
    )


def stage_tokens(name: str, flops: float, shape: Shape, batch: int) -> int:
    """Tokens for the stage's share of `flops`, whole batches of the longest context."""
    early = name in ("pretrain", "continue")
    context = shape.context * (1 if early else CONTEXT_FACTOR)
    whole = max(batch, context)
    tokens = flops * SHARES[name] / shape.train_flops_per_token(context)
    return max(1, round(tokens / whole)) * whole


def family(width: int) -> Shape:
    """The shape of a given width: depth, heads, vocabulary and context follow from it."""
    head_dim = 128 if width >= 2048 else 64 if width % 64 == 0 else 32
    heads = width // head_dim
    return Shape(
        vocab_size=4096 if width < 512 else 16384 if width < 1024 else 32768,
        hidden=width,
        layers=max(4, round(width / 40)) if width < 384 else round(width / 64),
        heads=heads,
        kv_heads=heads if width < 512 else max(1, heads // 4),
        head_dim=head_dim,
        ff=32 * round(width * 8 / 3 / 32),
        context=256 if width < 512 else 1024 if width < 1024 else 4096,
    )


def best_shape(flops: float, unique_tokens: float = math.inf) -> Shape:
    """The member of the family for these FLOPs.

    From `LAW_FLOPS` on: the lowest data-constrained loss (Muennighoff et al. 2023,
    arXiv:2305.16264). Published laws were fitted above that, and below it would choose smaller
    models than we have tried (docs/log.md); there the width of our sweep is carried along the
    square root of compute towards the law's tokens per parameter. Parameters count the matrices
    a token is multiplied with, so small models pay for their vocabulary.
    """
    shapes = [family(width) for width in WIDTHS]
    if flops < LAW_FLOPS:
        ratio = SWEEP_RATIO * max(1.0, flops / SWEEP_FLOPS) ** SWEEP_EXPONENT
        wanted = math.sqrt(flops / 6 / ratio)
        return min(shapes, key=lambda shape: abs(math.log(shape.matmul_parameters() / wanted)))

    def loss(shape: Shape) -> float:
        tokens = flops / shape.train_flops_per_token()
        return data_constrained_loss(shape.matmul_parameters(), tokens, unique_tokens)

    return min(shapes, key=loss)


def batch_tokens(tokens: float, context: int) -> int:
    """Tokens in one optimizer step, a power of two of rows.

    Grows as tokens^0.38 (Bergsma et al. 2025, arXiv:2505.13738) from the best of our sweep.
    """
    rows = max(1.0, SWEEP_BATCH * (tokens / SWEEP_TOKENS) ** 0.38 / context)
    return int(2 ** round(math.log2(rows))) * context


def peak_learning_rate(shape: Shape) -> float:
    """Peak learning rate for Muon with AdamW-sized updates; falls with the root of the width."""
    return SWEEP_LR * math.sqrt(SWEEP_WIDTH / shape.hidden)
