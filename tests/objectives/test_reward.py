"""The likelihood of preferences equals its formula, written out plainly in float64."""

from __future__ import annotations

import math

import pytest
import torch

from ontogeny.objectives.loss import Outputs
from ontogeny.objectives.reward import BradleyTerry, Compared, agreement

PAIRS = 5


def compared(probability: torch.Tensor | None = None) -> Compared:
    """A row an answer of 4 tokens, judged at its last."""
    answers = 2 * PAIRS
    tokens = torch.zeros(answers, 4, dtype=torch.int64)
    weights = torch.zeros(answers, 4)
    weights[:, -1] = 1.0
    number = torch.arange(answers)[:, None] * (weights > 0)
    return Compared(
        tokens,
        tokens,
        weights,
        answer_BT=number,
        answers=answers,
        probability_P=torch.ones(PAIRS) if probability is None else probability,
    )


def valued(seed: int = 0) -> tuple[torch.Tensor, list[float]]:
    """values_BT with noise where nothing is judged, and the judged ones."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(2 * PAIRS, 4, generator=draw, dtype=torch.float64)
    return values.requires_grad_(), values[:, -1].tolist()


@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("sure", [[1.0] * PAIRS, [0.9, 0.5, 0.2, 0.0, 1.0]])
def test_the_loss_is_the_formula(margin: float, sure: list[float]) -> None:
    values, judged = valued()
    objective = BradleyTerry(margin=margin, centring=0.01)
    batch = compared(torch.tensor(sure, dtype=torch.float64))
    loss = objective(Outputs(values_BT=values), batch)
    expected, centre = 0.0, 0.0
    for pair, p in enumerate(sure):
        better, worse = judged[2 * pair], judged[2 * pair + 1]
        right = math.log1p(math.exp(-(better - worse - margin)))
        wrong = math.log1p(math.exp(-(worse - better - margin)))
        expected += p * right + (1 - p) * wrong
        centre += (better + worse) ** 2
    assert float(loss.terms["preference"].sum.detach()) == pytest.approx(expected, rel=1e-12)
    assert float(loss.terms["centre"].sum.detach()) == pytest.approx(centre, rel=1e-12)
    assert loss.terms["centre"].weight == 0.01
    assert objective.counts(batch)["preference"] == PAIRS


def test_the_gradient_pulls_the_two_apart_by_how_sure_the_label_is() -> None:
    values, judged = valued(1)
    sure = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64)
    loss = BradleyTerry()(Outputs(values_BT=values), compared(sure))
    loss.terms["preference"].sum.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    for pair, p in enumerate(sure.tolist()):
        believed = 1 / (1 + math.exp(-(judged[2 * pair] - judged[2 * pair + 1])))
        better, worse = values.grad[2 * pair], values.grad[2 * pair + 1]
        assert better.tolist() == pytest.approx([0, 0, 0, believed - p])
        assert worse.tolist() == pytest.approx([0, 0, 0, p - believed])


def test_agreement_is_half_where_label_or_lead_says_nothing() -> None:
    lead = torch.tensor([1.0, -1.0, 0.0, 2.0, -2.0])
    sure = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.1])
    assert agreement(lead, sure).tolist() == [1.0, 0.0, 0.5, 0.5, 1.0]


def test_metrics_count_pairs_and_answers() -> None:
    values, judged = valued(2)
    objective, batch = BradleyTerry(), compared()
    metrics, counts = objective(Outputs(values_BT=values), batch).metrics, objective.counts(batch)
    leads = [judged[2 * pair] - judged[2 * pair + 1] for pair in range(PAIRS)]
    accuracy = float(metrics["accuracy"]) / counts["accuracy"]
    assert accuracy == sum(lead > 0 for lead in leads) / PAIRS
    assert float(metrics["margin"]) / counts["margin"] == pytest.approx(sum(leads) / PAIRS)
    assert float(metrics["reward"]) / counts["reward"] == pytest.approx(sum(judged) / len(judged))
