"""Which low-rank adapter a stage trains. Knows no tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ontogeny.base.errors import InputError

AdapterKind = Literal["lora", "rslora", "dora"]
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The matrices of a layer by the names that PEFT and transformers give them."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """The weights stay as they are; each target W learns a difference of low rank, scale * B A.

    Args:
        rank: r, rows of A and columns of B.
        alpha: the scale is alpha / r (Hu et al. 2021, arXiv:2106.09685, section 4.1), or
            alpha / sqrt(r) with "rslora" (Kalajdzievski 2023, arXiv:2312.03732).
        kind: "dora" also learns the length of every row of W (Liu et al. 2024, arXiv:2402.09353).
        targets: names of matrices, of `TARGETS`.

    Raises:
        InputError: when the numbers do not fit together.
    """

    rank: int = 16
    alpha: float = 32.0
    kind: AdapterKind = "lora"
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise InputError(
                f"adapter.rank is {self.rank} and adapter.alpha {self.alpha}; give at least 1 and "
                "more than 0"
            )
        if self.kind not in get_args(AdapterKind):
            known = ", ".join(get_args(AdapterKind))
            raise InputError(f"adapter.kind is '{self.kind}'; give one of {known}")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or not self.targets or len(set(self.targets)) != len(self.targets):
            raise InputError(
                f"adapter.targets are {', '.join(self.targets) or 'none'}; give one or more of "
                f"{', '.join(TARGETS)}, none twice"
            )

    @property
    def scale(self) -> float:
        """What B A is multiplied with."""
        return self.alpha / (self.rank**0.5 if self.kind == "rslora" else self.rank)
