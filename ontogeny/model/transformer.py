"""The decoder: embedding, layers, final norm, head. Knows no objective's formula and no text.

A layer is data: a mixer, a feed-forward and their norms. Pre-norm, RMSNorm (Zhang and Sennrich
2019, arXiv:1910.07467), in the form of Qwen3.

Shape suffixes: B rows, T tokens, N tokens of the stream, M = B * T, R tokens with a loss,
C channels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ontogeny.model import head, thin
from ontogeny.model.attention import Append, Attention, AttentionState
from ontogeny.model.feed_forward import FeedForward
from ontogeny.model.layout import Layout, layout
from ontogeny.model.rope import rope_tables
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs, Outputs
from ontogeny.plan.shape import Shape


@dataclass(slots=True)
class State:
    """What the layers remember of `slots` sequences.

    Args:
        lengths: tokens held by each slot.
        capacity: tokens a slot can hold.
        layers: each mixer's own state.
    """

    lengths: list[int]
    capacity: int
    layers: list[AttentionState]

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Slot `target` becomes the first `length` tokens of slot `source`."""
        assert length <= self.lengths[source], (length, self.lengths[source])
        for layer in self.layers:
            layer.copy_prefix(source, target, length)
        self.lengths[target] = length

    def free(self, slot: int) -> None:
        """Forget slot `slot`; its places are overwritten by the next sequence."""
        self.lengths[slot] = 0


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_NC: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        return F.rms_norm(x_NC, self.weight.shape, self.weight, self.eps)


class Layer(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(
        self, mixer: Attention, feed_forward: FeedForward, norms: tuple[RMSNorm, RMSNorm]
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.feed_forward = feed_forward
        self.mixer_norm, self.feed_forward_norm = norms

    def forward(self, x_NC: Tensor, cos: Tensor, sin: Tensor, layout: Layout) -> Tensor:
        """(N, C) -> (N, C)."""
        x_NC = x_NC + self.mixer(self.mixer_norm(x_NC), cos, sin, layout)
        mixed_NC: Tensor = self.feed_forward(self.feed_forward_norm(x_NC))
        return x_NC + mixed_NC

    def extend(
        self, x_NC: Tensor, cos: Tensor, sin: Tensor, append: Append, state: AttentionState
    ) -> Tensor:
        """The same for new tokens behind a cache."""
        x_NC = x_NC + self.mixer.extend(self.mixer_norm(x_NC), cos, sin, append, state)
        return x_NC + self.feed_forward.extend(self.feed_forward_norm(x_NC))


class Transformer(nn.Module):
    """A decoder of `shape`; weights are empty until `initialise` or `load_weights`."""

    cos_PE: Tensor
    sin_PE: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.vocab_size, shape.hidden))
        self.stack = [_layer(shape) for _ in range(shape.layers)]
        self.layers = nn.ModuleList(self.stack)
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)
        self.untied_head: nn.Parameter | None = None
        if not shape.tied:
            self.untied_head = nn.Parameter(torch.empty(shape.vocab_size, shape.hidden))
        cos_PE, sin_PE = rope_tables(shape.head_dim, shape.rope_theta, shape.context, shape.rope)
        self.register_buffer("cos_PE", cos_PE, persistent=False)
        self.register_buffer("sin_PE", sin_PE, persistent=False)

    @property
    def head(self) -> Tensor:
        """(V, C); the embedding itself where the shape is tied."""
        return self.embedding if self.untied_head is None else self.untied_head

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    def forward(self, batch: Batch, needs: Needs) -> Outputs:
        """What `needs` asks for; the head works only on tokens whose weight is not 0."""
        batch = batch.to(self.device)
        x_NC, plan = self._stream(batch)
        weights_M = batch.weights_BT.flatten()
        targets_M = batch.targets_BT.flatten()
        if bool(weights_M.all()):
            rows_R, source = None, plan.stream_M
            weights_R, targets_R = weights_M, targets_M
        else:
            rows_R = weights_M.nonzero()[:, 0]
            source = rows_R if plan.stream_M is None else plan.stream_M[rows_R]
            weights_R, targets_R = weights_M[rows_R], targets_M[rows_R]
        x_RC = self.norm(x_NC if source is None else x_NC.index_select(0, source))
        total: Tensor | None = None
        entropy_R: Tensor | None = None
        if needs.two_pass:
            log_probs_R, entropy_R = head.log_probs(x_RC, self.head, targets_R)
            if needs.weighted_log_prob:
                total = torch.dot(log_probs_R, weights_R)
        else:
            total, log_probs_R = head.weighted_log_prob(x_RC, self.head, targets_R, weights_R)
        shape = batch.tokens_BT.shape
        return Outputs(
            total if needs.weighted_log_prob else None,
            _spread(log_probs_R, rows_R, shape),
            _spread(entropy_R, rows_R, shape) if needs.entropy and entropy_R is not None else None,
        )

    @torch.no_grad()
    def states(self, batch: Batch) -> Tensor:
        """x_MC after the final norm, one row for each token of (B, T); `head` makes them logits."""
        batch = batch.to(self.device)
        x_NC, plan = self._stream(batch)
        x_MC: Tensor = self.norm(x_NC if plan.stream_M is None else x_NC[plan.stream_M])
        return x_MC

    def logits(self, batch: Batch) -> Tensor:
        """logits_BTV of every token, for parity tests and small inputs (T x V floats a row)."""
        with torch.no_grad():
            return F.linear(self.states(batch), self.head).view(*batch.tokens_BT.shape, -1)

    def new_state(self, slots: int, length: int) -> State:
        """Empty caches for `slots` sequences of at most `length` tokens (<= shape.context)."""
        assert length <= self.shape.context, (length, self.shape.context)
        layers = [layer.mixer.new_state(slots, length) for layer in self.stack]
        return State([0] * slots, length, layers)

    @torch.inference_mode()
    def extend(
        self,
        tokens_BT: Tensor,
        lengths_B: Sequence[int],
        slots_B: Sequence[int],
        state: State,
    ) -> Tensor:
        """logits_BV after the last new token of each row.

        Appends the first `lengths_B[b]` (>= 1) tokens of row b to slot `slots_B[b]`. T = 1 is a
        decode step, T > 1 a prefill; slots may be in any order, none twice.
        """
        x_MC = self._extend(tokens_BT, lengths_B, slots_B, state)
        if tokens_BT.shape[1] > 1:
            width = tokens_BT.shape[1]
            last = [row * width + count - 1 for row, count in enumerate(lengths_B)]
            x_MC = x_MC[torch.tensor(last, device=x_MC.device)]
        return thin.linear(self.norm(x_MC), self.head).contiguous()

    @torch.inference_mode()
    def extend_log_probs(
        self,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        lengths_B: Sequence[int],
        slots_B: Sequence[int],
        state: State,
    ) -> Tensor:
        """log_probs_BT of `targets_BT` in nats after each appended token, 0 in the padding."""
        x_MC = self.norm(self._extend(tokens_BT, lengths_B, slots_B, state))
        log_probs_M, _ = head.log_probs(x_MC, self.head, targets_BT.flatten())
        inside = _inside(lengths_B, tokens_BT.shape[1], x_MC.device)
        return log_probs_M.view_as(tokens_BT) * inside

    def _stream(self, batch: Batch) -> tuple[Tensor, Layout]:
        """The stream after the last layer, before the final norm."""
        rows, length = batch.tokens_BT.shape
        plan = layout(rows, length, batch.documents, self.device)
        tokens_N = batch.tokens_BT.flatten()
        if plan.source_N is not None:
            tokens_N = tokens_N[plan.source_N]
        longest = max(block[1] for block in plan.blocks)
        assert longest <= self.shape.context, (longest, self.shape.context)
        if plan.positions_N is None:
            cos, sin = self.cos_PE[:length].repeat(rows, 1), self.sin_PE[:length].repeat(rows, 1)
        else:
            cos, sin = self.cos_PE[plan.positions_N], self.sin_PE[plan.positions_N]
        x_NC = F.embedding(tokens_N, self.embedding)
        for layer in self.stack:
            x_NC = layer(x_NC, cos, sin, plan)
        return x_NC, plan

    def _extend(
        self, tokens_BT: Tensor, lengths_B: Sequence[int], slots_B: Sequence[int], state: State
    ) -> Tensor:
        append = _append(lengths_B, slots_B, tokens_BT.shape[1], state, self.device)
        places_M = append.places_BT.flatten()
        positions_M = places_M.clamp(max=self.shape.context - 1)  # padding may stand outside
        cos, sin = thin.wide(self.cos_PE[positions_M], self.sin_PE[positions_M])
        x_MC = F.embedding(tokens_BT.flatten(), self.embedding)
        for layer, remembered in zip(self.stack, state.layers, strict=True):
            x_MC = layer.extend(x_MC, cos, sin, append, remembered)
        for slot, count in zip(slots_B, lengths_B, strict=True):
            state.lengths[slot] += count
        return x_MC


