"""Claims about the objective seam, on bare tensors."""

from __future__ import annotations

import pytest
import torch

from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.loss import Outputs


def batch(weights: list[list[float]]) -> Batch:
    weights_bt = torch.tensor(weights, dtype=torch.float32)
    tokens = torch.zeros(weights_bt.shape, dtype=torch.int64)
    return Batch(tokens, tokens, weights_bt)


def test_the_count_is_the_sum_of_the_weights() -> None:
    assert NextToken().counts(batch([[1, 0.5, 0], [0, 0, 2]])) == {"nll": 3.5}


def test_a_batch_without_weights_counts_nothing() -> None:
    assert NextToken().counts(batch([[0, 0]])) == {"nll": 0.0}


def test_the_term_is_minus_the_weighted_log_prob() -> None:
    loss = NextToken()(Outputs(weighted_log_prob=torch.tensor(-7.0)), batch([[1, 1]]))
    term = loss.terms["nll"]
    assert (float(term.sum), term.count, term.weight) == (7.0, 2.0, 1.0)


def test_document_lengths_must_fill_the_row() -> None:
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(AssertionError, match="add up"):
        Batch(tokens, tokens, torch.ones(1, 4), documents=[[1, 2]])
