"""Adapters <-> the two files of PEFT: adapter_config.json and adapter_model.safetensors.

Knows no optimizer and no artifact. What would compute something else than `LoRA` can say is
refused by the name of its field; nothing is read that can run code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ontogeny.base.errors import CorruptArtifact, InputError, printable
from ontogeny.base.files import read_json, write_json
from ontogeny.model.adapted import PREFIX, adapter_of, attach, fill, save_adapter
from ontogeny.model.tensor_file import read_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.plan.adapter import TARGETS, AdapterKind, LoRA

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

_UNREAD = frozenset(
    (
        # what names, describes or speeds up
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
        # what only a start or the training reads
        "ensure_weight_tying",
        "eva_config",
        "lora_dropout",
    )
)
_READ = frozenset(("r", "lora_alpha", "target_modules", "use_dora", "use_rslora"))
_FIXED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    # the others change the base's own weights, which the two files do not hold
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What was read: the config that makes its matrices, and these by PEFT's names."""

    config: LoRA
    tensors: dict[str, Tensor]


def write_adapter(model: Transformer, directory: Path, base: str | None = None) -> None:
    """Writes the adapter that `model` carries into `directory`, which is made.

    Args:
        base: name of the model it was trained on, for tools that fetch it.

    Raises:
        NoSpace: the disk takes no more.
    """
    config = adapter_of(model)
    assert config is not None
    directory.mkdir(exist_ok=True)
    save_adapter(model, directory / WEIGHTS)
    write_json(directory / CONFIG, config_json(config, base))


def config_json(config: LoRA, base: str | None = None) -> dict[str, Any]:
    """The adapter_config.json of PEFT."""
    alpha = int(config.alpha) if float(config.alpha).is_integer() else config.alpha
    return {
        "auto_mapping": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": config.rank,
        "target_modules": [name for name in TARGETS if name in config.targets],
        "task_type": "CAUSAL_LM",
        "use_dora": config.kind == "dora",
        "use_rslora": config.kind == "rslora",
    }


def put_on(model: Transformer, directory: Path) -> LoRA:
    """Attaches the adapter in `directory` to `model`, in place; returns its config.

    Raises:
        InputError, CorruptArtifact: see `read_adapter`; or it belongs to another model.
    """
    read = read_adapter(directory)
    attach(model, read.config, seed=0)
    fill(model, read.tensors, directory / WEIGHTS)
    return read.config


def read_adapter(directory: Path) -> AdapterFile:
    """The adapter in `directory`, as PEFT or `write_adapter` wrote it.

    The targets are those that have a tensor; a config with rank-stabilised DoRA is read as DoRA
    of the alpha that gives the same scale.

    Raises:
        InputError: a file is missing, or its config asks for what is not computed here.
        CorruptArtifact: a file is not what its format says.
    """
    for name in (CONFIG, WEIGHTS):
        if not (directory / name).is_file():
            raise InputError(
                f"no {name} here; give the directory that PEFT's save_pretrained wrote "
                "(with safetensors: pickles are never loaded)",
                file=directory,
            )
    path = directory / CONFIG
    values = read_json(path)
    if not isinstance(values, dict):
        raise CorruptArtifact("no JSON object; get the file again", file=path)
    _refuse(values, path)
    tensors = read_tensors(directory / WEIGHTS)
    targets = _targets(values.get("target_modules"), tensors, directory / WEIGHTS)
    config = _config(values, targets, path)
    for name, tensor in tensors.items():
        if name.endswith(".lora_A.weight") and len(tensor) != config.rank:
            raise InputError(
                f"tensor '{name}' is of rank {len(tensor)}, the config says {config.rank}",
                file=directory / WEIGHTS,
            )
    return AdapterFile(config, tensors)


def _refuse(values: Mapping[str, Any], path: Path) -> None:
    """Stops at a field that changes what is computed and that `LoRA` has no word for."""
    for name in sorted(values.keys() - _UNREAD - _READ):
        value = values[name]
        # elsewhere what is off is null, false or empty
        if value not in _FIXED[name] if name in _FIXED else value:
            text = f"{printable(name)} is {printable(repr(value)[:60])}"
            raise InputError(f"{text}; such an adapter is not computed here", file=path)
    if "peft_type" not in values:
        raise InputError("field peft_type is missing; this is no config of an adapter", file=path)


def _targets(named: Any, tensors: Mapping[str, Tensor], path: Path) -> tuple[str, ...]:
    """The names of the matrices that have tensors; `named` are those of the config."""
    found = set()
    for name in tensors:
        target = name.removesuffix(".weight").rpartition(".")[0].rpartition(".")[2]
        if not name.startswith(PREFIX) or target not in TARGETS:
            raise InputError(
                f"tensor '{printable(name)}' is none of an adapter on {', '.join(TARGETS)}",
                file=path,
            )
        found.add(target)
    wanted = {str(name).rpartition(".")[2] for name in named} if isinstance(named, list) else found
    missing = sorted(wanted - found)
    if missing or not found:
        raise InputError(
            f"no tensor for {printable(missing[0]) if missing else 'any target'}; "
            "save the adapter again",
            file=path,
        )
    return tuple(name for name in TARGETS if name in found)


def _config(values: Mapping[str, Any], targets: tuple[str, ...], path: Path) -> LoRA:
    rank, alpha = values.get("r"), values.get("lora_alpha")
    if type(rank) is not int or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise InputError("r or lora_alpha is missing or no number", file=path)
    stabilised, dora = bool(values.get("use_rslora")), bool(values.get("use_dora"))
    kind: AdapterKind = "dora" if dora else "rslora" if stabilised else "lora"
    if stabilised and dora:
        alpha *= max(rank, 0) ** 0.5
    try:
        return LoRA(rank=rank, alpha=float(alpha), kind=kind, targets=targets)
    except InputError as error:
        raise InputError(error.reason, file=path) from None
