"""The output head and its cross-entropy, a few hundred rows at a time. Knows no objective.

The logits of a whole batch never exist: one buffer of `ROWS` x V is filled, used and filled again,
which stays in the cache (a fresh T x V buffer costs page faults: 110-127 against 170 GFLOP/s).

Shape suffixes: R rows that carry a loss, V vocabulary, C channels, K rows of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 256
"""Rows of a chunk on a CPU."""
ROWS_ON_DEVICE = 8192
"""Rows of a chunk on an accelerator, where launches cost more than memory."""


def weighted_log_prob(
    x_RC: Tensor,
    head_VC: Tensor,
    targets_R: Tensor,
    weights_R: Tensor,
    cap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum of weight x log-prob (scalar, differentiable) and log_probs_R (detached), nats.

    Logits are those of `capped`. The gradient at them is weight x (onehot - softmax) times one
    factor from outside, so it is made here, in the same pass: 3 products of R x V x C in all, the
    least there is.
    """
    total, log_probs_R = _WeightedLogProb.apply(  # type: ignore[no-untyped-call]
        x_RC, head_VC, targets_R, weights_R, cap
    )
    return total, log_probs_R


def log_probs(
    x_RC: Tensor, head_VC: Tensor, targets_R: Tensor, cap: float | None = None
) -> tuple[Tensor, Tensor]:
    """log_probs_R and entropy_R in nats, both differentiable in any way.

    Logits are those of `capped`. Backward computes the logits again: 4 products of R x V x C.
    """
    log_probs_R, entropy_R = _LogProbs.apply(  # type: ignore[no-untyped-call]
        x_RC, head_VC, targets_R, cap
    )
    return log_probs_R, entropy_R


def capped(logits: Tensor, cap: float | None) -> Tensor:
    """cap * tanh(logits / cap), in place (Gemma 2: arXiv:2408.00118, section 2); None: as is."""
    return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)


class _WeightedLogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_RC: Tensor,
        head_VC: Tensor,
        targets_R: Tensor,
        weights_R: Tensor,
        cap: float | None,
    ) -> tuple[Tensor, Tensor]:
        x_wanted, head_wanted = ctx.needs_input_grad[:2]
        log_probs_R = x_RC.new_empty(len(x_RC))
        x_grad_RC = torch.empty_like(x_RC) if x_wanted else None
        head_grad_VC = torch.zeros_like(head_VC) if head_wanted else None
        for rows, probs_KV, logits_KV, logit_K, maximum_K in _chunks(x_RC, head_VC, targets_R, cap):
            torch.add(logit_K - maximum_K, probs_KV.amax(1).log_(), out=log_probs_R[rows])
            if x_grad_RC is None and head_grad_VC is None:
                continue
            # -weight x (softmax - onehot), in place
            probs_KV.mul_(weights_R[rows, None].neg())
            probs_KV.scatter_add_(1, targets_R[rows, None], weights_R[rows, None])
            _through_cap(probs_KV, logits_KV, cap)
            _through_head(probs_KV, x_RC, head_VC, rows, x_grad_RC, head_grad_VC)
        ctx.save_for_backward(x_grad_RC, head_grad_VC)
        ctx.mark_non_differentiable(log_probs_R)
        return torch.dot(log_probs_R, weights_R), log_probs_R

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x_grad, head_grad = (None if g is None else g * factor for g in ctx.saved_tensors)
        return x_grad, head_grad, None, None, None


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_RC: Tensor, head_VC: Tensor, targets_R: Tensor, cap: float | None
    ) -> tuple[Tensor, Tensor]:
        log_probs_R = x_RC.new_empty(len(x_RC))
        entropy_R = x_RC.new_empty(len(x_RC))
        for rows, probs_KV, _, logit_K, maximum_K in _chunks(x_RC, head_VC, targets_R, cap):
            torch.add(logit_K - maximum_K, probs_KV.amax(1).log_(), out=log_probs_R[rows])
            entropy_R[rows] = torch.special.entr(probs_KV).sum(1)
        ctx.save_for_backward(x_RC, head_VC, targets_R, entropy_R)
        ctx.cap = cap
        return log_probs_R, entropy_R

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, log_prob_grad_R: Tensor, entropy_grad_R: Tensor
    ) -> tuple[Tensor | None, ...]:
        x_RC, head_VC, targets_R, entropy_R = ctx.saved_tensors
        x_wanted, head_wanted = ctx.needs_input_grad[:2]
        x_grad_RC = torch.empty_like(x_RC) if x_wanted else None
        head_grad_VC = torch.zeros_like(head_VC) if head_wanted else None
        through_entropy = bool(entropy_grad_R.any())
        for rows, probs_KV, logits_KV, _, _ in _chunks(x_RC, head_VC, targets_R, ctx.cap):
            grad_K1 = log_prob_grad_R[rows, None]
            scale_KV: Tensor = -grad_K1
            if through_entropy:
                # dH/dlogit = -p (log p + H); p log p is 0 where p is 0
                log_KV = probs_KV.clamp_min(torch.finfo(probs_KV.dtype).tiny).log_()
                scale_KV = -grad_K1 - entropy_grad_R[rows, None] * (
                    log_KV.add_(entropy_R[rows, None])
                )
            probs_KV.mul_(scale_KV)
            probs_KV.scatter_add_(1, targets_R[rows, None], grad_K1)
            _through_cap(probs_KV, logits_KV, ctx.cap)
            _through_head(probs_KV, x_RC, head_VC, rows, x_grad_RC, head_grad_VC)
        return x_grad_RC, head_grad_VC, None, None


