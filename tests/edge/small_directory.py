"""Small models in Hugging Face's format, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from edge.small_gguf import model_of
from support.bench import small_tokenizer

from ontogeny.model.tensor_file import write_tensors
from ontogeny.model.weights import named_weights
from ontogeny.plan.hf_config import config_json
from ontogeny.plan.shape import Shape

SHAPE = Shape(600, 32, 2, 4, 2, 8, 48, 40, family="llama", norm_eps=1e-5)
INDEX = "model.safetensors.index.json"


def directory(
    path: Path, shape: Shape = SHAPE, *, dtype: torch.dtype = torch.float32, shards: int = 1
) -> dict[str, torch.Tensor]:
    """Writes config.json, weights and the tokenizer of the tests; the weights."""
    path.mkdir(parents=True, exist_ok=True)
    small_tokenizer().save(path)
    ends = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 1}
    write_json(path / "config.json", config_json(shape, ends))
    tensors = {name: view.to(dtype) for name, view in named_weights(model_of(shape)).items()}
    save(path, tensors, shards)
    return tensors


def save(path: Path, tensors: dict[str, torch.Tensor], shards: int = 1) -> None:
    """Writes the weights, whole or in shards with their list."""
    if shards == 1:
        write_tensors(path / "model.safetensors", tensors)
        return
    names = sorted(tensors)
    listed = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        write_tensors(path / file, part)
        listed |= dict.fromkeys(part, file)
    write_json(path / INDEX, {"metadata": {}, "weight_map": listed})


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON."""
    path.write_text(json.dumps(value), encoding="utf-8")


def change_json(path: Path, **changes: Any) -> None:
    """Sets fields of a JSON object on disk."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)
