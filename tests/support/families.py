"""Small shapes of every family: what differs between two families differs here, too."""

from __future__ import annotations

from dataclasses import replace

import torch

from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Rope, Shape

LLAMA = Shape(67, 32, 4, 4, 2, 8, 48, 40, family="llama", rope_theta=5e4, norm_eps=1e-5)
LOCAL = "lllg"
GEMMA = replace(
    LLAMA, family="gemma2", pattern="lglg", window=7, tied=True, head_dim=12, query_scale=20.0
)

FAMILIES = {
    "llama2": replace(LLAMA, tied=False, kv_heads=4),
    "llama3": replace(LLAMA, tied=False, context=96, rope=Rope("llama3", 8, 12)),
    "smollm2": replace(LLAMA, tied=True),
    "mistral": replace(LLAMA, family="mistral", tied=False),
    "mistral, windows": replace(
        LLAMA, family="mistral", tied=False, pattern="llll", window=9, head_dim=12
    ),
    "qwen2": replace(LLAMA, family="qwen2", tied=True),
    "qwen2.5, yarn": replace(
        LLAMA, family="qwen2", tied=False, context=96, rope=Rope("yarn", 4, 24)
    ),
    "qwen2, windows": replace(LLAMA, family="qwen2", tied=False, pattern="ggll", window=5),
    "qwen3": replace(LLAMA, family="qwen3", tied=True, head_dim=12),
    "smollm3": replace(LLAMA, family="smollm3", tied=True, pattern="gggn"),
    "olmo2": replace(LLAMA, family="olmo2", tied=False),
    "olmo3": replace(LLAMA, family="olmo3", tied=False, pattern=LOCAL, window=6),
    "olmo3, yarn": replace(
        LLAMA,
        family="olmo3",
        tied=False,
        pattern=LOCAL,
        window=6,
        context=96,
        rope=Rope("yarn", 4, 24),
    ),
    "gemma2": replace(GEMMA, attention_cap=1.5, logit_cap=2.0),
    "gemma3": replace(
        GEMMA,
        family="gemma3_text",
        pattern=LOCAL,
        context=96,
        rope=Rope("linear", 8, 12),
        rope_theta=1e6,
        local_theta=1e4,
    ),
}


def made(shape: Shape, seed: int = 3) -> Transformer:
    """A model whose norms and biases are all different, so that a swapped pair shows."""
    model = Transformer(shape)
    initialise(model, seed)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += torch.empty(parameter.shape).uniform_(-0.5, 0.5, generator=generator)
            else:  # large enough that caps, windows and positions matter
                parameter *= 3 if parameter is not model.embedding else 20
    return model.eval()
