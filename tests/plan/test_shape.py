"""Longer context: what an extension means, and which numbers do not fit together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ontogeny.base.config import from_dict, identity_dict, override, to_dict
from ontogeny.base.errors import InputError
from ontogeny.plan.plan import Plan
from ontogeny.plan.shape import Rope, RopeMethod, Shape

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
PINNED = Path(__file__).resolve().parents[1] / "support" / "tiny_plan.json"


def test_an_extension_multiplies_the_context_and_keeps_the_weights() -> None:
    long = SHAPE.extended("yarn", 4)
    assert (long.context, long.rope) == (96, Rope("yarn", 4.0, 24))
    assert replace(long, context=24, rope=Rope()) == SHAPE
    assert long.parameters() == SHAPE.parameters()
    assert long.forward_flops_per_token() > SHAPE.forward_flops_per_token()


@pytest.mark.parametrize("method", ["plain", "linear", "ntk", "abf", "yarn"])
def test_two_extensions_equal_one_by_their_product(method: RopeMethod) -> None:
    assert SHAPE.extended(method, 2).extended(method, 4) == SHAPE.extended(method, 8)


def test_only_ntk_and_abf_raise_the_base() -> None:
    bases = {m: SHAPE.extended(m, 4).rope_base for m in ("plain", "linear", "yarn", "ntk", "abf")}
    assert bases["plain"] == bases["linear"] == bases["yarn"] == 1e4
    assert bases["ntk"] == pytest.approx(1e4 * 4 ** (8 / 6))
    assert bases["abf"] == 5e5 and SHAPE.extended("abf", 4, theta=2e4).rope_base == 2e4


def test_a_shape_written_before_there_was_rope_is_plain() -> None:
    values = json.loads(PINNED.read_text())["shape"]
    assert "rope" not in values
    assert from_dict(Shape, values).rope == Rope()
    pinned = Plan.from_dict(json.loads(PINNED.read_text()), file=str(PINNED))
    assert pinned.shape.rope == Rope()


def test_an_extended_shape_survives_json_and_has_an_identity_of_its_own() -> None:
    long = SHAPE.extended("abf", 4)
    assert from_dict(Shape, json.loads(json.dumps(to_dict(long)))) == long
    later = {"family", "pattern", "window", "local_theta", "query_scale"}
    later |= {"attention_cap", "logit_cap"}
    assert to_dict(long).keys() - identity_dict(long).keys() == later
    assert "family" in identity_dict(replace(long, family="llama"))
    shapes = [SHAPE.extended(m, 4) for m in ("plain", "linear", "yarn", "ntk", "abf")]
    assert len({json.dumps(identity_dict(shape)) for shape in shapes}) == 5


def test_the_extension_can_be_overridden_by_name() -> None:
    long = SHAPE.extended("linear", 4)
    assert override(long, ("rope.method", "yarn")) == SHAPE.extended("yarn", 4)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"method": "cubic"}, "rope.method is 'cubic'; give one of plain, linear"),
        ({"factor": 2.0}, "plain positions are not scaled"),
        ({"method": "ntk", "factor": 0.5}, "rope.factor is 0.5; give at least 1"),
        ({"method": "ntk", "factor": float("nan")}, "rope.factor is nan"),
        ({"method": "ntk", "factor": float("inf")}, "rope.factor is inf"),
        ({"method": "yarn", "factor": 4.0}, "give the context before the extension"),
        ({"method": "yarn", "factor": 4.0, "original_context": 6}, "at least 7 for yarn"),
        ({"method": "linear", "factor": 4.0}, "give the context before the extension"),
        ({"method": "abf", "factor": 4.0}, "give the raised base"),
        ({"theta": 5e5}, "only abf reads it; remove it"),
    ],
)
def test_an_extension_that_does_not_fit_together_is_refused(
    rope: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Rope(**rope)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": 97, "rope": Rope("yarn", 4.0, 24)}, r"reaches 96 tokens \(24 x 4\)"),
        ({"context": 97, "rope": Rope("linear", 4.0, 24)}, "raise rope.factor"),
        ({"head_dim": 2, "rope": Rope("ntk", 4.0)}, "ntk needs at least 4"),
        ({"rope": Rope("abf", 4.0, theta=5e3)}, "abf raises the base"),
        ({"rope_theta": 1.0}, "give more than 1"),
    ],
)
def test_a_shape_its_positions_do_not_fit_is_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(SHAPE, **change)  # type: ignore[arg-type]


def test_extensions_that_cannot_be_are_one_line() -> None:
    for factor in (0.5, 1.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="give a factor of at least 1"):
            SHAPE.extended("yarn", factor)
    with pytest.raises(InputError, match="already scaled by yarn; extend by yarn again"):
        SHAPE.extended("yarn", 2).extended("ntk", 2)
