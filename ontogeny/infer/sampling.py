"""Choosing the next token of every row of a batch, each row by its own rules and its own seed.

Knows no text, no cache and no model: logits go in, ids and log-probs come out.

Shapes: B rows (one request each), V vocabulary, N blocks of it, K tokens of a few, R some rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ontogeny.base.errors import InputError
from ontogeny.plan.sampling import Sampling

BLOCK = 64
FEW = 256
NOTHING = -1
"""In place of an id: nothing was allowed."""


def choose(
    logits_BV: Tensor,
    rules: Sequence[Sampling],
    positions: Sequence[int],
    steered_BV: Tensor | None = None,
) -> tuple[list[int], list[float]]:
    """Next token of each row and its log-prob.

    A token is drawn by inverting the cumulative distribution at one uniform number, which is a
    function of (row's seed, row's position) alone: the draw knows nothing of the rest of the
    batch, and nothing needs to be stored to continue it.

    Args:
        logits_BV: fp32, of the unmodified model; unchanged.
        rules: one a row.
        positions: index of the token within its completion, one a row.
        steered_BV: the logits to choose by, after bias, penalties and masks; None where no row
            has any. A row that it leaves nothing but -inf gets the id `NOTHING`.

    Returns:
        B ids, and B log-probs in nats under softmax(logits): *before* temperature and filters.

    Raises:
        InputError: when a logit is NaN or +inf (-inf only means "never").
    """
    logits_BV = logits_BV.float()
    best_B1, greedy_B1 = logits_BV.max(-1, keepdim=True)
    weights_BV = (logits_BV - best_B1).exp_()
    total_B1 = weights_BV.sum(-1, keepdim=True)
    if not math.isfinite(total_B1.sum().item()):
        raise InputError("the model's logits are not finite; use an earlier checkpoint")
    empty: list[int] = []
    if steered_BV is not None:
        peak_B1, greedy_B1 = steered_BV.max(-1, keepdim=True)
        empty = (peak_B1[:, 0] == -math.inf).nonzero()[:, 0].tolist()
        if empty:
            steered_BV[empty], peak_B1[empty] = 0.0, 0.0  # anything will do
        weights_BV = (steered_BV - peak_B1).exp_()
    if all(rule.temperature == 0.0 for rule in rules):
        ids_B1 = greedy_B1
    else:
        shaped = [i for i, r in enumerate(rules) if r.temperature > 0.0 and not r.plain]
        if shaped:
            rows = torch.tensor(shaped, device=logits_BV.device)
            source_BV = logits_BV if steered_BV is None else steered_BV
            weights_BV[rows] = _shaped_weights(source_BV[rows], [rules[i] for i in shaped])
        ids_B1 = _invert(weights_BV, uniforms([rule.seed for rule in rules], positions))
        cold = torch.tensor([[rule.temperature == 0.0] for rule in rules], device=ids_B1.device)
        ids_B1 = torch.where(cold, greedy_B1, ids_B1)
    log_probs_B1 = logits_BV.gather(-1, ids_B1) - best_B1 - total_B1.log()
    ids = ids_B1[:, 0].tolist()
    for row in empty:
        ids[row] = NOTHING
    return ids, log_probs_B1[:, 0].tolist()


def likeliest(logits_BV: Tensor, counts: Sequence[int]) -> list[tuple[tuple[int, float], ...]]:
    """The first `counts[b]` (id, log-prob in nats) pairs of each row, likeliest first.

    Under softmax(logits); ties stand by the lowest id.
    """
    logits_BV = logits_BV.float()
    most = min(max(counts), logits_BV.shape[-1])
    ids_BK = ranks(logits_BV, logits_BV.shape[-1] - 1).topk(most).indices
    log_probs_BK = logits_BV.gather(-1, ids_BK) - logits_BV.logsumexp(-1, keepdim=True)
    pairs = zip(ids_BK.tolist(), log_probs_BK.tolist(), counts, strict=True)
    return [tuple(zip(ids[:n], told[:n], strict=True)) for ids, told, n in pairs]


def ranks(logits_BV: Tensor, highest: int) -> Tensor:
    """One whole number for each logit that orders by logit, then by the lowest id.

    Args:
        highest: the low 32 bits of the first id's; the next one's are one less.
    """
    # fp32 as ordered integers, negative ones mirrored
    bits_BV = (logits_BV.float() + 0.0).view(torch.int32)
    bits_BV = torch.where(bits_BV < 0, bits_BV ^ 0x7FFFFFFF, bits_BV)
    last = highest - logits_BV.shape[-1]
    return (bits_BV.long() << 32) | torch.arange(highest, last, -1, device=logits_BV.device)


def uniforms(seeds: Sequence[int], positions: Sequence[int]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), one for each (seed, position): SplitMix64 used as a counter.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 15. The
    seed is mixed once before it starts the sequence, so that seeds 0, 1, 2 share nothing.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    start = _mixed(np.asarray(seeds, dtype=np.uint64) + golden)
    drawn = _mixed(start + golden * (np.asarray(positions, dtype=np.uint64) + np.uint64(1)))
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _invert(weights_BV: Tensor, uniform_B: NDArray[np.float64]) -> Tensor:
    """First id whose cumulative weight exceeds uniform x total; never one of weight 0.

    In two steps, block then token: one running sum over the vocabulary costs five times as much.
    """
    rows, vocab_size = weights_BV.shape
    if missing := -vocab_size % BLOCK:
        weights_BV = torch.nn.functional.pad(weights_BV, (0, missing))
    weights_BNK = weights_BV.view(rows, -1, BLOCK)
    upto_BN = weights_BNK.sum(-1).cumsum(-1)
    target_B1 = torch.from_numpy(uniform_B)[:, None].to(upto_BN) * upto_BN[:, -1:]
    block_B1 = torch.searchsorted(upto_BN, _below(target_B1, upto_BN[:, -1:]), right=True)
    inside_BK = weights_BNK.take_along_dim(block_B1[:, :, None], 1)[:, 0].cumsum(-1)
    before_B1 = upto_BN.gather(-1, block_B1 - 1 + (block_B1 == 0).long()) * (block_B1 > 0)
    target_B1 = _below((target_B1 - before_B1).clamp_(min=0.0), inside_BK[:, -1:])
    return block_B1 * BLOCK + torch.searchsorted(inside_BK, target_B1, right=True)


def _below(target_B1: Tensor, total_B1: Tensor) -> Tensor:
    """Rounding may lift a target to the total itself, beyond the last token of weight > 0."""
    return torch.minimum(target_B1, total_B1.nextafter(total_B1.new_zeros(())))


def _shaped_weights(logits_BV: Tensor, rules: Sequence[Sampling]) -> Tensor:
    """Unnormalised probabilities after temperature, top-k, top-p and min-p, in this order."""
    column = logits_BV.new_tensor
    # the maximum goes first: a tiny temperature must not overflow
    logits_BV = logits_BV - logits_BV.amax(-1, keepdim=True)
    logits_BV /= column([[rule.temperature] for rule in rules])
    vocab_size = logits_BV.shape[-1]
    ks = [min(rule.top_k, vocab_size) or vocab_size for rule in rules]
    if min(ks) < vocab_size:
        largest = max(k for k in ks if k < vocab_size)
        top_BK = logits_BV.topk(largest).values
        kth_B1 = torch.tensor([[min(k, largest) - 1] for k in ks], device=logits_BV.device)
        off_B1 = torch.tensor([[k == vocab_size] for k in ks], device=logits_BV.device)
        out_BV = (logits_BV < top_BK.gather(-1, kth_B1)) & ~off_B1
        logits_BV.masked_fill_(out_BV, -torch.inf)
    weights_BV = logits_BV.exp_()
    nuclei = [i for i, rule in enumerate(rules) if rule.top_p < 1.0]
    if nuclei:
        rows = torch.tensor(nuclei, device=weights_BV.device)
        weights_BV[rows] = _nucleus(weights_BV[rows], column([[rules[i].top_p] for i in nuclei]))
    if any(rule.min_p > 0.0 for rule in rules):  # the best token has weight 1
        weights_BV.masked_fill_(weights_BV < column([[rule.min_p] for rule in rules]), 0.0)
    return weights_BV


def _nucleus(weights_BV: Tensor, top_p_B1: Tensor) -> Tensor:
    """Weights of the smallest set of best tokens that holds the share top_p; others are 0.

    Most often a few best tokens hold it; only rows where they do not pay for a whole sort.
    """
    share_B1 = top_p_B1 * weights_BV.sum(-1, keepdim=True)
    best_BK, ids_BK = weights_BV.topk(min(FEW, weights_BV.shape[-1]))
    kept_BV = torch.zeros_like(weights_BV).scatter_(-1, ids_BK, _held(best_BK, share_B1))
    wide = (best_BK.sum(-1, keepdim=True) < share_B1)[:, 0].nonzero()[:, 0]
    if len(wide):
        sorted_RV, ids_RV = weights_BV[wide].sort(stable=True, dim=-1, descending=True)
        held_RV = _held(sorted_RV, share_B1[wide])
        kept_BV[wide] = torch.zeros_like(held_RV).scatter_(-1, ids_RV, held_RV)
    return kept_BV


def _held(sorted_BK: Tensor, share_B1: Tensor) -> Tensor:
    """Keeps a weight while the better ones before it hold less than the share."""
    before_BK = sorted_BK.cumsum(-1) - sorted_BK
    return sorted_BK.masked_fill(before_BK >= share_B1, 0.0)
