"""Policy gradients with clipped ratios over sampled answers. Knows no reward and no sampler.

Shape suffixes: B rows, T tokens of a row, S answers, G groups, K answers to one prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ontogeny.objectives.batch import Batch, Rollouts
from ontogeny.objectives.loss import Loss, Needs, Outputs, Term

Normalise = Literal["answer", "turn", "token", "constant"]
Baseline = Literal["std", "mean", "leave_one_out"]


def group_advantages(reward_GK: Tensor, baseline: Baseline = "std", eps: float = 1e-6) -> Tensor:
    """advantage_GK of K answers to each of G prompts; 0 where all K rewards are equal.

    A group in which a reward is NaN or infinite teaches nothing: 0, too.

    Args:
        reward_GK: rewards.
        baseline: "std": (r - mean) / std (GRPO, Shao et al. 2024, arXiv:2402.03300, section
            4.1.2, the population's deviation); "mean": r - mean (Dr. GRPO, Liu et al. 2025,
            arXiv:2503.20783); "leave_one_out": r - mean of the others (RLOO, Ahmadian et al.
            2024, arXiv:2402.14740).
        eps: below this a deviation counts as none.
    """
    known_G1 = reward_GK.isfinite().all(1, keepdim=True)
    reward_GK = reward_GK.masked_fill(~known_G1, 0.0)
    # the mean of equal rewards may differ from them by rounding, which would pass for credit
    equal_G1 = (reward_GK == reward_GK[:, :1]).all(1, keepdim=True)
    centred_GK = (reward_GK - reward_GK.mean(1, keepdim=True)).masked_fill(equal_G1, 0.0)
    if baseline == "mean":
        return centred_GK
    if baseline == "leave_one_out":
        answers = reward_GK.shape[1]
        return centred_GK * (answers / max(answers - 1, 1))
    std_G1 = reward_GK.std(1, correction=0, keepdim=True)
    return torch.where(
        std_G1 > eps, centred_GK / std_G1.clamp_min(eps), torch.zeros_like(centred_GK)
    )


@dataclass(frozen=True, slots=True)
class GRPO:
    """-min(rho A, clip(rho) A) for each sampled token, rho = pi / pi at sampling time.

    Shao et al. 2024, arXiv:2402.03300, eq. 3; `clip_high` above `clip_low` and "token" as in DAPO
    (Yu et al. 2025, arXiv:2503.14476, eq. 8); "constant" as in Dr. GRPO (arXiv:2503.20783).

    Args:
        clip_low, clip_high: rho is clipped to [1 - clip_low, 1 + clip_high].
        beta: weight of the KL term k3 = exp(q) - q - 1, q = log ref - log pi; needs
            `Rollouts.reference_BT`.
        normalise: "answer": mean over each answer's tokens, then over answers; "turn": mean over
            each turn's tokens, then over all turns; "token": mean over all tokens; "constant": sum
            over an answer's tokens / `max_tokens`, mean over answers. All turns of an episode are
            one answer.
        max_tokens: see `normalise`.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    beta: float = 0.0
    normalise: Normalise = "answer"
    max_tokens: int = 1
    needs: Needs = field(default_factory=lambda: Needs(log_probs=True, entropy=True))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Answers or tokens behind each term and metric."""
        assert isinstance(batch, Rollouts)
        tokens = float(batch.weights_BT.sum(dtype=torch.float64))
        answers = float(batch.answers)
        terms = ("policy", "kl") if self.beta else ("policy",)
        divisor = {"token": tokens, "turn": float(batch.turns)}.get(self.normalise, answers)
        counts = dict.fromkeys(terms, divisor)
        counts |= dict.fromkeys(("reward", "no_credit"), answers)
        return counts | dict.fromkeys(("entropy", "clipped", "drift"), tokens)

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Terms `policy` and, with `beta`, `kl`; needs `outputs.log_probs_BT` and entropy."""
        assert isinstance(batch, Rollouts)
        assert outputs.log_probs_BT is not None
        assert outputs.entropy_BT is not None
        inside_BT = batch.weights_BT > 0
        drift_BT = (outputs.log_probs_BT - batch.sampled_BT) * inside_BT
        rho_BT = drift_BT.exp()
        advantage_BT = batch.advantage_S[batch.answer_BT]
        clipped_BT = rho_BT.clamp(1 - self.clip_low, 1 + self.clip_high)
        gain_BT = torch.minimum(rho_BT * advantage_BT, clipped_BT * advantage_BT)
        counts = self.counts(batch)
        share_BT = self._share(batch)
        terms = {"policy": Term(-(gain_BT * share_BT).sum(), counts["policy"])}
        if self.beta:
            assert batch.reference_BT is not None
            q_BT = (batch.reference_BT - outputs.log_probs_BT) * inside_BT
            k3_BT = q_BT.exp() - q_BT - 1
            terms["kl"] = Term((k3_BT * share_BT).sum(), counts["kl"], self.beta)
        with torch.no_grad():
            metrics = {
                "reward": batch.reward_S.sum(),
                "no_credit": (batch.advantage_S == 0).sum(),
                "entropy": (outputs.entropy_BT * inside_BT).sum(),
                "clipped": ((clipped_BT != rho_BT) & inside_BT).sum(),
                "drift": drift_BT.abs().sum(),
            }
        return Loss(terms, metrics)

    def _share(self, batch: Rollouts) -> Tensor:
        """share_BT: what one token counts in the sum of a term."""
        if self.normalise == "token":
            return batch.weights_BT
        if self.normalise == "constant":
            return batch.weights_BT / self.max_tokens
        if self.normalise == "turn":
            assert batch.turn_BT is not None
            turn_BT, lengths = batch.turn_BT, batch.weights_BT.new_zeros(max(batch.turns, 1))
            lengths.index_add_(0, turn_BT.flatten(), batch.weights_BT.flatten())
            return batch.weights_BT / lengths.clamp_min(1)[turn_BT]
        return batch.weights_BT / batch.lengths().clamp_min(1)[batch.answer_BT]
