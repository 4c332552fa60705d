"""What each token of a training batch leaves in memory until the backward pass has gone by.

Knows no batch, no optimizer and no tensor: these are numbers (of 4 bytes) a token, counted from
the functions of `ontogeny.model`. `tests/plan/test_activations.py` counts again what autograd
keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from ontogeny.plan.adapter import TARGETS, LoRA
from ontogeny.plan.shape import Shape


@dataclass(frozen=True, slots=True)
class Learning:
    """What of a model learns from rows of which kind.

    Args:
        adapter: learns alone, or None: everything learns.
        length: tokens of the longest document in a row.
        packed: several documents stand in a row.
    """

    adapter: LoRA | None
    length: int
    packed: bool = True

    def needs(self, *names: str) -> bool:
        """Whether the input of these matrices is kept: one of them learns, or its adapter."""
        return self.adapter is None or any(name in self.adapter.targets for name in names)


def kept(shape: Shape, learning: Learning, *, recompute: bool = False) -> float:
    """What all layers and the final norm keep for the backward pass.

    With `recompute` that is the input of each layer, and all of the one that is computed again.
    """
    layers = kept_by_layer(shape, learning)
    own = shape.layers * shape.hidden + max(layers) if recompute else sum(layers)
    return own + (4 if learning.adapter is None else 3) * shape.hidden


def kept_by_layer(shape: Shape, learning: Learning) -> list[float]:
    """What each layer keeps."""
    around = _norms(shape, learning) + _feed_forward(shape, learning)
    return [around + _attention(shape, learning, kind) for kind in shape.kinds]


def passing(shape: Shape, length: int) -> float:
    """What comes and goes in the backward pass of one layer, at its most.

    The gated product's backward holds five buffers of the inner width beside the stream's own
    gradient; attention's holds three of its queries, keys and values, capped scores four more.
    """
    attention = 3 * (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    if shape.attention_cap is not None:
        attention += 4 * shape.heads * length
    return 2 * shape.hidden + max(5 * shape.ff, attention)


def sizes(shape: Shape) -> dict[str, tuple[int, int]]:
    """(rows, columns) of each matrix of a layer, by the names of `TARGETS`."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    c, f = shape.hidden, shape.ff
    found = ((q, c), (kv, c), (kv, c), (c, q), (f, c), (f, c), (c, f))
    return dict(zip(TARGETS, found, strict=True))


def _norms(shape: Shape, learning: Learning) -> float:
    """A norm keeps its input and, where it learns, what it multiplies; a product its input."""
    norms = 4 if shape.form.norms == "sandwich" else 2
    own = norms * (shape.hidden * (2 if learning.adapter is None else 1) + 1)
    inputs = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
    return own + shape.hidden * sum(learning.needs(*names) for names in inputs)


def _feed_forward(shape: Shape, learning: Learning) -> float:
    """Gate and up, their product and, with GELU, the gate's own value."""
    own = 2 * shape.ff + shape.ff * learning.needs("down_proj")
    own += shape.ff * (shape.form.activation != "silu")
    return own + _low_rank(shape, learning.adapter, "gate_proj", "up_proj", "down_proj")


def _attention(shape: Shape, learning: Learning, kind: str) -> float:
    """Queries, keys and values as projected and as they are read, and what was mixed of them."""
    both, values = shape.heads + shape.kv_heads, shape.kv_heads * shape.head_dim
    turned, mixed = both * shape.head_dim, shape.heads * shape.head_dim
    own = float(turned + values)
    if shape.form.qk_norm == "head":
        own += both + turned + values
    else:  # the values are read where they were projected
        own += turned * (kind != "n")
        own += turned * (shape.form.qk_norm == "row" and learning.adapter is None)
    own += mixed + shape.heads
    if learning.packed:  # of several blocks, joined
        own += mixed * learning.needs("o_proj")
    if shape.attention_cap is not None:  # scores after tanh and after softmax
        own += 2 * shape.heads * learning.length
    return own + _low_rank(shape, learning.adapter, "q_proj", "k_proj", "v_proj", "o_proj")


def _low_rank(shape: Shape, adapter: LoRA | None, *names: str) -> float:
    """What adapters keep beside: x A^T and, for DoRA, the product before its rows are scaled."""
    if adapter is None:
        return 0.0
    chosen = [name for name in names if name in adapter.targets]
    dora = adapter.kind == "dora"
    return sum(adapter.rank + dora * sizes(shape)[name][0] for name in chosen)
