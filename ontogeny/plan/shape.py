"""The shape of a decoder and what follows from it by arithmetic: parameters and FLOPs.

Knows no weights and no tensors, so plans and `--help` can use it without torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ontogeny.base.config import added
from ontogeny.base.errors import InputError
from ontogeny.plan.family import FAMILIES, Family

RopeMethod = Literal["plain", "linear", "ntk", "abf", "yarn", "llama3"]
KINDS = {
    "g": "looks at everything before it",
    "l": "looks `window` tokens back",
    "n": "looks at everything and knows no positions",
}
"""What a letter of `Shape.pattern` says of a layer."""


@dataclass(frozen=True)
class Rope:
    """How rotary positions are stretched so that a model reads further than it was trained.

    Args:
        method: "plain" (not at all), "linear" (positions / factor: Chen et al. 2023,
            arXiv:2306.15595), "ntk" (base raised by the factor: Peng et al. 2023,
            arXiv:2309.00071, section 3.1), "abf" (base set to `theta`: Xiong et al. 2023,
            arXiv:2309.16039), "yarn" (slow channels only, and sharper attention:
            Peng et al. 2023, sections 3.2 and 3.4), "llama3" (slow channels only, with a ramp
            between two numbers of turns: Dubey et al. 2024, arXiv:2407.21783, as Llama 3.1 does).
        factor: s, the new context over the old one.
        original_context: tokens the positions reached before; linear, yarn and llama3 need it.
        theta: the raised base of abf, None for the others.
        slow_turns, fast_turns: llama3: channels that turn less often than `slow_turns` over the
            original context are slowed by the whole factor, those above `fast_turns` not at all.

    Raises:
        InputError: when the numbers do not fit together.
    """

    method: RopeMethod = "plain"
    factor: float = 1.0
    original_context: int = 0
    theta: float | None = None
    slow_turns: float = added(1.0)
    fast_turns: float = added(4.0)

    def __post_init__(self) -> None:
        if self.method not in get_args(RopeMethod):
            known = ", ".join(get_args(RopeMethod))
            raise InputError(f"rope.method is '{self.method}'; give one of {known}")
        if not 1 <= self.factor < math.inf:
            raise InputError(f"rope.factor is {self.factor}; give at least 1")
        if self.method == "plain" and self.factor != 1:
            raise InputError(
                f"rope.factor is {self.factor} but plain positions are not scaled; "
                "give 1, or another rope.method"
            )
        # fewer than 2 pi tokens: no channel can turn once, so yarn's ramp has no upper end
        least = {"linear": 1, "yarn": 7, "llama3": 1}.get(self.method, 0)
        if self.original_context < least:
            raise InputError(
                f"rope.original_context is {self.original_context}; give the context before the "
                f"extension, at least {least} for {self.method}"
            )
        if (self.theta is not None) != (self.method == "abf"):
            what = (
                "give the raised base" if self.method == "abf" else "only abf reads it; remove it"
            )
            raise InputError(f"rope.theta is {self.theta}; {what}")
        if not 0 < self.slow_turns < self.fast_turns:
            raise InputError(
                f"rope.slow_turns is {self.slow_turns} and rope.fast_turns {self.fast_turns}; give "
                "more than 0, and more for the fast"
            )

    def base(self, theta: float, head_dim: int) -> float:
        """The base of the angles for a model whose own is `theta`; ntk and abf raise it."""
        if self.method == "ntk":
            return theta * math.pow(self.factor, head_dim / (head_dim - 2))
        return theta if self.theta is None else self.theta


@dataclass(frozen=True)
class Shape:
    """A dense decoder: RMSNorm, RoPE, grouped queries, a gated feed-forward, in a family's form.

    Args:
        vocab_size, hidden, layers, heads, kv_heads, head_dim, ff, context: sizes; `context` in
            tokens.
        tied: the output head is the embedding.
        family: the form of its layers, a name in `ontogeny.plan.family.FAMILIES`.
        pattern: a letter of `KINDS` for each layer; empty: "g" for all.
        window: tokens that "l" layers see, the present one included.
        local_theta: base of the rotary angles of "l" layers where the family gives them their own.
        attention_cap, logit_cap: scores and logits x become cap * tanh(x / cap) (Gemma 2).
        query_scale: scores are divided by its root; None: by that of `head_dim`.

    Raises:
        InputError: when the numbers do not fit together.
    """

    vocab_size: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ff: int
    context: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied: bool = True
    rope: Rope = Rope()
    family: str = added("qwen3")
    pattern: str = added("")
    window: int = added(0)
    local_theta: float | None = added(None)
    attention_cap: float | None = added(None)
    logit_cap: float | None = added(None)
    query_scale: float | None = added(None)

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden", "layers", "heads", "kv_heads", "head_dim", "ff", "context")
        for name in sizes:
            if getattr(self, name) < 1:
                raise InputError(f"shape.{name} is {getattr(self, name)}; give at least 1")
        if self.vocab_size < 2:
            raise InputError("shape.vocab_size is 1; a model needs at least 2 tokens")
        if self.heads % self.kv_heads:
            raise InputError(
                f"shape.heads ({self.heads}) is no multiple of shape.kv_heads ({self.kv_heads}); "
                "change one of them"
            )
        if self.head_dim % 2:
            raise InputError(f"shape.head_dim is {self.head_dim}; RoPE needs an even number")
        self._check_rope()
        self._check_form()

    def _check_form(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(f"shape.family is '{self.family}'; give one of {', '.join(FAMILIES)}")
        wrong = sorted(set(self.pattern) - set(self.form.letters))
        if wrong or len(self.pattern) not in (0, self.layers):
            raise InputError(
                f"shape.pattern is '{self.pattern}'; give {self.layers} letters of "
                f"'{self.form.letters}' for {self.family}, or none"
            )
        if ("l" in self.pattern) != (self.window > 0):
            raise InputError(
                f"shape.window is {self.window} and shape.pattern '{self.pattern}'; layers called "
                "l need a window of at least 1, others none"
            )
        if self.local_theta is not None and not (
            self.form.own_local_rope and 1 < self.local_theta < math.inf
        ):
            raise InputError(
                f"shape.local_theta is {self.local_theta}; give more than 1, and to a family whose "
                "windowed layers have positions of their own"
            )
        if self.family == "mistral" and len(set(self.pattern)) > 1:
            raise InputError("shape.pattern of mistral is all l or all g; its files hold no other")
        for name in ("attention_cap", "logit_cap", "query_scale"):
            value = getattr(self, name)
            if value is not None and not self.form.centred:
                raise InputError(
                    f"shape.{name} is {value}, which no file of {self.family} can hold; give None, "
                    "or a family of Gemma's"
                )
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"shape.{name} is {value}; give more than 0, or None")

    def _check_rope(self) -> None:
        rope = self.rope
        if not 1 < self.rope_theta < math.inf:
            raise InputError(f"shape.rope_theta is {self.rope_theta}; give more than 1")
        if rope.method == "ntk" and self.head_dim < 4:
            raise InputError(f"shape.head_dim is {self.head_dim}; ntk needs at least 4")
        if rope.theta is not None and not self.rope_theta <= rope.theta < math.inf:
            raise InputError(
                f"rope.theta is {rope.theta}; abf raises the base, give at least "
                f"shape.rope_theta ({self.rope_theta})"
            )
        reach = rope.original_context * rope.factor
        if rope.method in ("linear", "yarn") and self.context > reach:
            raise InputError(
                f"shape.context is {self.context} but {rope.method} reaches {reach:g} tokens "
                f"({rope.original_context} x {rope.factor:g}); raise rope.factor"
            )

    @property
    def form(self) -> Family:
        """What the layers of its family look like."""
        return FAMILIES[self.family]

    @property
    def kinds(self) -> str:
        """A letter of `KINDS` for each layer."""
        return self.pattern or "g" * self.layers

    @property
    def rope_base(self) -> float:
        """The base of the rotary angles after `rope` (only ntk and abf change `rope_theta`)."""
        return self.rope.base(self.rope_theta, self.head_dim)

    def extended(self, method: RopeMethod, factor: float, theta: float = 500_000.0) -> Shape:
        """The same weights' shape with `context * factor` positions.

        Extending again by the same method multiplies the factors and keeps the first original
        context. "plain" gives longer tables of unscaled positions.

        Args:
            theta: the raised base, read by "abf" only; Xiong et al. use 500,000.

        Raises:
            InputError: the new context is no whole number, or another method came before.
        """
        old, context = self.rope, self.context * factor
        local = self.local_theta
        if self.form.own_local_rope and "l" in self.pattern:
            local = local or self.rope_base  # windows are not extended, whatever the base becomes
        if not (factor >= 1 and float(context).is_integer()):
            raise InputError(
                f"{self.context} tokens x {factor} is no longer context in whole tokens; "
                "give a factor of at least 1 that makes one"
            )
        if old.method not in ("plain", method):
            raise InputError(
                f"positions are already scaled by {old.method}; extend by {old.method} again, or "
                f"extend the shape before it by {method}"
            )
        rope = Rope()
        if method != "plain":
            start = old.original_context or self.context
            raised = theta if method == "abf" else None
            rope = Rope(method, float(old.factor * factor), start, raised)
        extended = replace(self, context=int(context), rope=rope)
        return extended if local == extended.rope_base else replace(extended, local_theta=local)

    @property
    def block_matmul_parameters(self) -> int:
        """Weights of one block that take part in a matrix product."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.ff

    @property
    def head_parameters(self) -> int:
        """Weights of the output head (shared with the embedding where `tied`)."""
        return self.vocab_size * self.hidden

    def parameters(self) -> int:
        """All weights, a tied head counted once."""
        embeddings = self.head_parameters * (1 if self.tied else 2)
        vectors = self.layers * self.block_vector_parameters + self.hidden
        return embeddings + self.layers * self.block_matmul_parameters + vectors

    @property
    def block_vector_parameters(self) -> int:
        """Weights of one block that are no matrices: norms and biases."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        norms = self.hidden * (4 if self.form.norms == "sandwich" else 2)
        qk = {"none": 0, "head": 2 * self.head_dim, "row": q + kv}[self.form.qk_norm]
        return norms + qk + (q + 2 * kv if self.form.qkv_bias else 0)

    def matmul_parameters(self) -> int:
        """Weights that each token is multiplied with: blocks and head, no look-ups."""
        return self.layers * self.block_matmul_parameters + self.head_parameters

    def forward_flops_per_token(self, context: int | None = None) -> float:
        """FLOPs of one token's forward pass, causal attention counted by its lower half.

        2 N for the matrices plus 2 L (h hd) T for QK^T and PV over T/2 keys on average
        (Kaplan et al. 2020, arXiv:2001.08361, section 2.1); windowed layers see fewer.
        """
        length = self.context if context is None else context
        reach = dict.fromkeys(KINDS, length / 2)
        if 0 < self.window < length:  # the first `window` tokens see fewer, the others all of it
            reach["l"] = self.window * (1 - self.window / (2 * length))
        attended = sum(reach[kind] for kind in self.kinds)
        attention = 4 * self.heads * self.head_dim * attended
        return 2 * self.matmul_parameters() + attention

    def train_flops_per_token(self, context: int | None = None) -> float:
        """FLOPs of one token in training: forward plus twice that for backward."""
        return 3 * self.forward_flops_per_token(context)
