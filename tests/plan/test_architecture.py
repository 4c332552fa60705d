"""Parameters and FLOPs follow from the fields of a configuration, counted by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.errors import InputError
from ontogeny.plan.architecture import Architecture, Experts, Latent
from ontogeny.plan.plan import family

SMALL = Architecture(
    layers=2, hidden=8, heads=4, kv_heads=2, head_dim=4, ff=12, vocab=10, tied=False
)
ATTENTION = 2 * 8 * 16 + 2 * 8 * 8  # queries and output; keys and values
LAYER = ATTENTION + 3 * 8 * 12 + 2 * 8
V3 = Architecture(
    layers=61,
    hidden=7168,
    heads=128,
    kv_heads=128,
    head_dim=128,
    ff=18432,
    vocab=129280,
    tied=False,
    experts=Experts(routed=256, active=8, ff=2048, shared=1, dense_layers=3),
    latent=Latent(query=1536, key_value=512, plain=128, rotary=64, value=128),
)


def test_a_dense_decoder_is_counted_by_hand() -> None:
    assert SMALL.parameters() == SMALL.active_parameters() == 2 * 10 * 8 + 2 * LAYER + 8
    assert SMALL.matmul_parameters() == 10 * 8 + 2 * (LAYER - 2 * 8)


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"tied": True}, -80),
        ({"gated": False}, -2 * 8 * 12),
        ({"norms": "layer"}, 2 * 16 + 8),
        ({"norms": "none"}, -2 * 16 - 8),
        ({"norms_a_layer": 4}, 2 * 16),
        ({"qk_norm": "head"}, 2 * 8),
        ({"qk_norm": "width"}, 2 * (16 + 8)),
        ({"biases": "qkv"}, 2 * (16 + 2 * 8)),
        ({"biases": "all"}, 2 * (16 + 2 * 8 + 8 + 2 * 12 + 8)),
        ({"biases": "all", "gated": False}, 2 * (16 + 2 * 8 + 8 + 12 + 8) - 2 * 8 * 12),
        ({"positions": 7}, 7 * 8),
        ({"relative_positions": True}, 2 * 8 * 16),
        ({"embedding_norm": True}, 8),
        ({"window": 3, "full_every": 2}, 0),
    ],
)
def test_each_field_adds_what_it_names(change: dict[str, object], more: int) -> None:
    changed = replace(SMALL, **change)  # type: ignore[arg-type]
    assert changed.parameters() - SMALL.parameters() == more


def test_of_a_mixture_only_the_active_experts_count() -> None:
    experts = Experts(routed=6, active=2, ff=5, shared=1, dense_layers=1)
    mixture = replace(SMALL, experts=experts)
    expert, router = 3 * 8 * 5, 8 * 6
    without = SMALL.parameters() - 3 * 8 * 12
    assert mixture.parameters() == without + 7 * expert + router
    assert mixture.active_parameters() == without + 3 * expert + router


def test_deepseek_v3_has_its_published_size() -> None:
    assert V3.parameters() == pytest.approx(671e9, rel=0.001)
    assert V3.active_parameters() - 129280 * 7168 == pytest.approx(36.6e9, rel=0.001)


def test_gpt2_has_the_124_million_weights_of_its_file() -> None:
    gpt2 = Architecture(
        layers=12,
        hidden=768,
        heads=12,
        kv_heads=12,
        head_dim=64,
        ff=3072,
        vocab=50257,
        tied=True,
        gated=False,
        biases="all",
        norms="layer",
        positions=1024,
    )
    assert gpt2.parameters() == 124_439_808


@pytest.mark.parametrize("width", [64, 512, 2048])
def test_our_own_shape_is_counted_alike_in_both_places(width: int) -> None:
    ours = family(width)
    same = Architecture(
        layers=ours.layers,
        hidden=ours.hidden,
        heads=ours.heads,
        kv_heads=ours.kv_heads,
        head_dim=ours.head_dim,
        ff=ours.ff,
        vocab=ours.vocab_size,
        tied=ours.tied,
        qk_norm="head",
    )
    assert same.parameters() == ours.parameters()
    assert same.matmul_parameters() == ours.matmul_parameters()
    flops = same.train_flops_with_attention(10, ours.context, causal=True)
    assert flops == pytest.approx(10 * ours.train_flops_per_token(ours.context))


def test_6nd_and_attention_are_counted_by_hand() -> None:
    assert SMALL.train_flops(100) == 6 * SMALL.parameters() * 100
    attention = 2 * 12 * 4 * 4 * 32  # layers x 12 h hd T
    expected = 100 * (6 * SMALL.matmul_parameters() + attention)
    assert SMALL.train_flops_with_attention(100, 32) == expected
    windowed = replace(SMALL, window=8, full_every=2)
    saved = 100 * 12 * 4 * 4 * (32 - 8)
    assert windowed.train_flops_with_attention(100, 32) == expected - saved


def test_latent_attention_counts_its_own_widths() -> None:
    short, long = (V3.train_flops_with_attention(1, context) for context in (1000, 2000))
    assert long - short == pytest.approx(61 * 6 * 128 * (192 + 128) * 1000)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 64), st.integers(1, 4096))
def test_a_window_never_costs_more(full_every: int, layers: int, window: int, context: int) -> None:
    plain = replace(SMALL, layers=layers)
    windowed = replace(plain, window=window, full_every=full_every)
    cost = windowed.train_flops_with_attention(1, context)
    assert 6 * plain.matmul_parameters() <= cost
    assert cost <= plain.train_flops_with_attention(1, context)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "sizes are at least 1"),
        ({"kv_heads": 3}, "kv_heads divides heads"),
        ({"experts": Experts(routed=4, active=5, ff=8)}, "at most all are active"),
        ({"experts": Experts(routed=4, active=2, ff=8, dense_layers=2)}, "less than layers"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **change)  # type: ignore[arg-type]
