"""Adapters as they are after some training."""

from __future__ import annotations

import torch

from ontogeny.model.adapted import named_adapter
from ontogeny.model.transformer import Transformer


def stir(made: Transformer) -> Transformer:
    """Gives the adapter a B, and a magnitude, as after some training."""
    draw = torch.Generator().manual_seed(5)
    for name, value in named_adapter(made).items():
        if "lora_B" in name:
            value.normal_(0, 0.05, generator=draw)
        elif "magnitude" in name:
            value.mul_(torch.empty(value.shape).uniform_(0.8, 1.2, generator=draw))
    return made
