"""Scaled positions: tables equal to transformers', and a factor of 1 changes no bit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ontogeny.model.initial import initialise
from ontogeny.model.rope import frequencies, magnitude, rope_tables
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs, Outputs
from ontogeny.plan.shape import Rope, RopeMethod, Shape

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
ORIGINAL = 256
CASES = [
    (head_dim, theta, factor)
    for head_dim in (8, 32, 64, 128)
    for theta in (1e4, 5e5, 1e6)
    for factor in (1.0, 1.5, 4.0, 16.0)
]


def theirs(kind: str, head_dim: int, theta: float, **values: Any) -> tuple[torch.Tensor, float]:
    """Frequencies and scale of transformers for a model of `ORIGINAL` tokens."""
    transformers = pytest.importorskip("transformers")
    rotary = pytest.importorskip("transformers.modeling_rope_utils")
    qwen3 = pytest.importorskip("transformers.models.qwen3.modeling_qwen3")
    seq_len = values.pop("seq_len", None)
    config = transformers.Qwen3Config(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        head_dim=head_dim,
        max_position_embeddings=values.pop("context", ORIGINAL),
        rope_parameters={"rope_type": kind, "rope_theta": theta} | values,
    )
    if kind == "default":
        found = qwen3.Qwen3RotaryEmbedding.compute_default_rope_parameters(config)
    else:
        found = rotary.ROPE_INIT_FUNCTIONS[kind](config, seq_len=seq_len)
    return found


def assert_equal_tables(
    expected: tuple[torch.Tensor, float], head_dim: int, theta: float, rope: Rope
) -> None:
    """To the last bit, at places where float32 is far from exact, too."""
    inverse_D, scale = expected
    assert torch.equal(frequencies(head_dim, theta, rope), inverse_D)
    assert magnitude(rope) == pytest.approx(scale, rel=1e-12)
    angles_PD = torch.arange(9000).float()[:, None] * inverse_D
    cos_PD, sin_PD = rope_tables(head_dim, theta, 9000, rope)
    assert torch.equal(cos_PD, angles_PD.cos() * scale)
    assert torch.equal(sin_PD, angles_PD.sin() * scale)


@pytest.mark.parity
@pytest.mark.parametrize(("head_dim", "theta", "factor"), CASES)
def test_the_tables_equal_those_of_transformers(head_dim: int, theta: float, factor: float) -> None:
    def check(rope: Rope, kind: str, **values: Any) -> None:
        assert_equal_tables(theirs(kind, head_dim, theta, **values), head_dim, theta, rope)

    check(Rope(), "default")
    check(Rope("linear", factor, ORIGINAL), "linear", factor=factor)
    check(
        Rope("yarn", factor, ORIGINAL),
        "yarn",
        factor=factor,
        original_max_position_embeddings=ORIGINAL,
        context=int(ORIGINAL * factor),
    )
    # dynamic NTK with factor 1 raises the base by seq_len / original, which is the fixed formula
    check(Rope("ntk", factor), "dynamic", factor=1.0, seq_len=int(ORIGINAL * factor))
    raised = theirs("default", head_dim, theta * 10)
    assert_equal_tables(raised, head_dim, theta, Rope("abf", factor, theta=theta * 10))


@pytest.mark.parity
@pytest.mark.parametrize("original", [7, 24, 64, 2048, 32768])
def test_yarn_equals_transformers_where_its_ramp_meets_the_ends(original: int) -> None:
    for head_dim in (4, 8, 64):
        found = theirs(
            "yarn",
            head_dim,
            1e4,
            factor=8.0,
            original_max_position_embeddings=original,
            context=8 * original,
        )
        assert_equal_tables(found, head_dim, 1e4, Rope("yarn", 8.0, original))


def test_yarn_leaves_fast_channels_and_slows_the_slowest_by_the_factor() -> None:
    ratio_D = frequencies(64, 1e4, Rope("yarn", 4.0, 512)) / frequencies(64, 1e4, Rope())
    assert bool((ratio_D[:-1] >= ratio_D[1:]).all())
    assert float(ratio_D[0]) == 1.0 and float(ratio_D[-1]) == 0.25
    turns_D = 512 * frequencies(64, 1e4, Rope()) / (2 * math.pi)
    assert bool((ratio_D[turns_D < 0.5] == 0.25).all())


def test_ntk_keeps_the_fastest_channel_and_slows_the_slowest_by_the_factor() -> None:
    ratio_D = frequencies(32, 1e4, Rope("ntk", 4.0)) / frequencies(32, 1e4, Rope())
    assert float(ratio_D[0]) == 1.0
    assert float(ratio_D[-1]) == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("method", ["plain", "linear", "ntk", "yarn"])
def test_an_extension_by_1_gives_the_same_logits_bit_for_bit(method: RopeMethod) -> None:
    short, long = Transformer(SHAPE), Transformer(SHAPE.extended(method, 1))
    initialise(short, 3)
    long.load_state_dict(short.state_dict())
    tokens = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens, tokens, torch.ones(3, 24))
    assert torch.equal(short.logits(batch), long.logits(batch))


@pytest.mark.parametrize("method", ["plain", "linear", "ntk", "abf", "yarn"])
def test_the_extended_model_takes_the_short_ones_weights_and_reads_further(
    method: RopeMethod,
) -> None:
    short, long = Transformer(SHAPE), Transformer(SHAPE.extended(method, 4))
    initialise(short, 3)
    long.load_state_dict(short.state_dict())
    tokens = torch.randint(61, (2, 96), generator=torch.Generator().manual_seed(0))
    whole = long.logits(Batch(tokens, tokens, torch.ones(2, 96)))
    state = long.new_state(2, 96)  # decoding reads the same tables
    long.extend(tokens[:, :95], [95, 95], [0, 1], state)
    last = long.extend(tokens[:, 95:], [1, 1], [0, 1], state)
    assert float((last - whole[:, -1]).abs().max()) < 1e-5
    with pytest.raises(AssertionError):
        short.logits(Batch(tokens, tokens, torch.ones(2, 96)))


def test_the_gradient_goes_through_scaled_positions() -> None:
    """YaRN's tables also lengthen, and the backward of the rotation is written by hand."""
    made = Transformer(SHAPE.extended("yarn", 4)).double()
    initialise(made, 3)
    tokens = torch.randint(61, (1, 40), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens, tokens.roll(-1, 1), torch.ones(1, 40))

    def total() -> torch.Tensor:
        outputs: Outputs = made(batch, Needs(log_probs=True))
        assert outputs.log_probs_BT is not None
        return outputs.log_probs_BT.sum()

    weight = made.stack[0].mixer.qkv
    total().backward()
    assert weight.grad is not None
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        weight += 1e-6 * direction
        up = total()
        weight -= 2e-6 * direction
        slope = float(up - total()) / 2e-6
    assert slope == pytest.approx(float((weight.grad * direction).sum()), rel=1e-5)
