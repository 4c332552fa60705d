"""Identities of the decoder: packing, caches, needs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ontogeny.model.initial import initialise
from ontogeny.model.layout import SLACK, layout
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.plan.shape import Shape

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)


def model(shape: Shape = SHAPE) -> Transformer:
    made = Transformer(shape)
    initialise(made, 3)
    return made


def random_batch(rows: int, length: int, documents: list[list[int]] | None = None) -> Batch:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    tokens = torch.randint(SHAPE.vocab_size, (rows, length + 1), generator=generator)
    return Batch(
        tokens[:, :-1].contiguous(),
        tokens[:, 1:].contiguous(),
        torch.rand(rows, length, generator=generator),
        documents,
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_shape_knows_the_number_of_parameters(tied: bool) -> None:
    shape = Shape(61, 32, 2, 4, 2, 8, 48, 24, tied=tied)
    assert sum(p.numel() for p in Transformer(shape).parameters()) == shape.parameters()


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    one, two, three = model(), model(), Transformer(SHAPE)
    initialise(three, 4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.embedding, three.embedding)


def test_packing_equals_padding() -> None:
    """Documents packed into one row: the loss and gradients of the same documents, padded."""
    lengths = [5, 11, 1, 3]
    packed = random_batch(1, 20, [lengths])
    padded = torch.zeros(3, 4, 11, dtype=torch.int64)
    weights, start = torch.zeros(4, 11), 0
    for row, length in enumerate(lengths):
        stop = start + length
        padded[0, row, :length] = packed.tokens_BT[0, start:stop]
        padded[1, row, :length] = packed.targets_BT[0, start:stop]
        weights[row, :length] = packed.weights_BT[0, start:stop]
        start = stop
    gradients = []
    for batch in (packed, Batch(padded[0], padded[1], weights)):
        made = model()
        total = made(batch, Needs(weighted_log_prob=True)).weighted_log_prob
        total.backward()
        gradients.append([total.detach(), *(p.grad for p in made.parameters())])
    torch.testing.assert_close(*gradients, rtol=2e-5, atol=1e-5)


def test_a_token_sees_neither_its_future_nor_another_document() -> None:
    batch = random_batch(2, 16, [[7, 9], [16]])
    before = model().logits(batch)
    changed = batch.tokens_BT.clone()
    changed[0, 9] = (changed[0, 9] + 1) % SHAPE.vocab_size
    after = model().logits(Batch(changed, batch.targets_BT, batch.weights_BT, batch.documents))
    differs = (before != after).any(-1)
    assert differs[0, 9]
    assert not differs[0, :9].any()
    assert not differs[1].any()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=4))
def test_a_layout_holds_every_token_once_in_its_place(documents: list[list[int]]) -> None:
    width = max(1, *(sum(row) for row in documents))
    documents = [[*row, width - sum(row)] for row in documents]
    plan = layout(len(documents), width, documents, torch.device("cpu"))
    tokens = len(documents) * width
    source = torch.arange(tokens) if plan.source_N is None else plan.source_N
    stream = torch.arange(tokens) if plan.stream_M is None else plan.stream_M
    assert torch.equal(source[stream], torch.arange(tokens))
    assert sum(count * longest for count, longest in plan.blocks) == len(source)
    assert len(source) * (1 - SLACK) <= tokens
    if plan.positions_N is not None:
        expected = [i for row in documents for length in row for i in range(length)]
        assert plan.positions_N[stream].tolist() == expected


def test_tokens_of_weight_zero_cost_nothing_and_change_nothing() -> None:
    batch = random_batch(2, 12)
    batch.weights_BT[:, ::2] = 0
    outputs = model()(batch, Needs(weighted_log_prob=True, log_probs=True, entropy=True))
    logits = model().logits(batch)
    log_probs = logits.log_softmax(-1)
    expected = log_probs.gather(-1, batch.targets_BT[..., None])[..., 0]
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    here = batch.weights_BT > 0
    torch.testing.assert_close(outputs.log_probs_BT, expected * here)
    torch.testing.assert_close(outputs.entropy_BT, entropy * here)
    torch.testing.assert_close(outputs.weighted_log_prob, (expected * batch.weights_BT).sum())


def test_gradients_equal_finite_differences() -> None:
    made = model(Shape(7, 8, 1, 2, 1, 4, 6, 8)).double()
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(7, (1, 6), generator=generator)
    batch = Batch(tokens, tokens.roll(-1), torch.ones(1, 6), [[2, 4]])
    batch = Batch(batch.tokens_BT, batch.targets_BT, batch.weights_BT, batch.documents)

    def total() -> torch.Tensor:
        outputs = made(batch, Needs(log_probs=True))
        assert outputs.log_probs_BT is not None
        return outputs.log_probs_BT.sum()

    total().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-6 * direction
            up = total()
            parameter -= 2e-6 * direction
            down = total()
            parameter += 1e-6 * direction
        slope = float((up - down) / 2e-6)
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, 1e-5, 1e-7), name


def test_extending_a_cache_equals_the_whole_forward() -> None:
    made, batch = model(), random_batch(3, 20)
    expected = made.logits(batch)
    state = made.new_state(4, 20)
    slots, held = [3, 0, 2], [0, 0, 0]
    for counts in ([5, 9, 1], [3, 1, 4], [1, 1, 1], [11, 9, 14]):
        new = torch.zeros(3, max(counts), dtype=torch.int64)
        for row, count in enumerate(counts):
            new[row, :count] = batch.tokens_BT[row, held[row] : held[row] + count]
        logits = made.extend(new, counts, slots, state)
        held = [a + b for a, b in zip(held, counts, strict=True)]
        for row, length in enumerate(held):
            torch.testing.assert_close(logits[row], expected[row, length - 1], rtol=1e-4, atol=1e-5)
    assert [state.lengths[slot] for slot in slots] == [20, 20, 20]


def test_a_shared_prefix_is_copied_and_a_freed_slot_starts_anew() -> None:
    made, batch = model(), random_batch(2, 12)
    state = made.new_state(2, 12)
    made.extend(batch.tokens_BT[:1, :8], [8], [0], state)
    state.copy_prefix(0, 1, 6)
    fork = torch.cat([batch.tokens_BT[:1, :6], batch.tokens_BT[1:, :3]], 1)
    got = made.extend(fork[:, 6:], [3], [1], state)
    weights = torch.ones(fork.shape)
    torch.testing.assert_close(got[0], made.logits(Batch(fork, fork, weights))[0, -1])
    state.free(0)
    again = made.extend(batch.tokens_BT[1:], [12], [0], state)
    torch.testing.assert_close(again[0], made.logits(batch)[1, -1])


def test_scoring_behind_a_cache_equals_scoring_at_once() -> None:
    made, batch = model(), random_batch(2, 12)
    weights = torch.ones(2, 12)
    whole = Batch(batch.tokens_BT, batch.targets_BT, weights)
    expected = made(whole, Needs(log_probs=True)).log_probs_BT.detach()
    state = made.new_state(2, 12)
    made.extend(batch.tokens_BT[:, :4], [4, 4], [0, 1], state)
    tokens, targets = batch.tokens_BT[:, 4:], batch.targets_BT[:, 4:]
    got = made.extend_log_probs(tokens, targets, [8, 5], [0, 1], state)
    torch.testing.assert_close(got[0], expected[0, 4:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1, :5], expected[1, 4:9], rtol=1e-4, atol=1e-5)
    assert not got[1, 5:].any()
