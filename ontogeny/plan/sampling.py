"""How one request chooses its tokens: numbers alone, so that both halves can speak of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ontogeny.base.errors import InputError


@dataclass(frozen=True, slots=True)
class Sampling:
    """Rules act in this order: bias, penalties, a grammar's mask, temperature, top-k, top-p, min-p.

    Args:
        temperature: logits are divided by it, 1e-6 to 1e6; 0 is greedy (the lowest id wins a tie).
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set with at least this probability, 1e-6 to 1
            (nucleus sampling, Holtzman et al. 2019, arXiv:1904.09751, section 3.1).
        min_p: drop tokens below this share of the most likely one's probability, in [0, 1)
            (Nguyen et al. 2024, arXiv:2407.01082, section 3).
        repetition_penalty: logits of ids in prompt or completion are divided by it where they are
            positive and multiplied where negative (Keskar et al. 2019, arXiv:1909.05858,
            section 4.1, in the form of transformers), 1e-3 to 1e3; 1 is off.
        frequency_penalty: taken from an id's logit once for each time it is in the completion.
        presence_penalty: taken once from each id that is in the completion (both as OpenAI's API
            defines them, in [-2, 2]); 0 is off.
        bias: (id, number) pairs, added to the logits, -1e4 to 1e4; -inf forbids an id.
        seed: the draws are a function of this and of the position in the completion alone.

    Raises:
        InputError: when a value is out of its range (beyond them fp32 would hold 0 or infinity).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature != 0.0 and not 1e-6 <= self.temperature <= 1e6:
            raise InputError(
                f"temperature is {self.temperature}; give 0 (greedy), or 1e-6 to 1e6; 1 is off"
            )
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}; give 0 (off) or more")
        if not 1e-6 <= self.top_p <= 1.0:
            raise InputError(f"top_p is {self.top_p}; give 1e-6 to 1; 1 is off")
        if not 0.0 <= self.min_p < 1.0:
            raise InputError(f"min_p is {self.min_p}; give at least 0 (off) and below 1")
        if not 1e-3 <= self.repetition_penalty <= 1e3:
            raise InputError(
                f"repetition_penalty is {self.repetition_penalty}; give 1e-3 to 1e3; 1 is off"
            )
        for name in ("frequency_penalty", "presence_penalty"):
            if not -2.0 <= (value := getattr(self, name)) <= 2.0:
                raise InputError(f"{name} is {value}; give -2 to 2; 0 is off")
        if any(id_ < 0 or not (abs(n) <= 1e4 or n == -math.inf) for id_, n in self.bias):
            raise InputError("a bias needs an id of 0 or more, and -1e4 to 1e4 or -inf")
        if len(dict(self.bias)) < len(self.bias):
            raise InputError("a bias names an id twice; give each id once")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give 0 to 2**63 - 1")

    @property
    def penalises(self) -> bool:
        """Whether what was read or said before changes the logits."""
        penalties = self.repetition_penalty, self.frequency_penalty, self.presence_penalty
        return penalties != (1.0, 0.0, 0.0)

    @property
    def plain(self) -> bool:
        """Whether the model's own distribution is sampled as it is."""
        shaped = self.temperature, self.top_k, self.top_p, self.min_p
        return shaped == (1.0, 0, 1.0, 0.0) and not self.penalises and not self.bias


GREEDY = Sampling(temperature=0.0)
"""Always the likeliest token."""
