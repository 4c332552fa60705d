"""Which parameter is updated by what: Muon for the layers' matrices, AdamW for the rest.

Knows no loss, no data and no clock, and of adapters only that what is frozen is not its business.
State is flat named tensors, so a checkpoint is one safetensors file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ontogeny.base.errors import InputError
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import parts
from ontogeny.train.muon import Muon
from ontogeny.train.schedule import WSD


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """Hyper-parameters of both optimizers.

    Args:
        peak_lr: learning rate at factor 1 of the schedule, for Muon's matrices (Moonlight's scale,
            so values that suit AdamW suit it) and, times `embedding_lr`, for everything else.
        embedding_lr: factor on `peak_lr` for embedding, head and norms.
        weight_decay: decoupled, on the layers' matrices only.
        momentum: Muon's Nesterov momentum.
        betas, eps: AdamW's (Loshchilov and Hutter 2019, arXiv:1711.05101).
        clip: largest norm of the whole gradient; larger ones are scaled down to it.
        matrices: "muon", or "adamw" for one AdamW on everything.
    """

    peak_lr: float = 3e-3
    embedding_lr: float = 1.0
    weight_decay: float = 0.1
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    clip: float = 1.0
    matrices: Literal["muon", "adamw"] = "muon"

    def __post_init__(self) -> None:
        if not self.peak_lr > 0:
            raise InputError(f"peak_lr is {self.peak_lr}; give a learning rate above 0")
        if not self.clip > 0:
            raise InputError(f"clip is {self.clip}; give a norm above 0 (inf for no clipping)")


class Optimizer:
    """Muon + AdamW over what learns of a Transformer, driven by a schedule."""

    def __init__(self, model: Transformer, settings: OptimizerSettings, schedule: WSD) -> None:
        self.settings, self.schedule = settings, schedule
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        matrices = {n: p for n, p in self.parameters.items() if _is_matrix_of_a_layer(n, p)}
        rest = {n: p for n, p in self.parameters.items() if n not in matrices}
        self._adamw_names = list(rest)
        groups = [
            {"params": list(rest.values()), "weight_decay": 0.0, "scale": settings.embedding_lr}
        ]
        self.muon: Muon | None = None
        if settings.matrices == "muon":
            rows = {name: [n for _, n in pieces] for name, pieces in parts(model.shape).items()}
            self.muon = Muon(matrices, rows, settings.momentum, settings.weight_decay)
        else:
            self._adamw_names += matrices
            decayed = {"weight_decay": settings.weight_decay, "scale": 1.0}
            groups.append({"params": list(matrices.values()), **decayed})
        self.adamw = torch.optim.AdamW(
            groups, lr=settings.peak_lr, betas=settings.betas, eps=settings.eps, fused=True
        )

    def gradients(self) -> list[Tensor]:
        """The gradients of what learns, in the order of names; zeros where backward left none."""
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [p.grad for p in self.parameters.values() if p.grad is not None]

    def gradient_norm(self) -> float:
        """Euclidean norm of the whole gradient; NaN or infinity if any element is."""
        norms = torch._foreach_norm(self.gradients())
        return float(torch.linalg.vector_norm(torch.stack(norms)))

    def learning_rate(self, step: int) -> float:
        """The rate at 0-based `step`."""
        return self.settings.peak_lr * self.schedule.factor(step)

    def apply(self, step: int, norm: float) -> None:
        """Clips by `norm` (from `gradient_norm`) and updates all parameters."""
        if norm > self.settings.clip:
            torch._foreach_mul_(self.gradients(), self.settings.clip / norm)
        rate = self.learning_rate(step)
        for group in self.adamw.param_groups:
            group["lr"] = rate * group["scale"]
        self.adamw.step()
        if self.muon is not None:
            self.muon.step(rate)

    def flops(self) -> float:
        """FLOPs of one `apply` that are matrix products (Muon's; AdamW has none)."""
        return self.muon.flops() if self.muon is not None else 0.0

    def clear(self) -> None:
        """Drops all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """All moments by name; the tensors are the live ones, copy them to keep them."""
        state: dict[str, Tensor] = {}
        if self.muon is not None:
            state |= {f"muon.{name}": moment for name, moment in self.muon.moments.items()}
        for name in self._adamw_names:
            for key, value in self.adamw.state[self.parameters[name]].items():
                state[f"adamw.{name}.{key}"] = value
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a `state()`, exactly.

        Raises:
            KeyError: a moment is missing or belongs to no parameter.
        """
        left = dict(state)
        if self.muon is not None:
            for name, moment in self.muon.moments.items():
                moment.copy_(left.pop(f"muon.{name}"))
        started = any(name.startswith("adamw.") for name in left)
        for name in self._adamw_names if started else ():
            parameter = self.parameters[name]
            self.adamw.state[parameter] = {
                key: left.pop(f"adamw.{name}.{key}").to(parameter.device, copy=True)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        if left:
            raise KeyError(sorted(left)[0])


def _is_matrix_of_a_layer(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2 and name.startswith("layers.")
