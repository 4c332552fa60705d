"""The decoder: embedding, layers, final norm, head. Knows no objective's formula and no text.

A layer is data: a mixer, a feed-forward, and norms before them, after them or both. RMSNorm: Zhang
and Sennrich 2019, arXiv:1910.07467; what a family's layers look like: `ontogeny.plan.family`.

Shape suffixes: B rows, T tokens, N tokens of the stream, M = B * T, R tokens with a loss,
C channels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ontogeny.model import head, thin
from ontogeny.model.attention import Append, Attention, AttentionState
from ontogeny.model.feed_forward import FeedForward
from ontogeny.model.graph import Steps
from ontogeny.model.layout import Layout, layout
from ontogeny.model.paged import Pages
from ontogeny.model.rope import Tables
from ontogeny.model.state import State
from ontogeny.model.varlen import PAGE
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs, Outputs
from ontogeny.plan.shape import Shape


class RMSNorm(nn.Module):
    """x / rms(x) * (offset + weight) over the last dimension; the weight starts at 1 - offset."""

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 1 - offset))
        self.eps, self.offset = eps, offset

    def forward(self, x_NC: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        weight_C = self.weight + self.offset if self.offset else self.weight
        return F.rms_norm(x_NC, weight_C.shape, weight_C, self.eps)


class Layer(nn.Module):
    """x + post_norm(mixer(norm(x))), then the same with the feed-forward.

    Norms that the family does not have are None and do nothing.
    """

    def __init__(self, shape: Shape, kind: str) -> None:
        super().__init__()
        self.mixer = Attention(shape, kind)
        self.feed_forward = FeedForward(shape.hidden, shape.ff, shape.form.activation)
        self.own_positions = kind == "l" and shape.form.own_local_rope
        before, after = shape.form.norms != "post", shape.form.norms != "pre"
        self.mixer_norm, self.feed_forward_norm = (_norm(shape, before) for _ in range(2))
        self.mixer_post_norm, self.feed_forward_post_norm = (_norm(shape, after) for _ in range(2))

    def forward(self, x_NC: Tensor, angles: Angles, layout: Layout) -> Tensor:
        """(N, C) -> (N, C)."""
        mixed_NC = self.mixer(_normed(self.mixer_norm, x_NC), *self._own(angles), layout)
        x_NC = x_NC + _normed(self.mixer_post_norm, mixed_NC)
        fed_NC = self.feed_forward(_normed(self.feed_forward_norm, x_NC))
        return x_NC + _normed(self.feed_forward_post_norm, fed_NC)

    def extend(self, x_NC: Tensor, angles: Angles, append: Append, state: AttentionState) -> Tensor:
        """The same for new tokens behind a cache; overwrites `x_NC`."""
        normed_NC = _thin_normed(self.mixer_norm, x_NC)
        mixed_NC = self.mixer.extend(normed_NC, *self._own(angles), append, state)
        x_NC += _thin_normed(self.mixer_post_norm, mixed_NC)
        fed_NC = self.feed_forward.extend(_thin_normed(self.feed_forward_norm, x_NC))
        x_NC += _thin_normed(self.feed_forward_post_norm, fed_NC)
        return x_NC

    def _own(self, angles: Angles) -> tuple[Tensor, Tensor]:
        return angles[-1] if self.own_positions else angles[0]


Angles = list[tuple[Tensor, Tensor]]
"""cos and sin for the tokens of a stream; last, where a family has them, those of the windows."""


class Transformer(nn.Module):
    """A decoder of `shape`; weights are empty until `initialise` or `load_weights`.

    Attributes:
        recompute: layers keep nothing but their input for the backward pass, and run twice.
        page: tokens of the pages in which new states hold sequences; 0: whole slots. On CUDA 256.
        score: a head of one number a token (rewards, values), or None.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.vocab_size, shape.hidden))
        self.stack = [Layer(shape, kind) for kind in shape.kinds]
        self.layers = nn.ModuleList(self.stack)
        self.norm = RMSNorm(shape.hidden, shape.norm_eps, float(shape.form.centred))
        self.scale = shape.hidden**0.5 if shape.form.centred else 1.0
        self.recompute = False
        self.page: int | None = None
        self.untied_head: nn.Parameter | None = None
        if not shape.tied:
            self.untied_head = nn.Parameter(torch.empty(shape.vocab_size, shape.hidden))
        self.score: nn.Parameter | None = None
        self.tables = Tables(shape)

    def add_score(self) -> None:
        """Gives the model a scalar head (1, C) that finds everything worth 0."""
        self.score = nn.Parameter(self.embedding.new_zeros(1, self.shape.hidden))

    @property
    def head(self) -> Tensor:
        """(V, C); the embedding itself where the shape is tied."""
        return self.embedding if self.untied_head is None else self.untied_head

    @property
    def cap(self) -> float | None:
        """Bound of the logits (see `ontogeny.model.head.capped`), or None."""
        return self.shape.logit_cap

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
        total, log_probs_R, entropy_R = self._likelihood(x_RC, targets_R, weights_R, needs)
        values_R = None
        if needs.values:
            assert self.score is not None, "a model without a scalar head has no values"
            values_R = F.linear(x_RC, self.score)[:, 0]
        shape = batch.tokens_BT.shape
        return Outputs(
            total if needs.weighted_log_prob else None,
            _spread(log_probs_R, rows_R, shape),
            _spread(entropy_R, rows_R, shape) if needs.entropy else None,
            _spread(values_R, rows_R, shape),
        )

    @torch.no_grad()
    def states(self, batch: Batch) -> Tensor:
        """x_MC after the final norm, a row for each token (B, T); `project` makes them logits."""
        batch = batch.to(self.device)
        x_NC, plan = self._stream(batch)
        x_MC: Tensor = self.norm(x_NC if plan.stream_M is None else x_NC[plan.stream_M])
        return x_MC

    @torch.no_grad()
    def read(self, tokens_N: Tensor, plan: Layout, rows_R: Tensor) -> Tensor:
        """x_RC after the final norm at places `rows_R` of a stream laid out by `plan`."""
        angles = self.tables.at(plan.positions_N)
        x_RC: Tensor = self.norm(self._through(tokens_N, angles, plan)[rows_R])
        return x_RC

    def logits(self, batch: Batch) -> Tensor:
        """logits_BTV of every token, for parity tests and small inputs (T x V floats a row)."""
        with torch.no_grad():
            return self.project(self.states(batch)).view(*batch.tokens_BT.shape, -1)

    @torch.no_grad()
    def project(self, x_RC: Tensor) -> Tensor:
        """logits_RV of `states`."""
        return head.capped(F.linear(x_RC, self.head), self.cap)

    def new_state(self, slots: int, length: int) -> State:
        """Empty caches for `slots` sequences of at most `length` tokens (<= shape.context)."""
        assert length <= self.shape.context, (length, self.shape.context)
        page = (PAGE if self.device.type == "cuda" else 0) if self.page is None else self.page
        if page == 0:
            # one spare place a slot takes the padding of a row that ends exactly at `length`
            layers = [layer.mixer.new_state(slots, length + 1) for layer in self.stack]
            return State([0] * slots, length, layers)
        layers = [layer.mixer.new_state(0, page) for layer in self.stack]
        pages = Pages(layers, slots, length, page, self.shape)
        steps = Steps(partial(self._step, pages), self, pages.caches)
        return State([0] * slots, length, layers, pages, steps)

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
        if state.pages is not None and tokens_BT.shape[1] == 1:
            return state.decode(tokens_BT[:, 0], slots_B)
        x_MC = self._extend(tokens_BT, lengths_B, slots_B, state)
        if tokens_BT.shape[1] > 1:
            width = tokens_BT.shape[1]
            last = [row * width + count - 1 for row, count in enumerate(lengths_B)]
            x_MC = x_MC[torch.tensor(last, device=x_MC.device)]
        return self._logits(x_MC)

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
        log_probs_M, _ = head.log_probs(x_MC, self.head, targets_BT.flatten(), self.cap)
        inside = _inside(lengths_B, tokens_BT.shape[1], x_MC.device)
        return log_probs_M.view_as(tokens_BT) * inside

    def _likelihood(
        self, x_RC: Tensor, targets_R: Tensor, weights_R: Tensor, needs: Needs
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Weighted sum, log_probs_R and entropy_R; nothing where only values are needed."""
        if needs.two_pass:
            log_probs_R, entropy_R = head.log_probs(x_RC, self.head, targets_R, self.cap)
            total = torch.dot(log_probs_R, weights_R) if needs.weighted_log_prob else None
            return total, log_probs_R, entropy_R
        if needs.values and not needs.weighted_log_prob:
            return None, None, None
        total, log_probs_R = head.weighted_log_prob(x_RC, self.head, targets_R, weights_R, self.cap)
        return total, log_probs_R, None

    def _stream(self, batch: Batch) -> tuple[Tensor, Layout]:
        """The stream after the last layer, before the final norm."""
        rows, length = batch.tokens_BT.shape
        window = self.shape.window
        plan = layout(rows, length, batch.documents, self.device, batch.forks, window)
        tokens_M = batch.tokens_BT.flatten()
        tokens_N = tokens_M if plan.source_N is None else tokens_M[plan.source_N]
        longest = max(length for _, length in plan.blocks)
        if plan.sights is not None and plan.positions_N is not None:
            longest = int(plan.positions_N.max()) + 1
        assert longest <= self.shape.context, plan.blocks
        return self._through(tokens_N, self.tables.at(plan.positions_N, rows, length), plan), plan

    def _through(self, tokens_N: Tensor, angles: Angles, plan: Layout) -> Tensor:
        x_NC = self._embed(tokens_N)
        for layer in self.stack:
            if self.recompute and torch.is_grad_enabled():
                x_NC = checkpoint(
                    layer, x_NC, angles, plan, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x_NC = layer(x_NC, angles, plan)
        return x_NC

    def _logits(self, x_RC: Tensor) -> Tensor:
        x_RC = _thin_normed(self.norm, x_RC)
        return head.capped(thin.linear(x_RC, self.head).contiguous(), self.cap)

    def _embed(self, tokens_N: Tensor) -> Tensor:
        x_NC = F.embedding(tokens_N, self.embedding)
        return x_NC if self.scale == 1.0 else x_NC * self.scale

    def _extend(
        self, tokens_BT: Tensor, lengths_B: Sequence[int], slots_B: Sequence[int], state: State
    ) -> Tensor:
        width, window = tokens_BT.shape[1], self.shape.window
        if state.pages is None:
            append = state.append(lengths_B, slots_B, width, window, self.device)
        else:
            append = state.pages.append(state.rows(slots_B, lengths_B), width)
        x_MC = self._appended(tokens_BT.flatten(), append, state.layers)
        state.gain(slots_B, lengths_B)
        return x_MC

    def _appended(
        self, tokens_M: Tensor, append: Append, layers: Sequence[AttentionState]
    ) -> Tensor:
        """The stream after the last layer; asks the device nothing."""
        pages = append.pages
        tokens_N = tokens_M if pages is None else pages.picked(tokens_M)
        positions_N = append.places_BT.flatten() if pages is None else pages.positions_N
        positions_N = positions_N.clamp(max=self.shape.context - 1)  # padding may stand outside
        angles = [thin.wide(*pair) for pair in self.tables.at(positions_N)]
        x_NC = self._embed(tokens_N)
        for layer, remembered in zip(self.stack, layers, strict=True):
            x_NC = layer.extend(x_NC, angles, append, remembered)
        return x_NC if pages is None else pages.spread(x_NC)

    def _step(self, pages: Pages, tokens_B: Tensor, plan_BQ: Tensor) -> Tensor:
        """logits_BV after a token a row: a `Step` of `ontogeny.model.graph`."""
        x_BC = self._appended(tokens_B, pages.one_each(plan_BQ), pages.layers)
        return self._logits(x_BC)


def _norm(shape: Shape, wanted: bool) -> RMSNorm | None:
    return RMSNorm(shape.hidden, shape.norm_eps, float(shape.form.centred)) if wanted else None


def _normed(norm: RMSNorm | None, x_NC: Tensor) -> Tensor:
    return x_NC if norm is None else norm(x_NC)


def _thin_normed(norm: RMSNorm | None, x_NC: Tensor) -> Tensor:
    """The same for generation."""
    if norm is None:
        return x_NC
    weight_C = norm.weight + norm.offset if norm.offset else norm.weight
    return thin.rms(x_NC, weight_C, norm.eps)


def _spread(values_R: Tensor | None, rows_R: Tensor | None, shape: torch.Size) -> Tensor | None:
    """`values_R` at their places of a (B, T) tensor of zeros; None of None."""
    if values_R is None:
        return None
    if rows_R is None:
        return values_R.view(shape)
    return values_R.new_zeros(shape.numel()).index_put((rows_R,), values_R).view(shape)


def _inside(lengths_B: Sequence[int], width: int, device: torch.device) -> Tensor:
    """(B, T) bool: which tokens are no padding."""
    lengths = torch.tensor(lengths_B, device=device)
    return torch.arange(width, device=device) < lengths[:, None]
