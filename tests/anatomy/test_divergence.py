"""The divergence is the textbook sum, whatever is batched, packed or chunked with it."""

import pytest
import torch
from torch import Tensor

from ontogeny.anatomy.divergence import ROWS, divergence
from ontogeny.base.errors import InputError
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.plan.shape import Shape

VOCABULARY = 53


def model(seed: int, context: int = 48, vocabulary: int = VOCABULARY, sharp: float = 30.0):
    made = Transformer(Shape(vocabulary, 16, 2, 2, 1, 8, 32, context))
    initialise(made, seed)
    with torch.no_grad():
        made.embedding.mul_(sharp)  # far from uniform, so that there is something to tell apart
    return made.eval()


def batch(rows: int, length: int, seed: int = 0, documents: list[list[int]] | None = None) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    tokens_BT = torch.randint(0, VOCABULARY, (rows, length), generator=draw)
    weights_BT = (torch.rand(rows, length, generator=draw) < 0.7).float()
    return Batch(tokens_BT, torch.zeros_like(tokens_BT), weights_BT, documents)


def brute_force(first: Transformer, second: Transformer, asked: Batch) -> tuple[Tensor, ...]:
    """Both divergences and the agreement from whole float64 probabilities."""
    p_BTV, q_BTV = (torch.softmax(each.logits(asked).double(), -1) for each in (first, second))
    chosen_BT = asked.weights_BT != 0
    forward_BT = (p_BTV * (p_BTV.log() - q_BTV.log())).sum(-1) * chosen_BT
    reverse_BT = (q_BTV * (q_BTV.log() - p_BTV.log())).sum(-1) * chosen_BT
    agreed_BT = (p_BTV.argmax(-1) == q_BTV.argmax(-1)) & chosen_BT
    return forward_BT.sum(1), reverse_BT.sum(1), agreed_BT.sum(1), chosen_BT.sum(1)


def test_a_model_does_not_diverge_from_itself() -> None:
    one, asked = model(1), batch(3, 20)
    found = divergence(one, one, asked)
    assert found.forward_B.tolist() == [0.0] * 3
    assert found.reverse_B.tolist() == [0.0] * 3
    assert found.agreed_B.tolist() == found.tokens_B.tolist()


def test_it_is_the_sum_over_the_vocabulary_in_float64() -> None:
    first, second, asked = model(1), model(2), batch(4, 33)
    found = divergence(first, second, asked)
    forward_B, reverse_B, agreed_B, tokens_B = brute_force(first, second, asked)
    assert float(forward_B.min()) > 1
    torch.testing.assert_close(found.forward_B, forward_B, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.reverse_B, reverse_B, rtol=1e-6, atol=0)
    assert found.agreed_B.tolist() == agreed_B.tolist()
    assert found.tokens_B.tolist() == tokens_B.tolist()
    assert 0 < int(found.agreed_B.sum()) < int(found.tokens_B.sum())


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_chunks_do_not_change_it(rows: int) -> None:
    first, second, asked = model(1), model(2), batch(12, 40)
    assert int(asked.weights_BT.sum()) > ROWS
    whole, parts = divergence(first, second, asked), divergence(first, second, asked, rows)
    torch.testing.assert_close(parts.forward_B, whole.forward_B, rtol=1e-6, atol=0)
    torch.testing.assert_close(parts.reverse_B, whole.reverse_B, rtol=1e-6, atol=0)
    assert parts.agreed_B.tolist() == whole.agreed_B.tolist()


def test_swapping_the_models_swaps_the_directions() -> None:
    first, second, asked = model(1), model(2), batch(3, 20)
    there, back = divergence(first, second, asked), divergence(second, first, asked)
    torch.testing.assert_close(there.forward_B, back.reverse_B, rtol=1e-12, atol=0)
    torch.testing.assert_close(there.reverse_B, back.forward_B, rtol=1e-12, atol=0)


def test_a_small_divergence_is_half_the_square_and_not_lost_in_rounding() -> None:
    first, second = model(1, sharp=1.0), model(1, sharp=1.0)
    with torch.no_grad():
        second.norm.weight.mul_(1 + 1e-4)  # every logit grows by 1e-4 of itself
    asked = batch(3, 20)
    found = divergence(first, second, asked)
    logits_BTV = first.logits(asked).double()
    p_BTV = logits_BTV.softmax(-1)
    mean_BT1 = (p_BTV * logits_BTV).sum(-1, keepdim=True)
    variance_BT = (p_BTV * (logits_BTV - mean_BT1).square()).sum(-1)
    expected_B = 0.5e-8 * (variance_BT * asked.weights_BT).sum(1)
    assert float(expected_B.max()) < 1e-6
    torch.testing.assert_close(found.forward_B, expected_B, rtol=1e-2, atol=0)


def test_weights_only_select() -> None:
    first, second, asked = model(1), model(2), batch(2, 20)
    doubled = Batch(asked.tokens_BT, asked.targets_BT, 2 * asked.weights_BT)
    one, two = divergence(first, second, asked), divergence(first, second, doubled)
    assert one.forward_B.tolist() == two.forward_B.tolist()
    none = divergence(first, second, Batch(asked.tokens_BT, asked.tokens_BT, 0 * asked.weights_BT))
    assert none.forward_B.tolist() == [0.0, 0.0]
    assert none.tokens_B.tolist() == [0, 0]


def test_padding_and_packing_do_not_change_it() -> None:
    first, second = model(1), model(2)
    alone = divergence(first, second, batch(1, 11))
    short = batch(1, 11)
    padded = Batch(
        torch.cat([short.tokens_BT, torch.zeros(1, 9, dtype=torch.int64)], 1),
        torch.zeros(1, 20, dtype=torch.int64),
        torch.cat([short.weights_BT, torch.zeros(1, 9)], 1),
    )
    torch.testing.assert_close(
        divergence(first, second, padded).forward_B, alone.forward_B, rtol=1e-5, atol=0
    )
    packed = Batch(padded.tokens_BT, padded.targets_BT, padded.weights_BT, [[11, 9]])
    torch.testing.assert_close(
        divergence(first, second, packed).forward_B, alone.forward_B, rtol=1e-5, atol=0
    )


def test_a_longer_context_is_no_other_model() -> None:
    asked = batch(2, 20)
    found = divergence(model(1, context=20), model(1, context=48), asked)
    assert found.forward_B.tolist() == [0.0, 0.0]


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(InputError, match="53 and 54 tokens"):
        divergence(model(1), model(1, vocabulary=54), batch(1, 5))
