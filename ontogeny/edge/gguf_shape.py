"""The fields of a GGUF file -> the form of its model. Knows no weights.

What llama.cpp takes for granted of an architecture is supplied (`ontogeny.edge.gguf_arch`); a
field that would compute something else is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ontogeny.base.errors import InputError
from ontogeny.edge.gguf_arch import (
    ARCHS,
    ATTENTION_CAP,
    LOCAL_BASE,
    LOGIT_CAP,
    WINDOW,
    Arch,
    rope_of_factors,
    windows,
    without_positions,
)
from ontogeny.plan.shape import Rope, Shape

MOST_LAYERS = 10_000

_HARMLESS = {"vocab_size", "rope.scaling.finetuned", "tensor_data_layout", "pooling_type"}
_ONLY: dict[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "logit_scale": (1.0, 0.0),
    "residual_scale": (1.0, 0.0),
    "embedding_scale": (1.0, 0.0),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (1.0,),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.yarn_beta_fast": (32.0,),
    "rope.scaling.yarn_beta_slow": (1.0,),
}
"""Fields with the values under which nothing else is computed."""


def shape_from_fields(
    fields: Mapping[str, Any],
    path: Path,
    *,
    vocab_size: int,
    tied: bool,
    factors: Sequence[float] | None,
) -> Shape:
    """The shape that the `fields` of the GGUF file at `path` describe.

    Args:
        vocab_size: rows of its embedding.
        tied: it has no output head of its own.
        factors: its tensor `rope_freqs`, by which each rotary channel is slowed.

    Raises:
        InputError: another architecture; a field that would compute something else, is missing, or
            is no number.
    """
    name = fields.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHS:
        raise InputError(f"architecture {str(name)[:60]!r}; read are {', '.join(ARCHS)}", file=path)
    own = _Fields(fields, name)
    try:
        shape = _shape(ARCHS[name], own, vocab_size, tied, factors)
        own.refuse_others()
    except InputError as error:
        raise InputError(error.reason, file=error.file or path) from None
    return shape


class _Fields:
    """The fields below `ARCH.`; each that means something has to be asked for."""

    def __init__(self, fields: Mapping[str, Any], arch: str) -> None:
        start = f"{arch}."
        self.arch = arch
        self.values = {k[len(start) :]: v for k, v in fields.items() if k.startswith(start)}

    def take(self, name: str, default: Any = None) -> Any:
        return self.values.pop(name, default)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number, the shortest that float32 cannot tell from the file's."""
        value = self.take(name, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            self.wrong(name, value)
        return shortest(float(value))

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.take(name, default)
        if type(value) is not int or not 0 <= value < 1 << 40:
            self.wrong(name, value)
        return int(value)

    def wrong(self, name: str, value: Any) -> None:
        what = "is missing" if value is None else f"is {str(value)[:60]}, which is not read"
        raise InputError(f"field '{self.arch}.{name}' {what}")

    def refuse_others(self) -> None:
        for name, value in self.values.items():
            if name not in _HARMLESS and value not in _ONLY.get(name, ()):
                self.wrong(name, value)


def shortest(value: float) -> float:
    """The shortest decimal that float32 cannot tell from `value`: 1e-05 for 9.99999974e-06."""
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        if np.float32(short) == np.float32(value):
            return short
    return value


def _shape(
    arch: Arch, own: _Fields, vocab_size: int, tied: bool, factors: Sequence[float] | None
) -> Shape:
    hidden, heads = own.whole("embedding_length"), own.whole("attention.head_count")
    layers, context = own.whole("block_count"), own.whole("context_length")
    if not 0 < layers <= MOST_LAYERS or heads < 1:
        raise InputError(f"{layers} layers of {heads} heads; at most {MOST_LAYERS} are read")
    head_dim = own.whole("attention.key_length", hidden // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        value = own.whole(name, head_dim)
        if value != head_dim:
            own.wrong(name, value)
    if arch.heads_fill and head_dim * heads != hidden:
        raise InputError(f"{heads} heads of {head_dim} channels do not make {hidden}")
    family, pattern, window = _windows(arch, own, layers)
    theta = own.number("rope.freq_base", 10_000.0)
    caps = _caps(own, family)
    divisor = arch.query_divisor(layers, hidden, heads, head_dim)
    scale = own.number("attention.scale", 0.0)
    if scale and not math.isclose(scale, divisor**-0.5, rel_tol=1e-6):
        own.wrong("attention.scale", scale)
    return Shape(
        vocab_size=vocab_size,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=own.whole("attention.head_count_kv", heads),
        head_dim=head_dim,
        ff=own.whole("feed_forward_length"),
        context=context,
        rope_theta=theta,
        norm_eps=own.number("attention.layer_norm_rms_epsilon"),
        tied=tied,
        rope=_rope(arch, own, context, head_dim, theta, factors),
        family=family,
        pattern="" if pattern == "g" * layers else pattern,
        window=window,
        local_theta=_local_theta(own, family, pattern, theta),
        attention_cap=caps[0],
        logit_cap=caps[1],
        query_scale=None if divisor == head_dim else float(divisor),
    )


def _windows(arch: Arch, own: _Fields, layers: int) -> tuple[str, str, int]:
    """The family, a letter for each layer, and the window."""
    first, last = arch.families[0], arch.families[-1]
    window = own.whole("attention.sliding_window", WINDOW if first == "gemma2" else 0)
    pattern = own.take("attention.sliding_window_pattern", arch.period)
    if first == "smollm3":
        return first, without_positions(layers), 0
    if not arch.period:
        if window:
            own.wrong("attention.sliding_window", window)
        return first, "g" * layers, 0
    if isinstance(pattern, list):
        kinds = "".join("l" if each else "g" for each in pattern)
    else:
        if type(pattern) is not int or pattern < 0:
            own.wrong("attention.sliding_window_pattern", pattern)
        kinds = windows(pattern, layers)
    if len(kinds) != layers:
        raise InputError(f"{len(kinds)} kinds of layers for {layers} layers")
    if not window or "l" not in kinds:
        return first, "g" * layers, 0
    return last, kinds, window


def _caps(own: _Fields, family: str) -> tuple[float | None, float | None]:
    """Those of scores and of logits; only Gemma 2's are computed."""
    usual = (ATTENTION_CAP, LOGIT_CAP) if family == "gemma2" else (0.0, 0.0)
    found = []
    for name, value in zip(("attn", "final"), usual, strict=True):
        cap = own.number(f"{name}_logit_softcapping", value)
        if cap and family != "gemma2":
            own.wrong(f"{name}_logit_softcapping", cap)
        found.append(cap or None)
    return found[0], found[1]


def _local_theta(own: _Fields, family: str, pattern: str, theta: float) -> float | None:
    """The base of windowed layers, where it is another."""
    usual = LOCAL_BASE if family == "gemma3_text" else theta
    local = own.number("rope.freq_base_swa", usual)
    if local != theta and family != "gemma3_text":
        own.wrong("rope.freq_base_swa", local)
    return local if "l" in pattern and local != theta else None


def _rope(
    arch: Arch,
    own: _Fields,
    context: int,
    head_dim: int,
    theta: float,
    factors: Sequence[float] | None,
) -> Rope:
    kind = own.take("rope.scaling.type", "linear")
    older = own.number("rope.scale_linear", 0.0)
    factor = own.number("rope.scaling.factor", older) or 1.0
    original = own.whole("rope.scaling.original_context_length", 0)
    scaled = kind != "none" and factor != 1
    if factors is not None:
        if scaled or not arch.channel_factors:
            raise InputError(f"factors for each channel of {arch.name} are not read")
        return rope_of_factors(factors, theta, head_dim, original)
    if not scaled:
        return Rope()
    if kind == "linear":
        return Rope("linear", factor, original or math.ceil(round(context / factor, 6)))
    if kind != "yarn":
        own.wrong("rope.scaling.type", kind)
    return Rope("yarn", factor, original or context)