def _through_head(
    grad_KV: Tensor,
    x_RC: Tensor,
    head_VC: Tensor,
    rows: slice,
    x_grad_RC: Tensor | None,
    head_grad_VC: Tensor | None,
) -> None:
    """Takes a chunk's gradient at the logits to those of the two that are wanted.

    With a frozen head (an adapter is trained) one of the products falls away.
    """
    if x_grad_RC is not None:
        torch.mm(grad_KV, head_VC, out=x_grad_RC[rows])
    if head_grad_VC is not None:
        head_grad_VC.addmm_(grad_KV.t(), x_RC[rows])


def _through_cap(grad_KV: Tensor, logits_KV: Tensor, cap: float | None) -> None:
    """Turns a gradient at capped logits into one at the plain ones, in place; spoils both."""
    if cap is not None:  # d/dx cap tanh(x / cap) = 1 - tanh^2
        grad_KV.mul_(logits_KV.div_(cap).square_().neg_().add_(1))


def _chunks(
    x_RC: Tensor, head_VC: Tensor, targets_R: Tensor, cap: float | None
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """(rows, softmax_KV, capped logits_KV, target's logit_K, largest logit_K) of each chunk.

    Both buffers may be overwritten by the caller and are reused by the next chunk. The
    largest probability is exp(max - logsumexp), so `logit - max + log(largest)` is the exact
    log-prob even where the probability itself underflows.
    """
    size = min(len(x_RC), ROWS if x_RC.device.type == "cpu" else ROWS_ON_DEVICE)
    logits_KV = x_RC.new_empty(size, len(head_VC))
    probs_KV = torch.empty_like(logits_KV)
    for start in range(0, len(x_RC), max(size, 1)):
        rows = slice(start, min(start + size, len(x_RC)))
        logits, probs = logits_KV[: rows.stop - start], probs_KV[: rows.stop - start]
        capped(torch.mm(x_RC[rows], head_VC.t(), out=logits), cap)
        torch.softmax(logits, 1, out=probs)
        logit_K = logits.gather(1, targets_R[rows, None])[:, 0]
        yield rows, probs, logits, logit_K, logits.amax(1)
