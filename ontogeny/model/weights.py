"""A model's weights <-> the names that transformers gives them, in every family.

Knows no optimizer and no tokenizer. In memory q, k, v are one matrix and gate, up are one; on
disk each has its own name, so the family's class of transformers loads the files without our code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from ontogeny.model.tensor_file import fill, read_tensors, write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape

SCORE = "score.weight"
"""What transformers calls the head of its classes for sequence classification."""


def parts(shape: Shape) -> dict[str, list[tuple[str, int]]]:
    """Our parameter name -> the Hugging Face names it is made of, each with its rows."""
    table = {"embedding": [("model.embed_tokens.weight", shape.vocab_size)]}
    for number in range(shape.layers):
        ours, theirs = f"layers.{number}", f"model.layers.{number}"
        table |= _attention(shape, f"{ours}.mixer", f"{theirs}.self_attn")
        table |= {
            f"{ours}.feed_forward.gate_up": [
                (f"{theirs}.mlp.gate_proj.weight", shape.ff),
                (f"{theirs}.mlp.up_proj.weight", shape.ff),
            ],
            f"{ours}.feed_forward.down": [(f"{theirs}.mlp.down_proj.weight", shape.hidden)],
        }
        for name, their_name in _NORMS[shape.form.norms].items():
            table[f"{ours}.{name}.weight"] = [(f"{theirs}.{their_name}.weight", shape.hidden)]
    table["norm.weight"] = [("model.norm.weight", shape.hidden)]
    if not shape.tied:
        table["untied_head"] = [("lm_head.weight", shape.vocab_size)]
    return table


_NORMS = {
    "pre": {
        "mixer_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
    },
    "post": {
        "mixer_post_norm": "post_attention_layernorm",
        "feed_forward_post_norm": "post_feedforward_layernorm",
    },
    "sandwich": {
        "mixer_norm": "input_layernorm",
        "mixer_post_norm": "post_attention_layernorm",
        "feed_forward_norm": "pre_feedforward_layernorm",
        "feed_forward_post_norm": "post_feedforward_layernorm",
    },
}


def _attention(shape: Shape, ours: str, theirs: str) -> dict[str, list[tuple[str, int]]]:
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    rows = {"q_proj": q, "k_proj": kv, "v_proj": kv}
    table = {
        f"{ours}.qkv": [(f"{theirs}.{name}.weight", count) for name, count in rows.items()],
        f"{ours}.out": [(f"{theirs}.o_proj.weight", shape.hidden)],
    }
    if shape.form.qkv_bias:
        table[f"{ours}.qkv_bias"] = [
            (f"{theirs}.{name}.bias", count) for name, count in rows.items()
        ]
    if shape.form.qk_norm != "none":
        row = shape.form.qk_norm == "row"
        table[f"{ours}.q_norm"] = [(f"{theirs}.q_norm.weight", q if row else shape.head_dim)]
        table[f"{ours}.k_norm"] = [(f"{theirs}.k_norm.weight", kv if row else shape.head_dim)]
    return table


def named_weights(model: Transformer) -> dict[str, Tensor]:
    """Hugging Face name -> view of the model's weight; writing to a view changes the model."""
    found = {name: view for _, name, view in views(model.shape, dict(model.named_parameters()))}
    return found if model.score is None else found | {SCORE: model.score.detach()}


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
    remedy = "the config is another model's"
    fill(named_weights(model), read_tensors(path), path, remedy=remedy)
