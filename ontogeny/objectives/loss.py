"""The seam between a model and what it is trained for. Knows neither.

An objective says what it needs from the forward pass and how much data stands behind each of its
terms; the loop adds those counts up over micro-batches and ranks before the first backward and
divides each term by its own total. So accumulation 4x1 equals 1x4 equals two ranks, to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from ontogeny.objectives.batch import Batch


@dataclass(frozen=True, slots=True)
class Needs:
    """What an objective reads from `Outputs`; the head computes nothing else.

    Args:
        weighted_log_prob: the scalar sum of weight x log-prob. Its gradient at the logits,
            weight x (onehot - softmax), is known from data up to one factor, so the head makes it
            in the same pass as the value: two products of T x V less than `log_probs`.
        log_probs: log-probs of every weighted token as a differentiable tensor, for losses that
            are not linear in them (preference, ratios); backward computes the logits again.
        entropy: entropy of the distribution at every weighted token, differentiable.
        values: what the scalar head says at every weighted token, differentiable. Where nothing
            else is needed no logits are computed.
    """

    weighted_log_prob: bool = False
    log_probs: bool = False
    entropy: bool = False
    values: bool = False

    @property
    def two_pass(self) -> bool:
        """Whether backward has to compute the logits again."""
        return self.log_probs or self.entropy


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a forward pass returns; only what was asked for is there, the rest is None.

    Args:
        weighted_log_prob: scalar, the sum over tokens of weight x log-prob of the target, nats.
        log_probs_BT: nats, 0 where the weight is 0. Differentiable if `Needs.log_probs`, else
            detached and for metrics.
        entropy_BT: nats, 0 where the weight is 0.
        values_BT: 0 where the weight is 0.
    """

    weighted_log_prob: Tensor | None = None
    log_probs_BT: Tensor | None = None
    entropy_BT: Tensor | None = None
    values_BT: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a loss: `weight * sum / count`, the count taken over the whole step.

    Args:
        sum: scalar tensor, differentiable.
        count: what this micro-batch contributes to the divisor (from data alone).
        weight: factor of the term in the total loss.
    """

    sum: Tensor
    count: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Named terms and metrics of one micro-batch.

    Args:
        terms: name -> Term; every name also stands in `Objective.counts`.
        metrics: name -> detached scalar tensor, summed over the step and divided by `counts[name]`
            where that exists, by the number of micro-batches otherwise.
    """

    terms: dict[str, Term]
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """What a model is trained for: declared needs and a pure function."""

    @property
    def needs(self) -> Needs:
        """What `__call__` reads from the outputs."""
        ...

    def counts(self, batch: Batch) -> dict[str, float]:
        """The divisor that `batch` adds to each term, from data alone."""
        ...

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Terms and metrics of one micro-batch; no state, no randomness."""
        ...
