"""Bias, penalties and masks equal their published forms, and touch only the rows that ask."""

import math
import random

import numpy as np
import pytest
import torch

from ontogeny.infer.guide import mask
from ontogeny.infer.sampling import NOTHING, choose, likeliest
from ontogeny.infer.steering import Steering
from ontogeny.plan.sampling import Sampling

VOCAB = 197
CPU = torch.device("cpu")


def logits(rows, seed=0):
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * 3.0


def bits(*ids, size=VOCAB):
    words = np.zeros(-(-size // 32), np.uint32)
    for id_ in ids:
        words[id_ // 32] |= np.uint32(1 << id_ % 32)
    return words.view(np.int32)


def spoken(rules, seed=0, prompt=9, said=14):
    """A steering that has seen each row's prompt and completion, which repeat ids."""
    draw = random.Random(seed)
    steering = Steering(len(rules), 90, VOCAB, CPU)
    texts = []
    for slot, rule in enumerate(rules):
        ids = [draw.randrange(20) for _ in range(prompt + said)]
        steering.begin(slot, tuple(ids[:prompt]), rule)
        texts.append((ids[:prompt], ids[prompt:]))
    for place in range(said):
        steering.add(range(len(rules)), [each[1][place] for each in texts], rules)
    return steering, texts


def steered(steering, logits_BV, rules, words=None):
    rows = range(len(rules))
    return steering.steered(logits_BV, rows, rules, words or [None] * len(rules))


@pytest.mark.parity
@pytest.mark.parametrize("penalty", [0.5, 1.3, 7.0])
def test_the_repetition_penalty_equals_transformers(penalty):
    process = pytest.importorskip("transformers.generation.logits_process")
    rules = [Sampling(repetition_penalty=penalty)] * 6
    steering, texts = spoken(rules)
    ids_BT = torch.tensor([[*prompt, *said] for prompt, said in texts])
    expected_BV = process.RepetitionPenaltyLogitsProcessor(penalty)(ids_BT, logits(6))
    assert torch.equal(steered(steering, logits(6), rules), expected_BV)


@pytest.mark.parity
def test_a_bias_equals_transformers_and_comes_before_the_penalty():
    process = pytest.importorskip("transformers.generation.logits_process")
    bias = ((3, 4.5), (150, -7.0), (151, -math.inf))
    rules = [Sampling(bias=bias, repetition_penalty=1.4)] * 3
    steering, texts = spoken(rules)
    ids_BT = torch.tensor([[*prompt, *said] for prompt, said in texts])
    biased = process.SequenceBiasLogitsProcessor([[[id_], value] for id_, value in bias])
    repeated = process.RepetitionPenaltyLogitsProcessor(1.4)
    expected_BV = repeated(ids_BT, biased(ids_BT, logits(3)))
    assert torch.equal(steered(steering, logits(3), rules), expected_BV)


def test_frequency_and_presence_penalties_are_openais_over_the_completion_alone():
    rules = [
        Sampling(frequency_penalty=0.7),
        Sampling(presence_penalty=-1.5),
        Sampling(frequency_penalty=-0.3, presence_penalty=2.0),
        Sampling(),
    ]
    steering, texts = spoken(rules, seed=1)
    got_BV = steered(steering, logits(4), rules)
    for row, (rule, (_, said)) in enumerate(zip(rules, texts, strict=True)):
        for id_ in range(VOCAB):
            count, expected = said.count(id_), logits(4)[row, id_].item()
            expected -= count * rule.frequency_penalty + (count > 0) * rule.presence_penalty
            assert got_BV[row, id_].item() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(got_BV[3], logits(4)[3])


def test_a_slot_forgets_the_request_before():
    rules = [Sampling(frequency_penalty=1.0, repetition_penalty=2.0, bias=((1, 5.0),))]
    steering, _ = spoken(rules, said=70)  # every one of the 20 ids
    fresh = Steering(1, 90, VOCAB, CPU)
    again = [Sampling(presence_penalty=1.0, bias=((2, 1.0),))]
    for each in (steering, fresh):
        each.begin(0, (7, 8), again[0])
        each.add([0], [7], again)
    assert torch.equal(steered(steering, logits(1), again), steered(fresh, logits(1), again))


def test_who_asks_for_nothing_costs_and_changes_nothing():
    rules = [Sampling(temperature=0.3, top_k=4)] * 3
    assert steered(Steering(3, 90, VOCAB, CPU), logits(3), rules) is None


@pytest.mark.parametrize("size", [1, 31, 32, 33, 197])
def test_a_mask_is_read_bit_by_bit(size):
    draw = random.Random(size)
    rows = [[id_ for id_ in range(size) if draw.random() < 0.4] for _ in range(5)]
    mask_RV = mask([bits(*ids, size=size) for ids in rows], size, CPU)
    assert [row.nonzero()[:, 0].tolist() for row in mask_RV] == rows


def test_ids_beyond_a_short_mask_are_not_allowed_and_words_beyond_the_vocabulary_are_ignored():
    mask_RV = mask([bits(3, 31)[:1], np.full(99, -1, np.int32)], 40, CPU)
    assert mask_RV[0].nonzero()[:, 0].tolist() == [3, 31]
    assert mask_RV[1].all() and mask_RV.shape == (2, 40)


@pytest.mark.parametrize(
    "rules",
    [Sampling(temperature=0.0), Sampling(), Sampling(temperature=2.0, top_k=90, top_p=0.99)],
)
def test_only_what_a_mask_allows_is_chosen_with_the_log_prob_of_the_whole_distribution(rules):
    logits_BV, words = logits(200), [bits(5, 60, 61, 190) if i % 2 else None for i in range(200)]
    sampling = [rules] * 200
    steering = Steering(200, 90, VOCAB, CPU)
    steered_BV = steered(steering, logits_BV, sampling, words)
    ids, log_probs = choose(logits_BV, sampling, list(range(200)), steered_BV)
    plain, _ = choose(logits_BV, sampling, list(range(200)))
    assert ids[::2] == plain[::2]
    assert set(ids[1::2]) <= {5, 60, 61, 190}
    expected = logits_BV.log_softmax(-1)[range(200), ids]
    assert log_probs == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_forced_token_is_chosen_however_unlikely():
    logits_BV = logits(1)
    last = int(logits_BV.argmin())
    for rules in ([Sampling(temperature=0.0)], [Sampling()], [Sampling(top_p=0.1, min_p=0.5)]):
        steered_BV = steered(Steering(1, 90, VOCAB, CPU), logits_BV, rules, [bits(last)])
        assert choose(logits_BV, rules, [0], steered_BV)[0] == [last]


@pytest.mark.parametrize("temperature", [0.0, 1.0, 0.4])
def test_a_row_with_nothing_allowed_gets_no_token_and_the_others_theirs(temperature):
    rules = [Sampling(temperature=temperature, seed=i) for i in range(4)]
    logits_BV = logits(4)
    steered_BV = steered(
        Steering(4, 90, VOCAB, CPU), logits_BV, rules, [None, bits(), None, bits(9)]
    )
    ids, _ = choose(logits_BV, rules, [0] * 4, steered_BV)
    plain, _ = choose(logits_BV, rules, [0] * 4)
    assert ids == [plain[0], NOTHING, plain[2], 9]


def test_a_bias_that_forbids_everything_leaves_nothing():
    rules = [Sampling(bias=tuple((id_, -math.inf) for id_ in range(VOCAB)))]
    steering = Steering(1, 90, VOCAB, CPU)
    steering.begin(0, (1,), rules[0])
    assert choose(logits(1), rules, [0], steered(steering, logits(1), rules))[0] == [NOTHING]


def test_the_likeliest_are_sorted_with_their_log_probs_and_ties_by_id():
    logits_BV = logits(3)
    logits_BV[1, [7, 60, 61, 190]] = 50.0
    logits_BV[2] = -logits_BV[2].abs()
    logits_BV[2, [9, 4]] = torch.tensor([0.0, -0.0])
    told = likeliest(logits_BV, [20, 3, 500])
    assert [len(row) for row in told] == [20, 3, VOCAB]
    assert [id_ for id_, _ in told[1]] == [7, 60, 61]
    assert [id_ for id_, _ in told[2][:2]] == [4, 9]
    for row, logits_V in zip(told, logits_BV, strict=True):
        order = sorted(range(VOCAB), key=lambda id_, of=logits_V: (-of[id_].item(), id_))
        assert [id_ for id_, _ in row] == order[: len(row)]
        expected = logits_V.log_softmax(-1)[order[: len(row)]]
        assert [value for _, value in row] == pytest.approx(expected.tolist(), abs=1e-5)
