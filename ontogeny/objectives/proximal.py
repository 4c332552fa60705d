"""Proximal policy optimisation with a learnt value. Knows no reward and no sampler.

Schulman et al. 2017, arXiv:1707.06347; the details of language models as in Huang et al. 2024,
arXiv:2403.17031.

Shape suffixes: B rows, T tokens of a row, S answers, L tokens of one answer, N tokens of all
answers of a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ontogeny.objectives.batch import Answers, Batch
from ontogeny.objectives.loss import Loss, Needs, Outputs, Term

TINY = 1e-8
"""Added to a variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience(Answers):
    """Sampled answers with credit for each token.

    Args:
        sampled_BT: log-prob of each token as it was sampled, nats, 0 where the weight is 0.
        advantage_BT: of each token; what `whitened` made of all tokens of a rollout.
        value_BT: of the state before each token, when the rollout was made.
        return_BT: what the value should have been.
        score_S: of each answer as judged, for the log.
    """

    sampled_BT: Tensor
    advantage_BT: Tensor
    value_BT: Tensor
    return_BT: Tensor
    score_S: Tensor

    def __post_init__(self) -> None:
        Batch.__post_init__(self)
        shape = self.tokens_BT.shape
        tensors = (self.sampled_BT, self.advantage_BT, self.value_BT, self.return_BT)
        assert all(each.shape == shape for each in tensors)
        assert self.answers == len(self.score_S)


def token_rewards(score: float, sampled_L: Tensor, reference_L: Tensor, kl: float) -> Tensor:
    """reward_L of one answer: -kl (log pi - log ref) for each token, and the score at the last.

    The sum of the first over an answer is the estimate k1 of its divergence from the reference
    (Ziegler et al. 2019, arXiv:1909.08593, eq. 2).
    """
    reward_L = kl * (reference_L - sampled_L)
    reward_L[-1] += score
    return reward_L


def advantages(reward_L: Tensor, value_L: Tensor, gamma: float, lam: float) -> Tensor:
    """advantage_L: sum over k of (gamma lam)^k delta_{l+k}, delta_l = r_l + gamma v_{l+1} - v_l.

    Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16); behind the
    last token nothing is worth anything.
    """
    next_L = torch.cat([value_L[1:], value_L.new_zeros(1)])
    delta = (reward_L + gamma * next_L - value_L).tolist()
    found, later = [0.0] * len(delta), 0.0
    for place in reversed(range(len(delta))):
        later = delta[place] + gamma * lam * later
        found[place] = later
    return torch.tensor(found, dtype=reward_L.dtype)


def whitened(values_N: Tensor, *, shift: bool = True) -> Tensor:
    """Scaled to variance 1 and, with `shift`, to mean 0; where all are equal only the mean goes."""
    # the mean of equal values may differ from them by rounding, which would pass for credit
    if not len(values_N) or bool((values_N == values_N[0]).all()):
        return torch.zeros_like(values_N) if shift else values_N
    mean = values_N.mean()
    scaled_N = (values_N - mean) * torch.rsqrt(values_N.var(correction=0) + TINY)
    return scaled_N if shift else scaled_N + mean


@dataclass(frozen=True, slots=True)
class PPO:
    """-min(rho A, clip(rho) A) for each sampled token, and the clipped squared error of the value.

    Schulman et al. 2017, eq. 7; the value may leave what it was by `value_clip` before its error
    counts no more (Huang et al. 2024, detail 13 of their list). Both are means over tokens.

    Args:
        clip: rho = pi / pi at sampling time is clipped to [1 - clip, 1 + clip].
        value_clip: see above.
        value_weight: of the value's error in the loss; it is half the square.
        entropy: weight of the entropy that is added to what is sought.
    """

    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    entropy: float = 0.0
    needs: Needs = field(default_factory=lambda: Needs(log_probs=True, entropy=True, values=True))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Tokens behind each term and metric, answers behind the score."""
        assert isinstance(batch, Experience)
        tokens = float(batch.weights_BT.sum(dtype=torch.float64))
        names = ("policy", "value", "bonus", "entropy", "clipped", "value_clipped", "drift")
        counts = dict.fromkeys(names, tokens)
        return counts | {"score": float(batch.answers)}

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Terms `policy`, `value` and, where asked for, `bonus`."""
        assert isinstance(batch, Experience)
        assert outputs.log_probs_BT is not None
        assert outputs.entropy_BT is not None
        assert outputs.values_BT is not None
        weights_BT, inside_BT = batch.weights_BT, batch.weights_BT > 0
        drift_BT = (outputs.log_probs_BT - batch.sampled_BT) * inside_BT
        rho_BT = drift_BT.exp()
        near_BT = rho_BT.clamp(1 - self.clip, 1 + self.clip)
        gain_BT = torch.minimum(rho_BT * batch.advantage_BT, near_BT * batch.advantage_BT)
        moved_BT = outputs.values_BT - batch.value_BT
        held_BT = batch.value_BT + moved_BT.clamp(-self.value_clip, self.value_clip)
        plain_BT = (outputs.values_BT - batch.return_BT) ** 2
        error_BT = torch.maximum(plain_BT, (held_BT - batch.return_BT) ** 2)
        counts = self.counts(batch)
        value = Term(0.5 * (error_BT * weights_BT).sum(), counts["value"], self.value_weight)
        terms = {"policy": Term(-(gain_BT * weights_BT).sum(), counts["policy"]), "value": value}
        if self.entropy:
            bonus = -(outputs.entropy_BT * weights_BT).sum()
            terms["bonus"] = Term(bonus, counts["bonus"], self.entropy)
        with torch.no_grad():
            metrics = {
                "score": batch.score_S.sum(),
                "entropy": (outputs.entropy_BT * inside_BT).sum(),
                "clipped": ((near_BT != rho_BT) & inside_BT).sum(),
                "value_clipped": ((error_BT > plain_BT) & inside_BT).sum(),
                "drift": drift_BT.abs().sum(),
            }
        return Loss(terms, metrics)
