"""Decode steps of fixed shapes, replayed from CUDA graphs. Knows no page, no layer and no sampling.

A graph repeats kernels on the addresses at which it was captured, so what changes from step to
step is copied into buffers, and rows are padded to 1, 2, 4, 8, ... of them, tables likewise: one
graph for each such pair. Padded rows hold zeros. Weights that are updated in place (as RL does)
keep their addresses and their graphs; an adapter that comes or goes, a cache that grows, weights
that move drop all graphs, and steps are captured anew.

On a CPU, and for what cannot be captured, the same function runs on the same buffers.

Shape suffixes: B rows, Q what a row's step needs to know besides its token, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ontogeny.model.adapter import LowRank

Memory = Any
"""A handle of `torch.cuda.graph_pool_handle`."""
Step = Callable[[Tensor, Tensor], Tensor]
"""logits_BV from tokens_B (int64) and plan_BQ (int32), without asking the device anything."""


class Bucket:
    """One shape of step: its buffers, and its graph where there is one.

    Args:
        step: what is done.
        rows, width: B and Q.
        memory: shared by all graphs, or None: nothing is captured.
    """

    def __init__(
        self,
        step: Step,
        rows: int,
        width: int,
        device: torch.device,
        memory: Memory | None,
    ) -> None:
        self.step = step
        self.tokens_B = torch.zeros(rows, dtype=torch.int64, device=device)
        self.plan_BQ = torch.zeros(rows, width, dtype=torch.int32, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        if memory is not None:
            self._capture(memory)

    def _capture(self, memory: Memory) -> None:
        """Records the step; all rows are padding meanwhile."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries set themselves up in the first run
            self.step(self.tokens_B, self.plan_BQ)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=memory):
            self.logits_BV = self.step(self.tokens_B, self.plan_BQ)

    def __call__(self, tokens_B: Tensor, plan: Sequence[Sequence[int]]) -> Tensor:
        """logits_BV of as many rows as there are tokens."""
        rows, (most, width) = len(tokens_B), self.plan_BQ.shape
        filled = [[*row, *(0,) * (width - len(row))] for row in plan]
        filled += [[0] * width] * (most - rows)
        self.tokens_B.zero_()[:rows] = tokens_B
        self.plan_BQ.copy_(torch.tensor(filled, dtype=torch.int32))
        if self.graph is None:
            return self.step(self.tokens_B, self.plan_BQ)[:rows]
        self.graph.replay()
        return self.logits_BV[:rows].clone()  # the next replay writes here


class Steps:
    """Runs a step in the smallest bucket that holds it.

    Args:
        step: see `Step`.
        model: whose weights the step reads.
        caches: the tensors that the step writes to, as they are at present.
        captured: graphs are used where they can be.
    """

    def __init__(
        self,
        step: Step,
        model: nn.Module,
        caches: Callable[[], list[Tensor]],
        captured: bool = True,
    ) -> None:
        self.step, self.model, self.caches = step, model, caches
        self.captured = captured
        self.buckets: dict[tuple[int, int], Bucket] = {}
        self._memory: Memory | None = None
        self._places: list[tuple[Mapping[str, Tensor | None], str]] = []
        self._shape: list[dict[str, nn.Module | None]] = []
        self._addresses: list[int] = []

    def __call__(self, tokens_B: Tensor, plan: Sequence[Sequence[int]]) -> Tensor:
        """logits_BV; `plan` holds a list of equally many whole numbers for each row."""
        rows, width = len(tokens_B), len(plan[0])
        if self._addresses != self._now():
            self._look()
        key = (1 << (rows - 1).bit_length(), 1 + (1 << (width - 2).bit_length()))
        if key not in self.buckets:
            self.buckets[key] = Bucket(self.step, *key, tokens_B.device, self._memory)
        return self.buckets[key](tokens_B, plan)

    def _now(self) -> list[int]:
        """Where everything is that a graph reads or writes, and how many parts the model has."""
        found = [len(modules) for modules in self._shape]
        found += [
            0 if (it := held.get(name)) is None else it.data_ptr() for held, name in self._places
        ]
        return found + [cache.data_ptr() for cache in self.caches()]

    def _look(self) -> None:
        """Forgets all graphs and notes what new ones will depend on."""
        modules = list(self.model.modules())
        self._shape = [module._modules for module in modules]
        held: list[Mapping[str, Tensor | None]] = [
            each for module in modules for each in (module._parameters, module._buffers)
        ]
        self._places = [(each, name) for each in held for name in each]
        self._addresses = self._now()
        self.buckets.clear()
        self._memory = torch.cuda.graph_pool_handle() if self._capturable(modules) else None

    def _capturable(self, modules: list[nn.Module]) -> bool:
        # DoRA compares its matrices with those it measured, which asks the device
        dora = any(isinstance(each, LowRank) and each.magnitude is not None for each in modules)
        return self.captured and self.caches()[0].is_cuda and not dora
