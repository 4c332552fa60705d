"""Scaling laws: how loss depends on parameters, tokens and repeated tokens.

Pure arithmetic. Loss is nats a token on the law's own data, so only differences between plans mean
anything here; what a plan reaches is measured, never predicted from these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ChinchillaLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2)."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token."""
        return float(self.e + self.a / parameters**self.alpha + self.b / tokens**self.beta)

    def optimal_parameters(self, flops: float) -> float:
        """N that minimises the loss under 6 N D = `flops` (same paper, eq. 4)."""
        exponent = self.beta / (self.alpha + self.beta)
        ratio = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        return float(ratio * (flops / 6) ** exponent)

    def matching_parameters(self, tokens: float) -> float:
        """N for which `tokens` is the compute-optimal amount of data."""
        ratio = self.alpha * self.a / (self.beta * self.b) * tokens**self.beta
        return float(ratio ** (1 / self.alpha))


REFIT = ChinchillaLaw(e=1.8172, a=482.01, b=2085.43, alpha=0.3478, beta=0.3658)
"""Besiroglu et al. 2024, arXiv:2404.10102: the refit of Hoffmann's data."""

REPEATED = ChinchillaLaw(
    e=math.exp(0.6255), a=math.exp(6.255), b=math.exp(7.305), alpha=0.3527, beta=0.3527
)
"""Muennighoff et al. 2023, arXiv:2305.16264, appendix: the law under repeated data."""
REPEATED_TOKENS_SCALE = 15.39
REPEATED_PARAMETERS_SCALE = 5.31


def data_constrained_loss(parameters: float, tokens: float, unique_tokens: float) -> float:
    """Loss when `unique_tokens` are repeated to make up `tokens` (arXiv:2305.16264, eq. 5 and 6).

    Repetition is worth exponentially less with each epoch, and so are parameters beyond what the
    unique data could feed.
    """
    unique = min(unique_tokens, tokens)
    effective_tokens = _saturating(unique, tokens, REPEATED_TOKENS_SCALE)
    fed = min(REPEATED.matching_parameters(unique), parameters)
    effective_parameters = _saturating(fed, parameters, REPEATED_PARAMETERS_SCALE)
    return REPEATED.loss(effective_parameters, effective_tokens)


def _saturating(unique: float, total: float, scale: float) -> float:
    repeats = total / unique - 1
    return unique + unique * scale * (1 - math.exp(-repeats / scale))
