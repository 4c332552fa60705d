"""Muon: momentum whose matrices are orthogonalised. Knows no schedule, no embedding, no norm.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/) in the form of Moonlight (Liu et
al. 2025, arXiv:2502.16982, equation 4): updates are scaled to AdamW's size, so that one learning
rate and one weight decay serve both. Newton-Schulz runs in float32 on a CPU, where bf16 is 8 to 24
times slower, and in bf16 on an accelerator.

Shape suffixes: K matrices of one shape, A the shorter side, B the longer side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MATCHED_RMS = 0.2
"""Root mean square of AdamW's updates, as measured in Moonlight, section 2.2."""


class Muon:
    """Updates named matrices in place.

    Args:
        matrices: name -> parameter (2-D).
        rows: name -> rows of the matrices that are fused in the parameter; each is
            orthogonalised by itself. A name that is absent is one matrix.
    """

    def __init__(
        self,
        matrices: Mapping[str, Tensor],
        rows: Mapping[str, Sequence[int]],
        momentum: float,
        weight_decay: float,
    ) -> None:
        self.matrices = dict(matrices)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.moments = {name: torch.zeros_like(p) for name, p in self.matrices.items()}
        # (short side, long side) -> (name, first row, rows); one batched product a shape
        self._shapes: dict[tuple[int, int], list[tuple[str, int, int]]] = {}
        for name, parameter in self.matrices.items():
            start = 0
            for count in rows.get(name, (len(parameter),)):
                size = min(count, parameter.shape[1]), max(count, parameter.shape[1])
                self._shapes.setdefault(size, []).append((name, start, count))
                start += count
            assert start == len(parameter), (name, start)

    def flops(self) -> float:
        """FLOPs of one `step`: an iteration is two products with A x B and one with A x A."""
        iteration = sum(
            len(members) * (4 * short * short * long + 2 * short**3)
            for (short, long), members in self._shapes.items()
        )
        return float(ITERATIONS * iteration)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update from the parameters' `.grad` (overwritten by Nesterov's look-ahead)."""
        parameters = list(self.matrices.values())
        moments = list(self.moments.values())
        ahead = [p.grad for p in parameters if p.grad is not None]
        assert len(ahead) == len(parameters)
        torch._foreach_lerp_(moments, ahead, 1 - self.momentum)
        torch._foreach_lerp_(ahead, moments, self.momentum)
        torch._foreach_mul_(parameters, 1 - learning_rate * self.weight_decay)
        by_name = dict(zip(self.matrices, ahead, strict=True))
        for (short, long), places in self._shapes.items():
            x_KAB = ahead[0].new_empty(len(places), short, long)
            for x_AB, (name, start, count) in zip(x_KAB, places, strict=True):
                part = by_name[name][start : start + count]
                x_AB.copy_(part if count == short else part.t())
            x_KAB = orthogonalise(x_KAB)
            rate = -learning_rate * MATCHED_RMS * long**0.5
            for x_AB, (name, start, count) in zip(x_KAB, places, strict=True):
                update = x_AB if count == short else x_AB.t()
                self.matrices[name][start : start + count].add_(update, alpha=rate)


def orthogonalise(x_KAB: Tensor) -> Tensor:
    """The matrices with their singular values moved near 1 (A <= B): U V^T of each, roughly.

    A quintic Newton-Schulz iteration whose coefficients leave the values in about 0.7..1.2.
    """
    a, b, c = COEFFICIENTS
    dtype = x_KAB.dtype
    x_KAB = x_KAB / (torch.linalg.vector_norm(x_KAB, dim=(1, 2), keepdim=True) + 1e-7)
    if x_KAB.device.type != "cpu":
        x_KAB = x_KAB.bfloat16()
    for _ in range(ITERATIONS):
        gram_KAA = x_KAB @ x_KAB.mT
        poly_KAA = torch.baddbmm(gram_KAA, gram_KAA, gram_KAA, beta=b, alpha=c)
        x_KAB = torch.baddbmm(x_KAB, poly_KAA, x_KAB, beta=a)
    return x_KAB.to(dtype)
