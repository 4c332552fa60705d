"""What llama.cpp calls each family, and what it takes for granted of it. Knows no files.

A GGUF file does not say where Gemma 2's windows are, how its queries are scaled, which layers of
SmolLM3 have no positions, or from which numbers Llama 3's factors came: llama.cpp's code does. It
stands here as data, for the reader to supply and the writer to check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.plan.shape import Rope, Shape


@dataclass(frozen=True)
class Arch:
    """One architecture of llama.cpp.

    Args:
        name: `general.architecture`.
        families: those of `ontogeny.plan.family` that it computes. A file is read as the first;
            as the last where it says a window.
        interleaved: rotary pairs are neighbouring channels, so rows of Q and K are reordered.
        period: every so-many-th layer looks at everything where a file says a window alone; 0:
            windows are not computed.
        large: so many layers have queries scaled by hidden / heads (Gemma's 27B); 0: none.
        channel_factors: Llama 3's positions (`rope_freqs`) are computed.
        heads_fill: heads * head_dim is hidden.
        head_needed: a file has its own output head even where it is tied.
    """

    name: str
    families: tuple[str, ...]
    interleaved: bool = False
    period: int = 0
    large: int = 0
    channel_factors: bool = False
    heads_fill: bool = False
    head_needed: bool = False

    def query_divisor(self, layers: int, hidden: int, heads: int, head_dim: int) -> int:
        """Scores are divided by the root of this."""
        return hidden // heads if layers == self.large else head_dim


ARCHS = {
    each.name: each
    for each in (
        Arch("llama", ("llama", "mistral"), interleaved=True, channel_factors=True),
        Arch("qwen2", ("qwen2",)),
        Arch("qwen3", ("qwen3",)),
        Arch("smollm3", ("smollm3",), interleaved=True),
        Arch("olmo2", ("olmo2", "olmo3"), period=4, heads_fill=True, head_needed=True),
        Arch("gemma2", ("gemma2",), period=2, large=46),
        Arch("gemma3", ("gemma3_text",), period=6, large=62),
    )
}
WINDOW, ATTENTION_CAP, LOGIT_CAP = 4096, 50.0, 30.0
"""Gemma 2 where a file says none."""
LOCAL_BASE = 10_000.0
"""Rotary base of Gemma 3's windowed layers where a file says none."""
LLAMA3_CONTEXT, LLAMA3_SLOW, LLAMA3_FAST = 8192, 1.0, 4.0
"""Original context and turns of every Llama 3; its files hold only the factors made from them."""


def arch_of(shape: Shape) -> Arch:
    """The architecture that computes the family of `shape`."""
    return next(arch for arch in ARCHS.values() if shape.family in arch.families)


def windows(period: int, layers: int) -> str:
    """The letters that follow from a period: the last layer of each looks at everything."""
    return "".join("l" if not period or i % period < period - 1 else "g" for i in range(layers))


def without_positions(layers: int) -> str:
    """The letters of SmolLM3: every fourth layer knows no positions."""
    return "".join("n" if (i + 1) % 4 == 0 else "g" for i in range(layers))


def channel_factors(rope: Rope, base: float, head_dim: int) -> list[float]:
    """By what Llama 3 slows each rotary channel, (head_dim / 2,): 1 to `rope.factor`.

    Dubey et al. 2024 (arXiv:2407.21783) as their code has it: channels of less than `slow_turns`
    over the original context by the whole factor, of more than `fast_turns` not at all, the speed
    linear in the turns between.
    """
    found = []
    for channel in range(0, head_dim, 2):
        turns = rope.original_context / (2 * math.pi * base ** (channel / head_dim))
        share = (turns - rope.slow_turns) / (rope.fast_turns - rope.slow_turns)
        share = min(1.0, max(0.0, share))
        found.append(1 / ((1 - share) / rope.factor + share))
    return found


def rope_of_factors(factors: Sequence[float], base: float, head_dim: int, original: int) -> Rope:
    """The `Rope` whose channel factors these are; `original` is a file's own word, 0 without.

    Raises:
        InputError: none of Llama 3's kind has them.
    """
    if len(factors) != head_dim // 2 or not all(0.99 < each < 1e4 for each in factors):
        raise InputError("rope_freqs holds no factors of Llama 3's kind")
    factor = round(max(factors), 4)
    if factor == 1:
        return Rope()
    for context in (original, LLAMA3_CONTEXT):
        if context:
            rope = Rope("llama3", factor, context, None, LLAMA3_SLOW, LLAMA3_FAST)
            made = channel_factors(rope, base, head_dim)
            if all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(made, factors, strict=True)):
                return rope
    raise InputError("rope_freqs holds other factors than Llama 3's")
