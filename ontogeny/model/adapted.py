"""A model with low-rank adapters: put on, named as PEFT names them, folded in. Knows no file.

Each has the name of the matrix it belongs to: that of q, k and v lies as "qkv" in the `adapters`
of the mixer, and so on; its parts are called as the checkpoints of transformers call them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ontogeny.base.seeds import named_seed
from ontogeny.model import tensor_file
from ontogeny.model.adapter import LowRank, Piece
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import SCORE, parts
from ontogeny.plan.adapter import LoRA

PREFIX = "base_model.model."
"""What PEFT writes before the name of every module."""


def attach(model: Transformer, config: LoRA, seed: int) -> None:
    """Freezes `model` and gives each target an adapter that changes nothing yet, in place.

    A is uniform in +-1/sqrt(fan in) (PEFT's Kaiming with a = sqrt(5)), each from a seed of its own
    name; B is zero; DoRA's magnitude is the length of W's rows.
    """
    assert adapter_of(model) is None
    model.requires_grad_(requires_grad=False)
    if model.score is not None:
        model.score.requires_grad_()
    for ours, owner, key, pieces in _matrices(model, config):
        weight_OI = model.get_parameter(ours)
        adapter = LowRank(pieces, weight_OI.shape[1], config).to(weight_OI.device)
        owner[key] = adapter
        with torch.no_grad():
            for place in adapter.places:
                generator = torch.Generator().manual_seed(named_seed(seed, "A", place.name))
                bound = weight_OI.shape[1] ** -0.5
                start = torch.empty(adapter.A[place.a].shape)
                adapter.A[place.a] = start.uniform_(-bound, bound, generator=generator)
            adapter.B.zero_()
            if adapter.magnitude is not None:
                adapter.magnitude.copy_(adapter.lengths(weight_OI))


def adapter_of(model: Transformer) -> LoRA | None:
    """The config of the adapter that `model` carries, or None."""
    return next((each.config for _, each in _adapters(model)), None)


def merge(model: Transformer) -> None:
    """Folds the adapter into the weights, in place, and takes it off; everything learns again."""
    with torch.no_grad():
        for ours, adapter in _adapters(model):
            weight_OI = model.get_parameter(ours)
            gain_O = None if adapter.magnitude is None else adapter.gains(weight_OI)
            for place, product in adapter.summed(weight_OI):
                if gain_O is not None:
                    product *= gain_O[place.out, None]
                weight_OI[place.out] = product
    for _, owner in _owners(model):
        owner.clear()
    model.requires_grad_()


def named_adapter(model: Transformer) -> dict[str, Tensor]:
    """PEFT's name -> view of the adapter's parameter; writing to a view changes the model."""
    found: dict[str, Tensor] = {}
    for _, adapter in _adapters(model):
        for place in adapter.places:
            name = PREFIX + place.name
            found[f"{name}.lora_A.weight"] = adapter.A.detach()[place.a]
            found[f"{name}.lora_B.weight"] = adapter.B.detach()[place.b]
            if adapter.magnitude is not None:
                found[f"{name}.lora_magnitude_vector"] = adapter.magnitude.detach()[place.b]
    return found


def save_adapter(model: Transformer, path: Path) -> str:
    """Writes the adapter alone to `path` (safetensors, PEFT's names); returns its sha256.

    Raises:
        NoSpace: the disk takes no more.
    """
    return tensor_file.write_tensors(path, named_adapter(model))


def save_learnt(model: Transformer, path: Path) -> str:
    """`save_adapter`, with the scalar head where the model has one: it learns beside."""
    return tensor_file.write_tensors(path, _named_learnt(model))


def load_learnt(model: Transformer, path: Path) -> None:
    """Fills what `save_learnt` wrote.

    Raises:
        CorruptArtifact: see `fill`; or a bad file.
    """
    remedy = "it belongs to another base, rank or choice of targets"
    tensor_file.fill(_named_learnt(model), tensor_file.read_tensors(path), path, remedy=remedy)


def fill(model: Transformer, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Fills the adapter that `model` carries with `tensors` of float32, float16 or bfloat16.

    Raises:
        CorruptArtifact: a name missing or too many; a wrong shape or dtype; a value that is no
            finite number. Nothing is changed then.
    """
    remedy = "it belongs to another base, rank or choice of targets"
    tensor_file.fill(named_adapter(model), tensors, file, remedy=remedy, any_float=True)


def _named_learnt(model: Transformer) -> dict[str, Tensor]:
    head = {} if model.score is None else {f"{PREFIX}{SCORE}": model.score.detach()}
    return named_adapter(model) | head


def _matrices(
    model: Transformer, config: LoRA
) -> Iterator[tuple[str, nn.ModuleDict, str, list[Piece]]]:
    """(our name, where its adapter goes, under which key, the targeted pieces) of each matrix."""
    owners = dict(_owners(model))
    for ours, pieces in parts(model.shape).items():
        path, _, key = ours.rpartition(".")
        firsts = [0]
        for _, rows in pieces:
            firsts.append(firsts[-1] + rows)
        chosen = [
            Piece(name.removesuffix(".weight"), first, rows)
            for (name, rows), first in zip(pieces, firsts, strict=False)
            if name.endswith(tuple(f".{target}.weight" for target in config.targets))
        ]
        if chosen:
            yield ours, owners[path], key, chosen


def _owners(model: Transformer) -> Iterator[tuple[str, nn.ModuleDict]]:
    """(path of the module, its `adapters`) of every mixer and feed-forward."""
    for path, module in model.named_modules():
        if path.endswith(".adapters"):
            assert isinstance(module, nn.ModuleDict)
            yield path.removesuffix(".adapters"), module


def _adapters(model: Transformer) -> Iterator[tuple[str, LowRank]]:
    """(our name of the matrix, its adapter)."""
    for path, owner in _owners(model):
        for key, adapter in owner.items():
            assert isinstance(adapter, LowRank)
            yield f"{path}.{key}", adapter
