"""Tensors of a GGUF file <-> tensors under Hugging Face's names. Knows no files.

The names are the gguf library's. The numbers differ in two ways: where rotary pairs are
neighbouring channels (llama), rows of Q and K stand in another order; where norm weights are stored
around 0 (Gemma), a GGUF file has them around 1. Shape suffixes: O rows of a matrix or entries of a
vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ontogeny.edge.gguf_arch import arch_of
from ontogeny.edge.gguf_library import gguf
from ontogeny.plan.shape import Shape

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
OUTPUT, TOKEN_EMBEDDING, FACTORS = "output.weight", "token_embd.weight", "rope_freqs.weight"

_ONCE = ("model.embed_tokens", "model.norm", "lm_head")
_LAYER = (
    *(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)

Floats = npt.NDArray[np.float32]


def theirs_of_ours(shape: Shape) -> dict[str, str]:
    """Hugging Face name -> GGUF name, of every tensor that the architecture may have."""
    number = next(k for k, name in gguf.MODEL_ARCH_NAMES.items() if name == arch_of(shape).name)
    names: Any = gguf.get_tensor_name_map(number, shape.layers)
    stems = [*_ONCE, *(f"model.layers.{i}.{each}" for i in range(shape.layers) for each in _LAYER)]
    found = {}
    for stem in stems:
        theirs = names.get_name(stem)
        if theirs is not None:
            found[f"{stem}.weight"] = f"{theirs}.weight"
            if stem.endswith(("q_proj", "k_proj", "v_proj")):
                found[f"{stem}.bias"] = f"{theirs}.bias"
    if arch_of(shape).name == "gemma2":
        found.pop(HEAD, None)
    return found


def to_gguf(shape: Shape, name: str, values_O: Floats) -> Floats:
    """The numbers of the tensor `name` (Hugging Face's) as a GGUF file has them.

    Around 1 instead of 0 float32 keeps fewer digits: what is below 6e-8 of a Gemma norm is lost.
    """
    heads = _reordered_heads(shape, name)
    if heads:
        pairs = values_O.reshape(heads, 2, -1, *values_O.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values_O.shape)
    return values_O + np.float32(1) if _centred(shape, name) else values_O


def from_gguf(shape: Shape, name: str, values_O: Floats) -> Floats:
    """The inverse of `to_gguf`."""
    heads = _reordered_heads(shape, name)
    if heads and values_O.shape[0] % (2 * heads) == 0:
        pairs = values_O.reshape(heads, -1, 2, *values_O.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values_O.shape)
    return values_O - np.float32(1) if _centred(shape, name) else values_O


def _reordered_heads(shape: Shape, name: str) -> int:
    """How many heads the rows of `name` are, where their order differs; 0 where it does not."""
    if not arch_of(shape).interleaved:
        return 0
    stem = name.rpartition(".")[0]
    return {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(stem.rpartition(".")[2], 0)


def _centred(shape: Shape, name: str) -> bool:
    return shape.form.centred and name.endswith("norm.weight")
