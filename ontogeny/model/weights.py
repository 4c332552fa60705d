"""A model's weights <-> the names and the config.json of stock transformers' Qwen3.

Knows no optimizer and no tokenizer. In memory q, k, v are one matrix and gate, up are one; on
disk each has its own name, so `transformers.Qwen3ForCausalLM` loads the files without our code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.model.tensor_file import read_tensors, write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Rope, Shape


def parts(shape: Shape) -> dict[str, list[tuple[str, int]]]:
    """Our parameter name -> the Hugging Face names it is made of, each with its rows."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    table = {"embedding": [("model.embed_tokens.weight", shape.vocab_size)]}
    for number in range(shape.layers):
        ours, theirs = f"layers.{number}", f"model.layers.{number}"
        table |= {
            f"{ours}.mixer.qkv": [
                (f"{theirs}.self_attn.q_proj.weight", q),
                (f"{theirs}.self_attn.k_proj.weight", kv),
                (f"{theirs}.self_attn.v_proj.weight", kv),
            ],
            f"{ours}.mixer.out": [(f"{theirs}.self_attn.o_proj.weight", shape.hidden)],
            f"{ours}.mixer.q_norm": [(f"{theirs}.self_attn.q_norm.weight", shape.head_dim)],
            f"{ours}.mixer.k_norm": [(f"{theirs}.self_attn.k_norm.weight", shape.head_dim)],
            f"{ours}.feed_forward.gate_up": [
                (f"{theirs}.mlp.gate_proj.weight", shape.ff),
                (f"{theirs}.mlp.up_proj.weight", shape.ff),
            ],
            f"{ours}.feed_forward.down": [(f"{theirs}.mlp.down_proj.weight", shape.hidden)],
            f"{ours}.mixer_norm.weight": [(f"{theirs}.input_layernorm.weight", shape.hidden)],
            f"{ours}.feed_forward_norm.weight": [
                (f"{theirs}.post_attention_layernorm.weight", shape.hidden)
            ],
        }
    table["norm.weight"] = [("model.norm.weight", shape.hidden)]
    if not shape.tied:
        table["untied_head"] = [("lm_head.weight", shape.vocab_size)]
    return table


def named_weights(model: Transformer) -> dict[str, Tensor]:
    """Hugging Face name -> view of the model's weight; writing to a view changes the model."""
    return {name: view for _, name, view in views(model.shape, dict(model.named_parameters()))}


def views(shape: Shape, values: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    """(our name, Hugging Face name, rows of `values[our name]`) of every weight."""
    for ours, pieces in parts(shape).items():
        start = 0
        for theirs, rows in pieces:
            yield ours, theirs, values[ours].detach()[start : start + rows]
            start += rows


def save_weights(model: Transformer, path: Path) -> str:
    """Writes `path` (safetensors, the same bytes for the same weights); returns its sha256.

    Raises:
        NoSpace: the disk takes no more.
    """
    return write_tensors(path, named_weights(model))


def load_weights(model: Transformer, path: Path) -> None:
    """Fills `model` from `path`.

    Raises:
        CorruptArtifact: a bad file; a name missing or too many; a wrong shape or dtype; a value
            that is no finite number.
    """
    found, wanted = read_tensors(path), named_weights(model)
    for name in sorted(found.keys() ^ wanted.keys()):
        what = "is missing" if name in wanted else "does not belong to this shape"
        raise CorruptArtifact(f"tensor {name!r} {what}; the config is another model's", file=path)
    for name, target in wanted.items():
        source = found[name]
        if source.shape != target.shape or source.dtype != target.dtype:
            raise CorruptArtifact(
                f"tensor {name!r} is {source.dtype} {list(source.shape)}, "
                f"expected {target.dtype} {list(target.shape)}",
                file=path,
            )
        if not bool(torch.isfinite(source).all()):
            raise CorruptArtifact(f"tensor {name!r} holds NaN or infinity", file=path)
    for name, target in wanted.items():
        target.copy_(found[name])


def config_json(shape: Shape, specials: Mapping[str, int | list[int]]) -> dict[str, Any]:
    """The config.json of `Qwen3ForCausalLM`.

    Positions scaled by ntk and abf are plain ones of a larger base, and are written so.

    Args:
        specials: ids under "bos_token_id", "eos_token_id", "pad_token_id"; absent ones are null.
    """
    scaling = _rope_scaling(shape.rope)
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.ff,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_base,  # read, with rope_scaling, by transformers 4
        "rope_scaling": scaling,
        "rope_parameters": (scaling or {"rope_type": "default"}) | {"rope_theta": shape.rope_base},
        "rms_norm_eps": shape.norm_eps,
        "tie_word_embeddings": shape.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "torch_dtype": "float32",
        "bos_token_id": specials.get("bos_token_id"),
        "eos_token_id": specials.get("eos_token_id"),
        "pad_token_id": specials.get("pad_token_id"),
    }


def shape_from_config(config: Mapping[str, Any], path: Path) -> Shape:
    """The shape that `config_json` wrote to `path`; ntk and abf come back as a larger base.

    Raises:
        InputError: another architecture, rotary positions of another kind, or a field is missing
            or no number.
    """
    if config.get("architectures") != ["Qwen3ForCausalLM"]:
        raise InputError(
            f"architectures is {config.get('architectures')!r}; only Qwen3ForCausalLM is read",
            file=path,
        )
    try:
        context = int(config["max_position_embeddings"])
        rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        return Shape(
            vocab_size=int(config["vocab_size"]),
            hidden=int(config["hidden_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            kv_heads=int(config["num_key_value_heads"]),
            head_dim=int(config["head_dim"]),
            ff=int(config["intermediate_size"]),
            context=context,
            rope_theta=float((rope if "rope_theta" in rope else config)["rope_theta"]),
            norm_eps=float(config["rms_norm_eps"]),
            tied=bool(config["tie_word_embeddings"]),
            rope=_rope(rope, context, path),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"field {error} is missing or no number", file=path) from error


def _rope_scaling(rope: Rope) -> dict[str, Any] | None:
    """What transformers reads beside the base; None for plain positions of any base.

    transformers 4 takes YaRN's factor from max_position_embeddings / original, which is ours
    where the context is the whole reach.
    """
    if rope.method == "linear":
        return {"rope_type": "linear", "factor": rope.factor}
    if rope.method == "yarn":
        return {
            "rope_type": "yarn",
            "factor": rope.factor,
            "original_max_position_embeddings": rope.original_context,
        }
    return None


_FIXED = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "partial_rotary_factor": 1}


def _rope(values: Mapping[str, Any], context: int, path: Path) -> Rope:
    """The inverse of `_rope_scaling`; refuses what would give other tables than ours."""
    kind = values.get("rope_type", values.get("type", "default"))
    read = {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"}
    for name in sorted(values.keys() - read):
        if values[name] is not None and values[name] != _FIXED.get(name):
            raise InputError(f"rotary positions with {name} {values[name]} are not read", file=path)
    if kind == "default":
        return Rope()
    if kind == "linear":  # the file does not tell the original context
        factor = float(values["factor"])
        return Rope("linear", factor, math.ceil(round(context / max(factor, 1), 6)))
    if kind == "yarn":
        original = int(values["original_max_position_embeddings"])
        return Rope("yarn", float(values["factor"]), original)
    raise InputError(f"rope_type is {kind!r}; only default, linear and yarn are read", file=path)
