"""Learning from pairs of answers, the first preferred. Knows no text and no judge.

Shape suffixes: S answers, P = S / 2 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F

from ontogeny.objectives.batch import Batch, Pairs
from ontogeny.objectives.loss import Loss, Needs, Outputs, Term


@dataclass(frozen=True, slots=True)
class DPO:
    """Direct preference optimisation and its near relatives.

    With h = (log pi/ref of chosen) - (log pi/ref of rejected):

    - "sigmoid": -log sigmoid(beta h) (Rafailov et al. 2023, arXiv:2305.18290, eq. 7); with
      `label_smoothing` e it is (1 - e) l(h) + e l(-h) (cDPO, Mitchell 2023);
    - "ipo": (h - 1 / (2 beta))^2 (Azar et al. 2023, arXiv:2310.12036, eq. 17).

    Args:
        beta: strength of the anchor to the reference (IPO's tau).
        loss: see above.
        label_smoothing: share of labels believed to be swapped, below 0.5.
        length_normalised: log-ratios are means over the answer's tokens (Tulu 3, Lambert et al.
            2024, arXiv:2411.15124).
        nll: weight of the chosen answers' likelihood, nats a token (Llama 3, Dubey et al. 2024,
            arXiv:2407.21783, section 4.1.4).
    """

    beta: float = 0.1
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    label_smoothing: float = 0.0
    length_normalised: bool = False
    nll: float = 0.0
    needs: Needs = field(default_factory=lambda: Needs(log_probs=True))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Pairs for the preference term and its metrics, chosen tokens for the likelihood."""
        assert isinstance(batch, Pairs)
        pairs = batch.answers / 2
        counts = dict.fromkeys(("preference", "accuracy", "margin"), pairs)
        if self.nll:
            counts["nll"] = float(batch.lengths()[0::2].double().sum())
        return counts

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Terms `preference` (a pair) and, where asked for, `nll`; needs `outputs.log_probs_BT`."""
        assert isinstance(batch, Pairs)
        assert outputs.log_probs_BT is not None
        policy_S = batch.sums(outputs.log_probs_BT)
        ratio_S = policy_S - batch.reference_S
        if self.length_normalised:
            ratio_S = ratio_S / batch.lengths()
        h_P = ratio_S[0::2] - ratio_S[1::2]
        counts = self.counts(batch)
        terms = {"preference": Term(self._loss(h_P).sum(), counts["preference"])}
        if self.nll:
            terms["nll"] = Term(-policy_S[0::2].sum(), counts["nll"], self.nll)
        with torch.no_grad():
            metrics = {"accuracy": (h_P > 0).sum(), "margin": self.beta * h_P.sum()}
        return Loss(terms, metrics)

    def _loss(self, h_P: torch.Tensor) -> torch.Tensor:
        if self.loss == "ipo":
            return (h_P - 1 / (2 * self.beta)) ** 2
        right, wrong = -F.logsigmoid(self.beta * h_P), -F.logsigmoid(-self.beta * h_P)
        return (1 - self.label_smoothing) * right + self.label_smoothing * wrong
