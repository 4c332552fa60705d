"""A `Shape` <-> the config.json of transformers, for every family. Knows no weights and no torch.

A config is read by what it computes: a field that would compute something else is refused by its
name; fields that compute nothing (dropout, initial ranges, ids) are kept by `config_json`'s `like`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.plan.family import FAMILIES, Family
from ontogeny.plan.hf_rope import rope_fields, ropes
from ontogeny.plan.shape import Shape

LARGEST_LAYERS = 10_000

_ABSENT: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 4096},
    "qwen3": {"head_dim": 128},
    "smollm3": {"tie_word_embeddings": True, "no_rope_layer_interval": 4},
    "olmo2": {"rms_norm_eps": 1e-5},
    "olmo3": {"rms_norm_eps": 1e-5, "sliding_window": 4096, "sliding_window_pattern": 4},
    "gemma2": {
        "tie_word_embeddings": True,
        "head_dim": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 2,
        "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
    "gemma3_text": {
        "tie_word_embeddings": True,
        "head_dim": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "query_pre_attn_scalar": 256,
    },
}
"""What transformers takes where a family's config.json lacks the field."""

_ONLY: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "quantization_config": (None,),
    "use_bidirectional_attention": (False, None),
    "partial_rotary_factor": (1, None),
    "rope_interleaved": (False, None),
    "clip_qkv": (None,),
    "text_config": (None,),
}
"""Fields with the values under which a family computes what ours does."""

_ACTIVATIONS = {"silu": ("silu", "swish"), "gelu_tanh": ("gelu_pytorch_tanh",)}


def shape_from_config(config: Mapping[str, Any], path: Path) -> Shape:
    """The shape that a config.json describes; ntk and abf come back as a larger base.

    Raises:
        InputError: another family; a field that would compute something else; a field is missing
            or no number.
    """
    form = _family(config, path)
    fields = _ABSENT.get(form.model_type, {}) | dict(config)
    _refuse_other_forms(fields, form, path)
    try:
        heads, hidden = int(fields["num_attention_heads"]), int(fields["hidden_size"])
        layers = int(fields["num_hidden_layers"])
        if not 0 < layers <= LARGEST_LAYERS:
            raise InputError(f"num_hidden_layers is {layers}; give 1 to {LARGEST_LAYERS}")
        head_dim = int(fields.get("head_dim") or hidden // max(heads, 1))
        pattern = _pattern(fields, form, layers, path)
        context = int(fields["max_position_embeddings"])
        theta, rope, local_theta = ropes(fields, form, context, path)
        scale = fields.get("query_pre_attn_scalar")
        return Shape(
            vocab_size=int(fields["vocab_size"]),
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=int(fields.get("num_key_value_heads") or heads),
            head_dim=head_dim,
            ff=int(fields["intermediate_size"]),
            context=context,
            rope_theta=theta,
            norm_eps=float(fields.get("rms_norm_eps", 1e-6)),
            tied=bool(fields.get("tie_word_embeddings", False)),
            rope=rope,
            family=form.model_type,
            pattern=pattern,
            window=int(fields["sliding_window"]) if "l" in pattern else 0,
            local_theta=local_theta if "l" in pattern and local_theta != theta else None,
            attention_cap=_optional(fields.get("attn_logit_softcapping")),
            logit_cap=_optional(fields.get("final_logit_softcapping")),
            query_scale=None if scale in (None, head_dim) else float(scale),
        )
    except InputError as error:
        raise InputError(error.reason, file=error.file or path, line=error.line) from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"field {error} is missing or no number", file=path) from error


