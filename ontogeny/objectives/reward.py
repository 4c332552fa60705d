"""Learning what is preferred as one number an answer. Knows no text and no judge.

Shape suffixes: B rows, T tokens of a row, S answers, P = S / 2 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ontogeny.objectives.batch import Answers, Batch
from ontogeny.objectives.loss import Loss, Needs, Outputs, Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(Answers):
    """Pairs of answers whose weight, 1, is that of their last token, where they are judged.

    Args:
        probability_P: that answer 2 p is better than answer 2 p + 1; 1 where that is a fact, less
            where a judge is unsure.
    """

    probability_P: Tensor

    def __post_init__(self) -> None:
        Batch.__post_init__(self)
        assert self.answers == 2 * len(self.probability_P)


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """-log sigmoid(r_c - r_l - margin), the likelihood of the preferences (Bradley, Terry 1952).

    Stiennon et al. 2020, arXiv:2009.01325, section 3.4; a `margin` as in Llama 2 (Touvron et al.
    2023, arXiv:2307.09288, eq. 2). Where a label is a probability p the loss is the cross-entropy
    p l(d) + (1 - p) l(-d) (Bai et al. 2022, arXiv:2212.08073, section 4.1).

    Args:
        margin: by how much the better answer has to lead.
        centring: weight of (r_c + r_l)^2, which keeps rewards around 0 (Eisenstein et al. 2023,
            arXiv:2312.09244, section 2).
    """

    margin: float = 0.0
    centring: float = 0.0
    needs: Needs = field(default_factory=lambda: Needs(values=True))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Pairs for every term, answers for the mean reward."""
        assert isinstance(batch, Compared)
        pairs = batch.answers / 2
        terms = ("preference", "centre") if self.centring else ("preference",)
        counts = dict.fromkeys((*terms, "accuracy", "margin"), pairs)
        return counts | {"reward": float(batch.answers)}

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Terms `preference` and, where asked for, `centre`; needs `outputs.values_BT`."""
        assert isinstance(batch, Compared)
        assert outputs.values_BT is not None
        reward_S = batch.sums(outputs.values_BT)
        better_P, worse_P = reward_S[0::2], reward_S[1::2]
        lead_P, sure_P = better_P - worse_P, batch.probability_P.to(reward_S)
        right_P = -F.logsigmoid(lead_P - self.margin)
        wrong_P = -F.logsigmoid(-lead_P - self.margin)
        loss_P = sure_P * right_P + (1 - sure_P) * wrong_P
        counts = self.counts(batch)
        terms = {"preference": Term(loss_P.sum(), counts["preference"])}
        if self.centring:
            squares = ((better_P + worse_P) ** 2).sum()
            terms["centre"] = Term(squares, counts["centre"], self.centring)
        with torch.no_grad():
            metrics = {
                "accuracy": agreement(lead_P, sure_P).sum(),
                "margin": lead_P.sum(),
                "reward": reward_S.sum(),
            }
        return Loss(terms, metrics)


def agreement(lead_P: Tensor, probability_P: Tensor) -> Tensor:
    """agreement_P: 1 where the lead has the label's sign, 0 where not, 1/2 where either has none.

    Args:
        lead_P: reward of the first answer less that of the second.
        probability_P: that the first one is better.
    """
    label_P = probability_P - 0.5
    return ((lead_P.sign() * label_P.sign()) + 1) / 2
