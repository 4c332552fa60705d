"""Log-probs of given continuations; what their sequences share is read once.

Knows no text and no engine: nothing is sampled. `ontogeny.infer.tree` says what is read.

Shape suffixes: D distinct tokens of the tree, N tokens of a pass, W (token, target) pairs wanted,
R tokens of them whose logits are needed, C channels, V vocabulary, K ids of one tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ontogeny.base.errors import InputError
from ontogeny.infer.tree import Block, Cost, Pass, Tree, grow, passes
from ontogeny.model import head
from ontogeny.model.layout import Layout, Sight, Stem
from ontogeny.model.transformer import Transformer

Ids = Sequence[int]
Places = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is fastest on a kind of device; of no influence on the scores but rounding.

    Args:
        tokens: of a forward pass.
        cost: of attention.
        tile: logits that exist at once.
        rows: of a tile.
    """

    tokens: int
    cost: Cost
    tile: int
    rows: int


CPU = Machine(2048, Cost(256, 4096, 20), 1 << 20, 512)
"""Activations and a tile of logits stay in the cache."""
ACCELERATOR = Machine(1 << 16, Cost(2048, 1 << 19, 1 << 10), 1 << 28, 1 << 13)
"""Launches cost more than products."""


def score(
    model: Transformer, pairs: Sequence[tuple[Ids, Ids]], most_tokens: int = 4096
) -> list[tuple[list[float], list[bool]]]:
    """For each (prompt, target): log-prob of each target token, and whether it was the likeliest.

    A token is read once for all pairs that begin alike up to it, and what follows it scored once.

    Args:
        model: scores under its unmodified distribution.
        pairs: token ids, at least one in each part.
        most_tokens: of one forward pass.

    Returns:
        In the order of the pairs: target's log-probs in nats, and their greedy flags.

    Raises:
        InputError: when a pair exceeds the model's context or holds an id outside the vocabulary,
            or the model's logits are not finite.
    """
    for prompt, target in pairs:
        check(model, prompt, target)
    if not pairs:
        return []
    tree = grow(
        [np.array((*prompt, *target)[:-1], np.int64) for prompt, target in pairs],
        [len(target) for _, target in pairs],
    )
    targets = np.concatenate([np.asarray(target, np.int64) for _, target in pairs])
    vocab_size = model.shape.vocab_size
    wanted_W, where = np.unique(
        np.concatenate(tree.ends) * vocab_size + targets, return_inverse=True
    )
    log_probs_W, greedy_W = _wanted(model, tree, *np.divmod(wanted_W, vocab_size), most_tokens)
    log_probs, greedy = log_probs_W[where].tolist(), greedy_W[where].tolist()
    stops = np.cumsum([len(target) for _, target in pairs]).tolist()
    return [(log_probs[start:stop], greedy[start:stop]) for start, stop in pairwise([0, *stops])]


def check(model: Transformer, prompt: Ids, target: Ids) -> None:
    """Raises InputError when `score` would refuse the pair."""
    vocab_size, context = model.shape.vocab_size, model.shape.context
    if not prompt or not target:
        raise InputError("scoring needs at least one token of prompt and one of target")
    lowest, highest = min(min(prompt), min(target)), max(max(prompt), max(target))
    if not 0 <= lowest <= highest < vocab_size:
        raise InputError(f"an id to score is outside the vocabulary (0 to {vocab_size - 1})")
    if len(prompt) + len(target) > context + 1:  # the last token is predicted, never read
        raise InputError(
            f"{len(prompt)} + {len(target)} tokens to score exceed the model's context of "
            f"{context}; shorten the prompt"
        )


