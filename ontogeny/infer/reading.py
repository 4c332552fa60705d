"""A tree of token sequences through the model, pass by pass. Knows no text and no engine.

Shape suffixes: N tokens of a pass, R rows of them that are wanted, C channels; U tokens of a
piece, K tokens that it sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ontogeny.infer.tree import Block, Cost, Pass, Tree, passes
from ontogeny.model.layout import Layout, Sight, Stem
from ontogeny.model.transformer import Transformer

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is fastest on a kind of device; of no influence on what is read but rounding.

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


def machine_of(model: Transformer) -> Machine:
    """The kind of device that the model is on."""
    return CPU if model.device.type == "cpu" else ACCELERATOR


def read(
    model: Transformer,
    tree: Tree,
    most_tokens: int,
    wanted: Callable[[Pass], Places],
    machine: Machine,
) -> Iterator[tuple[Pass, Tensor]]:
    """Each pass of at most `most_tokens` with x_RC after the final norm at its places `wanted`."""
    stem = Stem()
    for part in passes(tree, min(most_tokens, machine.tokens), machine.cost):
        stem.keep = part.keep
        tokens_N = torch.from_numpy(tree.ids_D[part.first : part.stop]).to(model.device)
        plan, rows_R = _layout(part, tree, stem, model), torch.from_numpy(wanted(part))
        yield part, model.read(tokens_N, plan, rows_R.to(model.device))


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
