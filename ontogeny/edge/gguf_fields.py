"""The form of a model -> the fields from which llama.cpp computes it. Knows no weights.

A model that llama.cpp would compute otherwise, because its code takes something for granted that
no field can say, is refused by what stands in the way.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ontogeny.base.errors import InputError
from ontogeny.edge.gguf_arch import ARCHS, Arch, arch_of, windows, without_positions
from ontogeny.plan.shape import Shape

MOST_LAYERS = 512


def fields_from_shape(shape: Shape) -> dict[str, Any]:
    """Every field below `ARCH.`: whole numbers, floats and texts.

    Raises:
        InputError: llama.cpp cannot compute this shape.
    """
    arch = arch_of(shape)
    if shape.layers > MOST_LAYERS:
        _no(f"has {shape.layers} layers; {MOST_LAYERS} is the most")
    if arch.heads_fill and shape.heads * shape.head_dim != shape.hidden:
        _no(f"has {shape.heads} heads of {shape.head_dim} channels that do not make {shape.hidden}")
    fields: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "context_length": shape.context,
        "embedding_length": shape.hidden,
        "block_count": shape.layers,
        "feed_forward_length": shape.ff,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": float(shape.norm_eps),
        "rope.dimension_count": shape.head_dim,
        "rope.freq_base": float(shape.rope_base),
    }
    fields |= _rope(arch, shape) | _windows(arch, shape) | _scores(arch, shape)
    return {f"{arch.name}.{name}": value for name, value in fields.items()}


def _rope(arch: Arch, shape: Shape) -> dict[str, Any]:
    rope = shape.rope
    original = {"rope.scaling.original_context_length": rope.original_context}
    if rope.method == "llama3":
        if not arch.channel_factors:
            _no(f"scales the positions of {shape.family} by llama3")
        return original
    if rope.method in ("linear", "yarn"):
        scaling = {"rope.scaling.type": rope.method, "rope.scaling.factor": float(rope.factor)}
        return scaling | original
    return {}


def _windows(arch: Arch, shape: Shape) -> dict[str, Any]:
    kinds = shape.kinds
    if shape.family == "smollm3":
        if kinds != without_positions(shape.layers):
            _no("has layers without positions that are not every fourth")
        return {}
    if not arch.period:
        if "l" in kinds and shape.window < shape.context:
            _no(f"has a window of {shape.window} tokens, which {arch.name} does not compute")
        return {}
    local = shape.local_theta or shape.rope_base
    if "l" not in kinds:
        if arch.name != "olmo2":
            _no(f"is a {shape.family} without windows")
        return {}
    if shape.family == "olmo3" and local != shape.rope_base:
        _no("has windowed layers with positions of another base")
    period = next(
        (each for each in (arch.period, 0, *range(1, 65)) if windows(each, shape.layers) == kinds),
        None,
    )
    if period is None:
        _no(f"has windows in layers that no period describes ({kinds})")
    fields: dict[str, Any] = {"attention.sliding_window": shape.window}
    if period != arch.period:
        fields["attention.sliding_window_pattern"] = period
    if shape.family == "gemma3_text":
        fields["rope.freq_base_swa"] = float(local)
    return fields


def _scores(arch: Arch, shape: Shape) -> dict[str, Any]:
    divisor = arch.query_divisor(shape.layers, shape.hidden, shape.heads, shape.head_dim)
    if (shape.query_scale or shape.head_dim) != divisor:
        _no(f"scales queries by {shape.query_scale or shape.head_dim}, not by {divisor}")
    caps = (shape.attention_cap, shape.logit_cap)
    if arch.name == "gemma2":
        if not shape.tied:
            _no("is a gemma2 with a head of its own")
        if None in caps:
            _no("is a gemma2 without capped scores or logits")
        return dict(zip(("attn_logit_softcapping", "final_logit_softcapping"), caps, strict=True))
    if caps != (None, None):
        _no(f"is a {shape.family} with capped scores or logits")
    return {}


def _no(reason: str) -> NoReturn:
    known = ", ".join(ARCHS)
    raise InputError(
        f"llama.cpp would compute another model: this one {reason}; give --to hf"
        f" (its architectures here: {known})"
    )
