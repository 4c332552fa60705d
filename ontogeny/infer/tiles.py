"""What the head says of a few tokens after many states, a tile of logits at a time.

Knows no sequences. Logits of all ids for many states would not fit the cache, or the memory.

Shape suffixes: W (state, target) pairs wanted, R states, C channels, V vocabulary, K ids of one
tile, T likeliest ids so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ontogeny.infer.reading import Machine
from ontogeny.infer.sampling import ranks
from ontogeny.model import head
from ontogeny.model.transformer import Transformer

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Said:
    """Of pairs W: their log-probs in nats, and whether the target is the likeliest id.

    Attributes:
        top_ids_RT: the likeliest ids after each state, likeliest first, ties by the lowest id.
        top_log_probs_RT: theirs.
    """

    log_probs_W: Tensor
    greedy_W: Tensor
    top_ids_RT: Tensor
    top_log_probs_RT: Tensor


def said(
    model: Transformer, x_RC: Tensor, row_W: Places, targets_W: Places, machine: Machine, top: int
) -> Said:
    """What the head says of `targets_W` after the states at `row_W` (rising) of `x_RC`.

    Args:
        top: how many of the likeliest are told of each state.
    """
    starts = range(0, len(x_RC), machine.rows)
    cuts = np.searchsorted(row_W, [*starts, len(x_RC)])
    found = [
        _rows(
            model,
            x_RC[start : start + machine.rows],
            row_W[first:stop] - start,
            targets_W[first:stop],
            machine.tile,
            top,
        )
        for start, (first, stop) in zip(starts, pairwise(cuts), strict=True)
    ]
    return Said(*map(torch.cat, zip(*found, strict=True)))


def _rows(
    model: Transformer, x_RC: Tensor, row_W: Places, targets_W: Places, tile: int, top: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of `Said`, of so few rows that a tile holds many ids.

    A tile of logits is made, searched and summed while it is in the cache; the sum of exponentials
    is that over the largest logit so far (Milakov and Gimelshein 2018, arXiv:1805.02867).
    """
    weights_VC, rows = model.head, len(x_RC)
    width = min(max(tile // rows, 1), len(weights_VC))
    order = np.argsort(targets_W, kind="stable")
    cuts = np.searchsorted(targets_W[order], range(0, len(weights_VC) + width, width))
    row_w, targets_w = (
        torch.from_numpy(each[order]).to(x_RC.device) for each in (row_W, targets_W)
    )
    buffer = x_RC.new_empty(rows * width)
    exact = torch.promote_types(x_RC.dtype, torch.float32)
    largest_R = torch.full((rows,), -torch.inf, dtype=exact, device=x_RC.device)
    sums_R = torch.zeros_like(largest_R)
    chosen_w = largest_R.new_empty(len(order))
    leads_w = torch.empty(len(order), dtype=torch.bool, device=x_RC.device)
    best = _Best(top, len(weights_VC), largest_R)
    for number, first_id in enumerate(range(0, len(weights_VC), width)):
        part_KC = weights_VC[first_id : first_id + width]
        out_RK = buffer[: rows * len(part_KC)].view(rows, -1)
        logits_RK = head.capped(torch.mm(x_RC, part_KC.t(), out=out_RK), model.cap).to(exact)
        highest_R = logits_RK.amax(1)
        inside = slice(*cuts[number : number + 2])
        row, id_ = row_w[inside], targets_w[inside] - first_id
        chosen_w[inside] = chosen = logits_RK[row, id_]
        leads = (chosen == highest_R[row]) & (chosen > largest_R[row])
        tied = leads.nonzero()[:, 0]  # the first of equals counts
        leads[tied] = logits_RK[row[tied]].argmax(1) == id_[tied]
        leads_w[inside] = leads
        best.look(logits_RK, first_id)
        larger_R = torch.maximum(largest_R, highest_R)
        sums_R.mul_((largest_R - larger_R).exp_())
        sums_R += logits_RK.sub_(larger_R[:, None]).exp_().sum(1)
        largest_R = larger_R
    back = torch.from_numpy(np.argsort(order))
    total_R = largest_R + sums_R.log_()
    log_probs_w = chosen_w - total_R[row_w]
    greedy_w = leads_w & (chosen_w == largest_R[row_w])
    top_log_probs_RT = best.logits_RT - total_R[:, None]
    return log_probs_w.cpu()[back], greedy_w.cpu()[back], best.ids().cpu(), top_log_probs_RT.cpu()


class _Best:
    """The likeliest ids of each row over the tiles seen so far."""

    def __init__(self, top: int, vocab_size: int, like_R: Tensor) -> None:
        self._top, self._size = top, vocab_size
        self._ranks_RT = like_R.new_empty((len(like_R), 0), dtype=torch.int64)
        self.logits_RT = like_R.new_empty((len(like_R), 0))

    def ids(self) -> Tensor:
        """ids_RT, likeliest first."""
        return self._size - 1 - (self._ranks_RT & 0xFFFFFFFF)

    def look(self, logits_RK: Tensor, first_id: int) -> None:
        """One more tile."""
        if not self._top:
            return
        ranks_RK = ranks(logits_RK, self._size - 1 - first_id)
        best = ranks_RK.topk(min(self._top, ranks_RK.shape[1]))
        ranks_RT = torch.cat([self._ranks_RT, best.values], 1)
        logits_RT = torch.cat([self.logits_RT, logits_RK.gather(1, best.indices)], 1)
        kept = ranks_RT.topk(min(self._top, ranks_RT.shape[1]))
        self._ranks_RT, self.logits_RT = kept.values, logits_RT.gather(1, kept.indices)