def _layer(shape: Shape) -> Layer:
    mixer = Attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, shape.norm_eps)
    norms = RMSNorm(shape.hidden, shape.norm_eps), RMSNorm(shape.hidden, shape.norm_eps)
    return Layer(mixer, FeedForward(shape.hidden, shape.ff), norms)


def _spread(values_R: Tensor, rows_R: Tensor | None, shape: torch.Size) -> Tensor:
    """`values_R` at their places of a (B, T) tensor of zeros."""
    if rows_R is None:
        return values_R.view(shape)
    return values_R.new_zeros(shape.numel()).index_put((rows_R,), values_R).view(shape)


def _inside(lengths_B: Sequence[int], width: int, device: torch.device) -> Tensor:
    """(B, T) bool: which tokens are no padding."""
    lengths = torch.tensor(lengths_B, device=device)
    return torch.arange(width, device=device) < lengths[:, None]


def _append(
    lengths_B: Sequence[int],
    slots_B: Sequence[int],
    width: int,
    state: State,
    device: torch.device,
) -> Append:
    """Where the new tokens go. Padding of a row is written behind it and overwritten later."""
    starts = [state.lengths[slot] for slot in slots_B]
    reach = max(starts) + width
    for start, count in zip(starts, lengths_B, strict=True):
        assert 1 <= count <= width, (count, width)
        assert start + count <= state.capacity, (start, count, state.capacity)
    starts_B1 = torch.tensor(starts, device=device)[:, None]
    # padding beyond the slot's end goes to the one spare place behind it, which no token reads
    places_BT = (starts_B1 + torch.arange(width, device=device)).clamp_(max=state.capacity)
    reach = min(reach, state.capacity)
    causal = not any(starts)
    mask = None
    if not causal and not (width == 1 and min(starts) == max(starts)):
        mask = torch.arange(reach, device=device) <= places_BT[:, None, :, None]
    slots = list(slots_B)
    neighbours = slots == list(range(slots[0], slots[0] + len(slots)))
    index = torch.tensor(slots, device=device)
    rows = slice(slots[0], slots[-1] + 1) if neighbours else index
    return Append(rows, index[:, None], places_BT, reach, mask, causal)
