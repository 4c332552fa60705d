"""Initial weights. Knows no schedule and no data.

Every matrix has its own named seed, so adding a layer changes no other layer's start.
"""

from __future__ import annotations

import torch

from ontogeny.base.seeds import named_seed
from ontogeny.model.transformer import Transformer

EMBEDDING_STD = 0.02


def initialise(model: Transformer, seed: int) -> None:
    """Fills `model` in place: normal matrices of std 1/sqrt(fan in), norms 1, biases 0.

    The matrices that write into the residual stream are divided by sqrt(2 layers), so that the
    stream's variance does not grow with depth (GPT-2; Radford et al. 2019, section 2.3).
    """
    depth = (2 * model.shape.layers) ** 0.5
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(named_seed(seed, "initial", name))
        with torch.no_grad():
            if parameter.ndim == 1:
                bias = name.endswith("_bias")
                parameter.fill_(0.0 if bias or model.shape.form.centred else 1.0)
                continue
            std = EMBEDDING_STD
            if name.startswith("layers."):
                std = parameter.shape[1] ** -0.5
                if name.endswith((".out", ".down")):
                    std /= depth
            value = torch.empty(parameter.shape).normal_(0.0, std, generator=generator)
            parameter.copy_(value)
