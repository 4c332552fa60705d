"""Whether a gradient stage fits into memory, asked before its first step.

Measures what this process holds and may still have; what the stage will hold is
`ontogeny.plan.memory`'s to say. Knows no objective's formula and no data.
"""

from __future__ import annotations

import torch

from ontogeny.base.room import process_room
from ontogeny.model.transformer import Transformer
from ontogeny.plan.memory import Memory, predict
from ontogeny.plan.optimization import Optimization
from ontogeny.plan.room import refuse
from ontogeny.run.work import Work
from ontogeny.train.steps import Steps


def require_room(work: Work, model: Transformer, steps: Steps, config: Optimization) -> Memory:
    """The predicted peak of a stage that is about to take its first step.

    Args:
        model: on its device, with or without its adapter.
        steps: they know how much a step asks for.

    Raises:
        NoSpace: it does not fit; the line says what to set, and what is the most that fits.
    """
    load = steps.load()
    on_device = model.device.type == "cuda"
    room = device_room(model.device) if on_device else process_room()
    if room is not None:
        refuse(work.name, model.shape, config, load, room, on_device=on_device)
    return predict(model.shape, config, load, on_device=on_device)


def device_room(device: torch.device) -> int:
    """Bytes that this process may hold in a CUDA device's memory in all."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)
