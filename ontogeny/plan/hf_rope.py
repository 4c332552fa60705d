"""Rotary positions <-> what config.json says of them, in transformers 4's words and in 5's.

Knows no other field. What would give other tables than ours is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.plan.family import Family
from ontogeny.plan.shape import Rope, Shape

_THETA = {"smollm3": 2e6, "olmo3": 5e5, "gemma3_text": 1e6}
"""The base where a config names none; 10,000 for the others."""
_LOCAL_THETA = {"gemma3_text": 1e4}

_FIXED = {
    "beta_fast": 32,
    "beta_slow": 1,
    "truncate": True,
    "partial_rotary_factor": 1,
    "mscale": None,
}


def ropes(
    fields: Mapping[str, Any], form: Family, context: int, path: Path
) -> tuple[float, Rope, float]:
    """The base, how positions are scaled, and the base of layers with their own plain positions.

    Raises:
        InputError: scaling of a kind that is not computed here.
        KeyError, TypeError, ValueError: a number is missing or none.
    """
    given = dict(fields.get("rope_parameters") or fields.get("rope_scaling") or {})
    local: Mapping[str, Any] = {}
    if "full_attention" in given:
        local = given.get("sliding_attention") or {}
        given = dict(given["full_attention"] or {})
    usual = _THETA.get(form.model_type, 1e4)
    theta = float(given.get("rope_theta") or fields.get("rope_theta") or usual)
    own = fields.get("rope_local_base_freq") or _LOCAL_THETA.get(form.model_type, theta)
    if local and _rope(local, context, path) != Rope():
        raise InputError("windowed layers with scaled positions are not read", file=path)
    if local and not form.own_local_rope:
        raise InputError(f"{form.model_type} has one kind of positions, not two", file=path)
    return theta, _rope(given, context, path), float(local.get("rope_theta") or own)


def rope_fields(shape: Shape) -> dict[str, Any]:
    """What transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters) read.

    transformers 4 takes YaRN's factor from max_position_embeddings / original, which is ours where
    the context is the whole reach.
    """
    scaling = _scaling(shape.rope)
    parameters = (scaling or {"rope_type": "default"}) | {"rope_theta": shape.rope_base}
    fields = {"rope_theta": shape.rope_base, "rope_scaling": scaling, "rope_parameters": parameters}
    if not shape.form.own_local_rope:
        return fields
    local = shape.local_theta or shape.rope_base
    plain = {"rope_type": "default", "rope_theta": local}
    fields["rope_parameters"] = {"full_attention": parameters, "sliding_attention": plain}
    if shape.family in _LOCAL_THETA:
        fields["rope_local_base_freq"] = local
    return fields


def _scaling(rope: Rope) -> dict[str, Any] | None:
    """What stands beside the base; None for plain positions of any base."""
    if rope.method == "linear":
        return {"rope_type": "linear", "factor": rope.factor}
    original = {"original_max_position_embeddings": rope.original_context}
    if rope.method == "yarn":
        return {"rope_type": "yarn", "factor": rope.factor} | original
    if rope.method == "llama3":
        turns = {"low_freq_factor": rope.slow_turns, "high_freq_factor": rope.fast_turns}
        return {"rope_type": "llama3", "factor": rope.factor} | turns | original
    return None


def _rope(values: Mapping[str, Any], context: int, path: Path) -> Rope:
    """The inverse of `_scaling`; refuses what would give other tables than ours."""
    kind = values.get("rope_type", values.get("type", "default"))
    read = {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"}
    if kind == "llama3":
        read |= {"low_freq_factor", "high_freq_factor"}
    for name in sorted(values.keys() - read):
        value = values[name]
        if value is None or value == _FIXED.get(name):
            continue
        if name == "attention_factor" and kind == "yarn" and _is_yarns(value, values["factor"]):
            continue
        raise InputError(f"rotary positions with {name} {value} are not read", file=path)
    if kind == "default":
        return Rope()
    if kind == "linear":  # the file does not tell the original context
        factor = float(values["factor"])
        return Rope("linear", factor, math.ceil(round(context / max(factor, 1), 6)))
    if kind in ("yarn", "llama3"):
        factor = float(values["factor"])
        original = int(values["original_max_position_embeddings"])
        if kind == "yarn":
            return Rope("yarn", factor, original)
        turns = float(values["low_freq_factor"]), float(values["high_freq_factor"])
        return Rope("llama3", factor, original, None, *turns)
    raise InputError(
        f"rope_type is {kind!r}; only default, linear, yarn and llama3 are read", file=path
    )


def _is_yarns(value: Any, factor: Any) -> bool:
    """Whether an attention factor is the one that follows from YaRN's factor."""
    return math.isclose(float(value), 0.1 * math.log(float(factor)) + 1, rel_tol=1e-6)
