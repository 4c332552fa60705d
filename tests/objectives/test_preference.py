"""DPO and its relatives equal the papers' formulas, written out plainly in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Pairs
from ontogeny.objectives.loss import Outputs
from ontogeny.objectives.preference import DPO
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)
WIDTH = 12
PROMPT = 4


def batch(seed: int, pairs: int = 4, dtype: torch.dtype = torch.float64) -> Pairs:
    """A row an answer: `PROMPT` tokens read, then 1 to 8 said, then padding."""
    draw = torch.Generator().manual_seed(seed)
    answers = 2 * pairs
    tokens = torch.randint(SHAPE.vocab_size, (answers, WIDTH + 1), generator=draw)
    lengths = torch.randint(1, 9, (answers, 1), generator=draw)
    place = torch.arange(WIDTH)
    inside = (place >= PROMPT) & (place < PROMPT + lengths)
    number = torch.arange(answers)[:, None].expand(-1, WIDTH)
    return Pairs(
        tokens[:, :-1].contiguous(),
        tokens[:, 1:].contiguous(),
        inside.float(),
        answer_BT=torch.where(inside, number, 0),
        answers=answers,
        reference_S=-30 * torch.rand(answers, generator=draw, dtype=dtype),
    )


def log_probs(seed: int, like: Pairs) -> torch.Tensor:
    """Random log-probs, 0 where nothing is said, as the model gives them."""
    draw = torch.Generator().manual_seed(seed)
    values = -5 * torch.rand(like.weights_BT.shape, generator=draw, dtype=torch.float64)
    return (values * like.weights_BT).requires_grad_()


def loss_and_gradient(objective: DPO, given: Pairs, values: torch.Tensor) -> tuple[float, Any]:
    """The loss a pair (nll: a token), as the loop divides it, and its gradient."""
    terms = objective(Outputs(log_probs_BT=values), given).terms.values()
    total = torch.stack([term.sum * term.weight / term.count for term in terms]).sum()
    total.backward()
    assert values.grad is not None
    return float(total.detach()), values.grad.numpy()


def plain(objective: DPO, given: Pairs, values: torch.Tensor) -> tuple[float, Any]:
    """Loss and gradient token by token, from the papers; no autograd, no torch functions."""
    rows = values.detach().numpy()
    gradient = np.zeros_like(rows)
    pairs, beta, smoothing = given.answers // 2, objective.beta, objective.label_smoothing
    total, chosen_tokens = 0.0, int(given.weights_BT[0::2].sum())
    for pair in range(pairs):
        ratios, scales = [], []
        for row in (2 * pair, 2 * pair + 1):
            said = [float(x) for x in rows[row, PROMPT:] if x != 0]
            ratio = math.fsum(said) - float(given.reference_S[row])
            scale = 1 / len(said) if objective.length_normalised else 1.0
            ratios.append(ratio * scale)
            scales.append(scale)
        h = ratios[0] - ratios[1]
        if objective.loss == "ipo":
            total += (h - 1 / (2 * beta)) ** 2 / pairs
            slope = 2 * (h - 1 / (2 * beta)) / pairs
        else:
            right, wrong = 1 / (1 + math.exp(-beta * h)), 1 / (1 + math.exp(beta * h))
            total -= ((1 - smoothing) * math.log(right) + smoothing * math.log(wrong)) / pairs
            slope = beta * (smoothing * right - (1 - smoothing) * wrong) / pairs
        for row, sign, scale in ((2 * pair, 1, scales[0]), (2 * pair + 1, -1, scales[1])):
            gradient[row] += sign * slope * scale * given.weights_BT[row].double().numpy()
        chosen = given.weights_BT[2 * pair].double().numpy()
        total -= objective.nll * float((rows[2 * pair] * chosen).sum()) / chosen_tokens
        gradient[2 * pair] -= objective.nll * chosen / chosen_tokens
    return total, gradient


OBJECTIVES = {
    "dpo": DPO(beta=0.1),
    "strong anchor": DPO(beta=0.7),
    "cdpo": DPO(beta=0.3, label_smoothing=0.2),
    "ipo": DPO(beta=0.2, loss="ipo"),
    "length-normalised": DPO(beta=2.0, length_normalised=True),
    "length-normalised ipo": DPO(beta=0.5, loss="ipo", length_normalised=True),
    "with likelihood": DPO(beta=0.1, nll=0.25),
    "everything": DPO(beta=0.4, label_smoothing=0.1, length_normalised=True, nll=1.5),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradient_equal_the_formula(name: str) -> None:
    for seed in range(5):
        given = batch(seed)
        values = log_probs(seed + 100, given)
        expected, slope = plain(OBJECTIVES[name], given, values)
        found, gradient = loss_and_gradient(OBJECTIVES[name], given, values)
        assert found == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=1e-14)


def at_the_reference(given: Pairs) -> tuple[Pairs, torch.Tensor]:
    values = log_probs(7, given)
    sums = given.sums(values.detach())
    fields = {name: getattr(given, name) for name in ("tokens_BT", "targets_BT", "weights_BT")}
    kept = Pairs(
        **fields, answer_BT=given.answer_BT, answers=given.answers, reference_S=sums.clone()
    )
    return kept, values


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_at_the_reference_the_loss_is_log_2_and_the_margin_0(smoothing: float) -> None:
    given, values = at_the_reference(batch(0))
    loss = DPO(beta=0.3, label_smoothing=smoothing)(Outputs(log_probs_BT=values), given)
    assert float(loss.terms["preference"].sum.detach()) == pytest.approx(4 * math.log(2))
    assert float(loss.metrics["margin"]) == 0.0
    assert float(loss.metrics["accuracy"]) == 0.0


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_swapped_labels_turn_the_gradient_around(kind: Any) -> None:
    """At the reference (h = 0), where nothing else distinguishes the two answers."""
    given, values = at_the_reference(batch(0))
    objective = DPO(beta=0.3, loss=kind)
    _, gradient = loss_and_gradient(objective, given, values)
    order = [1, 0, 3, 2, 5, 4, 7, 6]
    swapped = Pairs(
        given.tokens_BT[order],
        given.targets_BT[order],
        given.weights_BT[order],
        answer_BT=torch.where(given.weights_BT[order] > 0, torch.arange(8)[:, None], 0),
        answers=8,
        reference_S=given.reference_S[order],
    )
    other = values.detach()[order].requires_grad_()
    _, turned = loss_and_gradient(objective, swapped, other)
    np.testing.assert_allclose(turned, -gradient[order], rtol=1e-12)
    assert np.abs(gradient).max() > 0.01


def test_the_metrics_are_the_share_of_right_pairs_and_the_mean_margin() -> None:
    given = batch(3, pairs=1)
    weights = given.weights_BT
    better = torch.stack([weights[0] * -0.1, weights[1] * -9.0]).double()
    objective = DPO(beta=0.5)
    loss = objective(Outputs(log_probs_BT=better), given)
    ratio = given.sums(better) - given.reference_S
    h = float(ratio[0] - ratio[1])
    assert float(loss.metrics["accuracy"]) == float(h > 0)
    assert float(loss.metrics["margin"]) == pytest.approx(0.5 * h)
    assert objective.counts(given) == {"preference": 1.0, "accuracy": 1.0, "margin": 1.0}


def packed_in_one_row(given: Pairs) -> Pairs:
    """The same answers side by side, padding left out."""
    ends = [int(row.nonzero()[-1]) + 1 for row in given.weights_BT]
    parts = {
        name: torch.cat([row[:end] for row, end in zip(getattr(given, name), ends, strict=True)])
        for name in ("tokens_BT", "targets_BT", "weights_BT", "answer_BT")
    }
    answer = parts.pop("answer_BT")[None]
    rows = {name: part[None] for name, part in parts.items()}
    return Pairs(
        **rows,
        documents=[ends],
        answer_BT=answer,
        answers=given.answers,
        reference_S=given.reference_S,
    )


def life(steps: list[list[Pairs]], objective: DPO) -> tuple[Transformer, list[Report]]:
    made, reports = Transformer(SHAPE), []
    initialise(made, 3)
    optimizer = Optimizer(made, OptimizerSettings(), WSD(100, warmup_steps=2))
    train(made, objective, ListSteps(steps), optimizer, [reports.append])  # type: ignore[arg-type]
    return made, reports


def pair_of(given: Pairs, number: int) -> Pairs:
    rows = slice(2 * number, 2 * number + 2)
    inside = given.weights_BT[rows] > 0
    return Pairs(
        given.tokens_BT[rows],
        given.targets_BT[rows],
        given.weights_BT[rows],
        answer_BT=torch.where(inside, torch.arange(2)[:, None], 0),
        answers=2,
        reference_S=given.reference_S[rows],
    )


@pytest.mark.parametrize("name", ["cdpo", "length-normalised", "with likelihood"])
def test_four_micro_batches_of_a_pair_equal_one_of_four_pairs(name: str) -> None:
    """Answers differ in length, so a likelihood of means would not."""
    whole = [batch(seed, dtype=torch.float32) for seed in range(3)]
    objective = OBJECTIVES[name]
    one, first = life([[b] for b in whole], objective)
    four, second = life([[pair_of(b, i) for i in range(4)] for b in whole], objective)
    for a, b in zip(first, second, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.metrics == pytest.approx(b.metrics, rel=1e-4)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)
    for (label, a), b in zip(one.named_parameters(), four.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5, msg=lambda m, n=label: f"{n}: {m}")


def test_padding_and_packing_do_not_change_the_loss() -> None:
    whole = [batch(seed, dtype=torch.float32) for seed in range(2)]
    _, padded = life([[b] for b in whole], OBJECTIVES["everything"])
    _, packed = life([[packed_in_one_row(b)] for b in whole], OBJECTIVES["everything"])
    for a, b in zip(padded, packed, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)


def test_the_margin_grows_and_the_rejected_answer_loses() -> None:
    given = batch(1, dtype=torch.float32)
    _, reports = life([[given]] * 20, DPO(beta=0.5))
    assert reports[-1].loss < 0.5 * reports[0].loss
    assert reports[-1].metrics["accuracy"] == 1.0
    assert reports[-1].metrics["margin"] > reports[0].metrics["margin"]