def config_json(
    shape: Shape,
    specials: Mapping[str, int | list[int] | None],
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The config.json with which transformers builds `shape`.

    Positions scaled by ntk and abf are plain ones of a larger base, and are written so.

    Args:
        specials: ids under "bos_token_id", "eos_token_id", "pad_token_id"; absent ones are null.
        like: the config.json that the weights came with: where it says the same shape, its words
            are kept; where it does not, the fields that compute nothing.
    """
    ids = {f"{name}_token_id": specials.get(f"{name}_token_id") for name in ("bos", "eos", "pad")}
    if like is None:
        return _fields(shape) | {"torch_dtype": "float32"} | ids
    kept = {k: v for k, v in like.items() if k not in ("torch_dtype", "dtype")}
    if _same(shape, like):
        return kept | {"torch_dtype": "float32"} | ids
    stale = ("rope_local_base_freq", "layer_types", "no_rope_layers", "sliding_window_pattern")
    kept = {name: value for name, value in kept.items() if name not in stale}
    return kept | _fields(shape) | {"torch_dtype": "float32"} | ids


def _same(shape: Shape, config: Mapping[str, Any]) -> bool:
    try:
        return shape_from_config(config, Path("config.json")) == shape
    except InputError:
        return False


def _family(config: Mapping[str, Any], path: Path) -> Family:
    architectures = config.get("architectures")
    named = config.get("model_type")
    for form in FAMILIES.values():
        if architectures == [form.architecture] and named in (None, form.model_type):
            return form
        if not architectures and named == form.model_type:
            return form
    known = ", ".join(form.architecture for form in FAMILIES.values())
    raise InputError(
        f"architectures is {architectures!r} and model_type {named!r}; read are {known}",
        file=path,
    )


def _refuse_other_forms(fields: Mapping[str, Any], form: Family, path: Path) -> None:
    for name, admitted in _ONLY.items():
        if name in fields and fields[name] not in admitted:
            value = fields[name] if isinstance(fields[name], (bool, int, float)) else "set"
            raise InputError(f"{name} is {value}, which is not computed here", file=path)
    for name in ("hidden_act", "hidden_activation"):
        value = fields.get(name)
        if value is not None and value not in _ACTIVATIONS[form.activation]:
            raise InputError(
                f"{name} is {value!r}; {form.model_type} is computed with "
                f"{_ACTIVATIONS[form.activation][0]}",
                file=path,
            )


_LETTERS = {"full_attention": "g", "sliding_attention": "l"}


def _pattern(fields: Mapping[str, Any], form: Family, layers: int, path: Path) -> str:
    """A letter for each layer, or "" where all look at everything."""
    pattern = "g" * layers
    if form.letters == "gn":
        pattern = _without_positions(fields, layers, path)
    elif form.letters == "gl" and fields.get("sliding_window"):
        pattern = _windowed(fields, form, layers, path)
    if len(pattern) != layers:
        raise InputError(f"{len(pattern)} kinds of layers for {layers} layers", file=path)
    return "" if pattern == "g" * layers else pattern


def _without_positions(fields: Mapping[str, Any], layers: int, path: Path) -> str:
    if fields.get("use_sliding_window"):
        raise InputError("use_sliding_window is True, which is not computed here", file=path)
    listed = fields.get("no_rope_layers")
    if listed is None:
        interval = int(fields["no_rope_layer_interval"])
        listed = [int((number + 1) % interval != 0) for number in range(layers)]
    return "".join("g" if has else "n" for has in listed)


def _windowed(fields: Mapping[str, Any], form: Family, layers: int, path: Path) -> str:
    if form.model_type == "mistral":
        return "l" * layers
    if "use_sliding_window" in fields and not fields["use_sliding_window"]:
        return "g" * layers
    listed = fields.get("layer_types")
    if listed is None and "sliding_window_pattern" in fields:
        every = int(fields.get("_sliding_window_pattern") or fields["sliding_window_pattern"])
        return "".join("l" if (number + 1) % every else "g" for number in range(layers))
    if listed is None:
        if not fields.get("use_sliding_window"):
            return "g" * layers
        first = int(fields["max_window_layers"])
        return "".join("l" if number >= first else "g" for number in range(layers))
    unknown = sorted({str(kind) for kind in listed} - _LETTERS.keys())
    if unknown:
        raise InputError(f"a layer of type '{unknown[0]}' is not computed here", file=path)
    return "".join(_LETTERS[kind] for kind in listed)


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _fields(shape: Shape) -> dict[str, Any]:
    """Everything that says what is computed."""
    form = shape.form
    fields: dict[str, Any] = {
        "architectures": [form.architecture],
        "model_type": form.model_type,
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.ff,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_eps,
        "tie_word_embeddings": shape.tied,
        "attention_dropout": 0.0,
    }
    fields |= rope_fields(shape)
    if "head_dim" in _OWN[form.model_type] or shape.head_dim * shape.heads != shape.hidden:
        fields["head_dim"] = shape.head_dim
    if form.activation == "silu":
        fields["hidden_act"] = "silu"
    else:
        fields["hidden_activation"] = "gelu_pytorch_tanh"
    for name in ("attention_bias", "mlp_bias", "use_sliding_window"):
        if name in _OWN[form.model_type]:
            fields[name] = False
    return fields | _window_fields(shape) | _gemma_fields(shape)


_OWN = {
    "llama": ("head_dim", "attention_bias", "mlp_bias"),
    "mistral": ("head_dim",),
    "qwen2": ("use_sliding_window",),
    "qwen3": ("head_dim", "attention_bias", "use_sliding_window"),
    "smollm3": ("attention_bias", "mlp_bias", "use_sliding_window"),
    "olmo2": ("attention_bias",),
    "olmo3": ("attention_bias",),
    "gemma2": ("head_dim", "attention_bias"),
    "gemma3_text": ("head_dim", "attention_bias"),
}
"""Which of these fields a family's config always has."""


def _window_fields(shape: Shape) -> dict[str, Any]:
    form, kinds = shape.form, shape.kinds
    if form.letters == "gn":
        return {"no_rope_layers": [int(kind == "g") for kind in kinds]}
    if form.letters == "g":
        return {}
    if form.model_type == "mistral":
        return {"sliding_window": shape.window or None}
    types = {letter: name for name, letter in _LETTERS.items()}
    fields: dict[str, Any] = {"layer_types": [types[kind] for kind in kinds]}
    if "use_sliding_window" not in _OWN[form.model_type]:
        return fields | {"sliding_window": shape.window or None}
    if not shape.window:  # transformers makes the list itself
        return {}
    return fields | {"use_sliding_window": True, "sliding_window": shape.window}


def _gemma_fields(shape: Shape) -> dict[str, Any]:
    if not shape.form.centred:
        return {}
    scale = shape.query_scale or shape.head_dim
    return {
        "query_pre_attn_scalar": int(scale) if float(scale).is_integer() else scale,
        "attn_logit_softcapping": shape.attention_cap,
        "final_logit_softcapping": shape.logit_cap,
    }
