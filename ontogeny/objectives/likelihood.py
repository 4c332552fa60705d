"""Maximum likelihood of the next token. Knows no text: weights say which tokens count."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Loss, Needs, Outputs, Term


@dataclass(frozen=True, slots=True)
class NextToken:
    """Weighted negative log-likelihood of the targets, nats a unit of weight.

    Serves pretraining (all weights 1) and fine-tuning (0 on prompts). The term is called `nll`.
    """

    needs: Needs = field(default_factory=lambda: Needs(weighted_log_prob=True))

    def counts(self, batch: Batch) -> dict[str, float]:
        """The sum of the weights, in float64."""
        return {"nll": float(batch.weights_BT.sum(dtype=torch.float64))}

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """-sum(weight x log p(target)); needs `outputs.weighted_log_prob`."""
        assert outputs.weighted_log_prob is not None
        return Loss({"nll": Term(-outputs.weighted_log_prob, self.counts(batch)["nll"])})
