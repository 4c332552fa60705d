"""Filters equal the reference library's, draws follow the distribution, seeds know no others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ontogeny.infer.sampling import _mixed, _shaped_weights, choose, uniforms
from ontogeny.plan.sampling import Sampling

VOCAB = 397


def logits(rows, seed=0, scale=3.0):
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parity
@pytest.mark.parametrize(
    "rules",
    [
        Sampling(temperature=0.7),
        Sampling(top_k=5),
        Sampling(top_k=1000),
        Sampling(top_p=0.8),
        Sampling(top_p=1e-6),
        Sampling(top_p=0.999, temperature=50.0),
        Sampling(min_p=0.1),
        Sampling(temperature=1.7, top_k=20, top_p=0.9, min_p=0.05),
    ],
)
def test_filters_equal_transformers(rules):
    warp = pytest.importorskip("transformers.generation.logits_process")
    steps = [warp.TemperatureLogitsWarper(rules.temperature)]
    steps += [warp.TopKLogitsWarper(rules.top_k)] if rules.top_k else []
    steps += [warp.TopPLogitsWarper(rules.top_p)] if rules.top_p < 1 else []
    steps += [warp.MinPLogitsWarper(rules.min_p)] if rules.min_p else []
    logits_BV = logits(20)
    expected_BV = warp.LogitsProcessorList(steps)(None, logits_BV.clone()).softmax(-1)
    weights_BV = _shaped_weights(logits_BV, [rules] * 20)
    torch.testing.assert_close(weights_BV / weights_BV.sum(-1, keepdim=True), expected_BV)


def test_rows_of_one_batch_keep_their_own_rules():
    rules = [
        Sampling(seed=1),
        Sampling(temperature=0.0),
        Sampling(temperature=0.5, seed=2),
        Sampling(top_k=3, seed=3),
        Sampling(top_p=0.5, seed=4),
        Sampling(min_p=0.2, top_k=50, seed=5),
    ]
    logits_BV = logits(len(rules))
    before_BV = logits_BV.clone()
    for position in range(30):
        ids, log_probs = choose(logits_BV, rules, [position] * len(rules))
        for row, rule in enumerate(rules):
            alone = choose(logits_BV[row : row + 1], [rule], [position])
            assert (ids[row], log_probs[row]) == (alone[0][0], pytest.approx(alone[1][0]))
    assert torch.equal(logits_BV, before_BV)


def test_log_probs_are_those_of_the_unmodified_distribution():
    logits_BV = logits(4)
    rules = [
        Sampling(),
        Sampling(temperature=0.0),
        Sampling(temperature=3.0, seed=1),
        Sampling(top_k=2),
    ]
    ids, log_probs = choose(logits_BV, rules, [0] * 4)
    expected = logits_BV.double().log_softmax(-1)[range(4), ids]
    assert log_probs == pytest.approx(expected.tolist(), abs=1e-6)


def test_greedy_takes_the_lowest_of_tied_ids():
    logits_BV = torch.zeros(1, VOCAB)
    logits_BV[0, [30, 60]] = 2.0
    assert choose(logits_BV, [Sampling(temperature=0.0)], [0])[0] == [30]


@pytest.mark.parametrize(
    "rules",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(top_k=4),
        Sampling(top_p=0.6),
        Sampling(min_p=0.2),
    ],
)
def test_draws_follow_the_distribution(rules):
    draws = 20_000
    logits_1V = logits(1, scale=1.5)
    weights_V = _shaped_weights(logits_1V, [rules])[0].double()
    expected_V = draws * weights_V / weights_V.sum()
    rows = [replace(rules, seed=s) for s in range(100)]
    counts_V = torch.zeros(VOCAB, dtype=torch.float64)
    for position in range(draws // 100):
        ids, _ = choose(logits_1V.expand(100, -1), rows, [position] * 100)
        counts_V += torch.bincount(torch.tensor(ids), minlength=VOCAB)
    assert counts_V[expected_V == 0].sum() == 0
    rare = expected_V < 10  # chi-squared needs full bins: the rare ones become one
    counts = torch.cat([counts_V[~rare], counts_V[rare].sum()[None]])
    expected = torch.cat([expected_V[~rare], expected_V[rare].sum()[None]]).clamp(min=1e-9)
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    freedom = len(counts) - 1
    assert chi2 < freedom + 5 * (2 * freedom) ** 0.5  # five sigma of chi-squared


def test_a_tiny_temperature_is_greedy_and_overflows_nothing():
    logits_BV = logits(8)
    ids, log_probs = choose(
        logits_BV, [Sampling(temperature=1e-6, seed=s) for s in range(8)], [0] * 8
    )
    assert ids == logits_BV.argmax(-1).tolist()
    assert np.isfinite(log_probs).all()


def test_impossible_tokens_are_never_drawn_even_at_the_ends():
    logits_BV = torch.full((500, VOCAB), -torch.inf)
    logits_BV[:, 40:43] = 0.0
    ids, _ = choose(logits_BV, [Sampling(seed=s) for s in range(500)], [0] * 500)
    assert set(ids) == {40, 41, 42}


def test_uniform_numbers_are_uniform_and_differ_by_seed_and_position():
    seeds, positions = np.divmod(np.arange(40_000), 200)
    drawn = uniforms(seeds.tolist(), positions.tolist())
    assert len(set(drawn.tolist())) == 40_000
    counts, _ = np.histogram(drawn, bins=100, range=(0.0, 1.0))
    assert ((counts - 400) ** 2 / 400).sum() < 99 + 5 * (2 * 99) ** 0.5
    by_seed = drawn.reshape(200, 200)
    assert abs(np.corrcoef(by_seed[:-1].ravel(), by_seed[1:].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(by_seed[:, :-1].ravel(), by_seed[:, 1:].ravel())[0, 1]) < 0.03


def test_mixing_is_splitmix64_as_published():
    golden, seed = 0x9E3779B97F4A7C15, 1234567  # Vigna's splitmix64.c started at this state
    states = np.array([seed + golden * i for i in (1, 2, 3)], dtype=object) % 2**64
    mixed = _mixed(states.astype(np.uint64))
    assert mixed.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("vocab_size", [1, 2, 63, 64, 65, 1000])
def test_a_token_is_the_first_whose_running_sum_exceeds_the_uniform_number(vocab_size):
    rows = 400
    logits_BV = torch.randn(rows, vocab_size, generator=torch.Generator().manual_seed(1))
    ids, _ = choose(logits_BV, [Sampling(seed=s) for s in range(rows)], [7] * rows)
    drawn = uniforms(list(range(rows)), [7] * rows)
    sums = logits_BV.double().softmax(-1).cumsum(-1).numpy()
    expected = (sums <= drawn[:, None]).sum(-1)
    assert (np.array(ids) != expected).sum() <= 1  # fp32 may differ at a boundary