@torch.inference_mode()
def _wanted(
    model: Transformer, tree: Tree, tokens_W: Places, targets_W: Places, most_tokens: int
) -> tuple[Floats, Flags]:
    """log_probs_W and greedy_W of `targets_W` after the tree's `tokens_W`, which rise."""
    machine = CPU if model.device.type == "cpu" else ACCELERATOR
    log_probs_W, greedy_W = np.empty(len(tokens_W)), np.empty(len(tokens_W), np.bool_)
    stem = Stem()
    for part in passes(tree, min(most_tokens, machine.tokens), machine.cost):
        stem.keep = part.keep
        inside = slice(*np.searchsorted(tokens_W, (part.first, part.stop)))
        rows_R, row_W = np.unique(tokens_W[inside] - part.first, return_inverse=True)
        tokens_N = torch.from_numpy(tree.ids_D[part.first : part.stop]).to(model.device)
        plan = _layout(part, tree, stem, model)
        x_RC = model.read(tokens_N, plan, torch.from_numpy(rows_R).to(model.device))
        if len(x_RC):
            found = _log_probs(model, x_RC, row_W, targets_W[inside], machine)
            log_probs_W[inside], greedy_W[inside] = found[0].numpy(), found[1].numpy()
    if np.isnan(log_probs_W).any():
        raise InputError("the model's logits are not finite; use an earlier checkpoint")
    return log_probs_W, greedy_W


def _layout(part: Pass, tree: Tree, stem: Stem, model: Transformer) -> Layout:
    depths_N = torch.from_numpy(tree.depths_D[part.first : part.stop])
    sights: list[Sight | None] = []
    start = 0
    for block in part.blocks:
        stop = start + block.count * block.length
        sights.append(_sight(block, depths_N[start:stop], model))
        start = stop
    return Layout(
        tuple((block.count, block.length) for block in part.blocks),
        None,
        None,
        depths_N.to(model.device),
        tuple(sights),
        stem,
    )


def _sight(block: Block, depths_U: Tensor, model: Transformer) -> Sight | None:
    if block.sight is None:
        return None
    seen, bits = block.sight
    mask_UK, window = torch.from_numpy(bits), model.shape.window
    near_UK = mask_UK
    if 0 < window <= int(depths_U.max()):
        above = torch.arange(mask_UK.shape[1] - len(depths_U))
        near_UK = mask_UK & (depths_U[:, None] - torch.cat([above, depths_U]) < window)
    mask = _ready(mask_UK, model)
    return Sight(seen, mask, mask if near_UK is mask_UK else _ready(near_UK, model))


def _ready(mask_UK: Tensor, model: Transformer) -> Tensor:
    """On the device; as added to the scores, unless they are capped: else each layer makes that."""
    if model.shape.attention_cap is not None:
        return mask_UK.to(model.device)
    zeros_UK = torch.zeros(mask_UK.shape, dtype=model.embedding.dtype)
    return zeros_UK.masked_fill_(~mask_UK, -torch.inf).to(model.device)


def _log_probs(
    model: Transformer, x_RC: Tensor, row_W: Places, targets_W: Places, machine: Machine
) -> tuple[Tensor, Tensor]:
    """log_probs_W and greedy_W of `targets_W` after the tokens at `row_W` (rising) of `x_RC`."""
    starts = range(0, len(x_RC), machine.rows)
    cuts = np.searchsorted(row_W, [*starts, len(x_RC)])
    found = [
        _rows(
            model,
            x_RC[start : start + machine.rows],
            row_W[first:stop] - start,
            targets_W[first:stop],
            machine.tile,
        )
        for start, (first, stop) in zip(starts, pairwise(cuts), strict=True)
    ]
    log_probs, greedy = zip(*found, strict=True)
    return torch.cat(log_probs), torch.cat(greedy)


def _rows(
    model: Transformer, x_RC: Tensor, row_W: Places, targets_W: Places, tile: int
) -> tuple[Tensor, Tensor]:
    """The same, of so few rows that a tile holds many ids.

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
        larger_R = torch.maximum(largest_R, highest_R)
        sums_R.mul_((largest_R - larger_R).exp_())
        sums_R += logits_RK.sub_(larger_R[:, None]).exp_().sum(1)
        largest_R = larger_R
    back = torch.from_numpy(np.argsort(order))
    log_probs_w = chosen_w - (largest_R + sums_R.log_())[row_w]
    greedy_w = leads_w & (chosen_w == largest_R[row_w])
    return log_probs_w.cpu()[back], greedy_w.cpu()[back]
