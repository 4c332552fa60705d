"""Parameters and FLOPs of decoders as others build them, from the fields of their configurations.

Knows no model by name and no weights; our own decoder's arithmetic is in `plan/shape.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ontogeny.base.errors import InputError

Biases = Literal["none", "qkv", "all"]
Norms = Literal["none", "rms", "layer"]
QKNorm = Literal["none", "head", "width"]


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts (Dai et al. 2024, arXiv:2401.06066): `active` of `routed` a token.

    `shared` experts see every token; `ff` is the inner width of one expert; the first
    `dense_layers` layers have a feed-forward of the architecture's own `ff` instead.
    """

    routed: int
    active: int
    ff: int
    shared: int = 0
    dense_layers: int = 0


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1), widths.

    `query` and `key_value` are the compressed widths, `plain` and `rotary` the parts of a head's
    key without and with positions, `value` a head's value.
    """

    query: int
    key_value: int
    plain: int
    rotary: int
    value: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A decoder as a configuration describes it.

    `ff` is the inner width of the feed-forward, `gated` whether it has three matrices (GLU) or
    two. `biases` are on no matrix, on those of queries, keys and values, or on all. `norms` is
    what a norm holds (nothing, a scale, a scale and a shift) and `norms_a_layer` how many a layer
    has besides `qk_norm`, which is over one head or over the whole width. `positions` is the
    number of learned absolute positions, 0 for rotary ones; `relative_positions` adds
    Transformer-XL's projection (arXiv:1901.02860). `window` tokens are attended to, except in one
    layer of `full_every`, which attends to all; 0 means all layers do.

    Raises:
        InputError: when the numbers do not fit together.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ff: int
    vocab: int
    tied: bool
    gated: bool = True
    biases: Biases = "none"
    norms: Norms = "rms"
    norms_a_layer: int = 2
    qk_norm: QKNorm = "none"
    embedding_norm: bool = False
    positions: int = 0
    relative_positions: bool = False
    window: int = 0
    full_every: int = 1
    experts: Experts | None = None
    latent: Latent | None = None

    def __post_init__(self) -> None:
        sizes = (self.layers, self.hidden, self.heads, self.kv_heads, self.head_dim, self.vocab)
        if min(*sizes, self.ff, self.full_every) < 1 or self.heads % self.kv_heads:
            raise InputError("an architecture's sizes are at least 1 and kv_heads divides heads")
        experts = self.experts
        if experts is not None and not 1 <= experts.active <= experts.routed:
            raise InputError("of the routed experts at least 1 and at most all are active")
        if experts is not None and not 0 <= experts.dense_layers < self.layers:
            raise InputError("dense_layers is less than layers; leave out experts instead")

    def parameters(self) -> int:
        """All weights, a tied head counted once."""
        return self._weights(None if self.experts is None else self.experts.routed)

    def active_parameters(self) -> int:
        """Weights that one token meets: all but the routed experts it is not sent to.

        The input embedding counts whole, as in the totals of the papers that print both.
        """
        return self._weights(None if self.experts is None else self.experts.active)

    def matmul_parameters(self) -> int:
        """Weights that a token is multiplied with: no look-ups, norms or biases."""
        layers = self.layers * self._attention_matrices()
        active = 0 if self.experts is None else self.experts.active
        return layers + self._feed_forward_matrices(active) + self.vocab * self.hidden

    def train_flops(self, tokens: float) -> float:
        """6 N D with the active parameters (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""
        return 6.0 * self.active_parameters() * tokens

    def train_flops_with_attention(
        self, tokens: float, context: int, *, causal: bool = False
    ) -> float:
        """6 (matrices) D and the products of attention, 12 h hd T a token and layer.

        Attention as in PaLM (arXiv:2204.02311, appendix B); with `causal` only the lower half is
        counted, as in a kernel that skips the upper one.
        """
        full = -(-self.layers // self.full_every) if self.window else self.layers
        reached = full * context + (self.layers - full) * min(self.window or context, context)
        widths = 2 * self.head_dim
        if self.latent is not None:
            widths = self.latent.plain + self.latent.rotary + self.latent.value
        attention = 6.0 * self.heads * widths * reached * (0.5 if causal else 1.0)
        return (6.0 * self.matmul_parameters() + attention) * tokens

    def _weights(self, experts: int | None) -> int:
        norm = {"none": 0, "rms": 1, "layer": 2}[self.norms] * self.hidden
        lookups = (1 if self.tied else 2) * self.vocab * self.hidden + self.positions * self.hidden
        layer = self._attention_matrices() + self._attention_vectors() + self.norms_a_layer * norm
        ends = norm * (2 if self.embedding_norm else 1)
        feed_forward = self._feed_forward_matrices(experts or 0)
        if self.biases == "all":
            feed_forward += self.layers * ((2 if self.gated else 1) * self.ff + self.hidden)
        return lookups + self.layers * layer + feed_forward + ends

    def _attention_matrices(self) -> int:
        """Of one layer."""
        latent, queries = self.latent, self.heads * self.head_dim
        relative = self.hidden * queries if self.relative_positions else 0
        if latent is None:
            return 2 * self.hidden * (queries + self.kv_heads * self.head_dim) + relative
        key = latent.plain + latent.rotary
        return (
            latent.query * (self.hidden + self.heads * key)
            + self.hidden * (latent.key_value + latent.rotary)
            + latent.key_value * self.heads * (latent.plain + latent.value)
            + self.heads * latent.value * self.hidden
        )

    def _attention_vectors(self) -> int:
        """Biases and norms inside one layer's attention."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        found = {"none": 0, "head": 2 * self.head_dim, "width": queries + keys}[self.qk_norm]
        if self.latent is not None:
            found += self.latent.query + self.latent.key_value
        if self.biases != "none":
            found += queries + 2 * keys
        return found + (self.hidden if self.biases == "all" else 0)

    def _feed_forward_matrices(self, routed: int) -> int:
        """Of all layers, with `routed` experts of each mixture."""
        matrices = (3 if self.gated else 2) * self.hidden
        if self.experts is None:
            return self.layers * matrices * self.ff
        mixtures = self.layers - self.experts.dense_layers
        mixture = matrices * self.experts.ff * (routed + self.experts.shared)
        router = self.hidden * self.experts.routed
        return self.experts.dense_layers * matrices * self.ff + mixtures * (mixture + router)
