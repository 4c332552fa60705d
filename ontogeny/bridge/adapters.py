"""Adapters of model artifacts: what a gradient stage does with one, and merging a stranger's.

Knows no objective and no loop. The artifact keeps the adapter in `adapter/`, in PEFT's format, and
its own weights have it merged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.model.adapted import adapter_of, attach, merge
from ontogeny.model.adapter_file import put_on, write_adapter
from ontogeny.model.transformer import Transformer
from ontogeny.plan.activations import sizes
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.optimization import Optimization
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Work

DIRECTORY = "adapter"


def begin_adapter(work: Work, model: Transformer, config: Optimization) -> str:
    """Attaches what `config` asks for; a phrase for a person, empty where everything learns."""
    if config.adapter is None:
        return ""
    attach(model, config.adapter, work.named_seed("adapter"))
    learnt = sum(adapter_parameters(model.shape, config.adapter))
    every = model.shape.parameters()
    return (
        f"{config.adapter.kind} of rank {config.adapter.rank}: {learnt / 1e6:.2f} M parameters "
        f"learnt beside {every / 1e6:.2f} M frozen ones"
    )


def finish_adapter(work: Work, model: Transformer) -> None:
    """Writes the adapter into the payload and folds it into the weights; without one, nothing.

    Raises:
        NoSpace: the disk takes no more.
    """
    if adapter_of(model) is not None:
        write_adapter(model, work.payload / DIRECTORY)
        merge(model)


def adapter_parameters(shape: Shape, adapter: LoRA) -> tuple[int, int]:
    """(numbers in A and B, with which every token is multiplied; those of DoRA's magnitudes)."""
    matrices = sizes(shape)
    layer = adapter.rank * sum(sum(matrices[name]) for name in adapter.targets)
    rows = sum(matrices[name][0] for name in adapter.targets) if adapter.kind == "dora" else 0
    return shape.layers * layer, shape.layers * rows


def train_flops_per_token(
    shape: Shape, adapter: LoRA | None = None, context: int | None = None
) -> float:
    """FLOPs of one token in training, in rows of `context` tokens (all of the model's unless told).

    A frozen matrix has no gradient of its own, so its product is made twice, not three times.
    """
    whole = shape.train_flops_per_token(context)
    if adapter is None:
        return whole
    return whole - 2 * shape.matmul_parameters() + 6 * adapter_parameters(shape, adapter)[0]


def merge_adapter(base: Artifact, adapter: Path, payload: Path) -> dict[str, Any]:
    """Writes `base` with the adapter of a PEFT directory merged into `payload`, and its metrics.

    Raises:
        InputError: `base` is no model, or the adapter asks for what is not computed here.
        CorruptArtifact: a file is damaged, or the adapter belongs to another base.
        NoSpace: the disk takes no more.
    """
    model, _ = load_model(base)
    config = put_on(model, adapter)
    write_adapter(model, payload / DIRECTORY)
    merge(model)
    save_model(payload, model, base, chats=chats(base))
    return {
        "adapter": config.kind,
        "adapter_parameters": sum(adapter_parameters(model.shape, config)),
        "alpha": config.alpha,
        "parameters": model.shape.parameters(),
        "rank": config.rank,
        "targets": ", ".join(config.targets),
    }
