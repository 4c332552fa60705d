"""The shape of a decoder and what follows from it by arithmetic: parameters and FLOPs.

Knows no weights and no tensors, so plans and `--help` can use it without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from ontogeny.base.errors import InputError


@dataclass(frozen=True)
class Shape:
    """A dense decoder in the form of Qwen3 (RMSNorm, RoPE, grouped queries, QK-norm, SwiGLU).

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
        norms = self.layers * (2 * self.hidden + 2 * self.head_dim) + self.hidden
        embeddings = self.head_parameters * (1 if self.tied else 2)
        return embeddings + self.layers * self.block_matmul_parameters + norms

    def matmul_parameters(self) -> int:
        """Weights that each token is multiplied with: blocks and head, no look-ups."""
        return self.layers * self.block_matmul_parameters + self.head_parameters

    def forward_flops_per_token(self, context: int | None = None) -> float:
        """FLOPs of one token's forward pass, causal attention counted by its lower half.

        2 N for the matrices plus 2 L (h hd) T for QK^T and PV over T/2 keys on average
        (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
        """
        attended = (self.context if context is None else context) / 2
        attention = 4 * self.layers * self.heads * self.head_dim * attended
        return 2 * self.matmul_parameters() + attention

    def train_flops_per_token(self, context: int | None = None) -> float:
        """FLOPs of one token in training: forward plus twice that for backward."""
        return 3 * self.forward_flops_per_token(context)
