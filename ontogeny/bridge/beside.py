"""Whether a second model fits into memory beside one that answers, asked before it is loaded."""

from __future__ import annotations

import torch

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import NoSpace
from ontogeny.base.room import spare_room
from ontogeny.bridge.device import device
from ontogeny.bridge.models import shape_of
from ontogeny.bridge.room import device_room
from ontogeny.plan.memory import FLOAT, gigabytes


def require_room_beside(artifact: Artifact, slots: int, length: int | None) -> None:
    """The model's weights and its caches at their longest, in float32, find room now.

    Smaller weights are made of the float32 ones, so these are what counts.

    Args:
        slots, length: as `load_policy` will be told.

    Raises:
        NoSpace: they do not.
        CorruptArtifact: its config.json is not there or damaged.
    """
    shape = shape_of(artifact)
    tokens = slots * min(length or shape.context, shape.context)
    caches = tokens * 2 * shape.layers * shape.kv_heads * shape.head_dim
    needed = FLOAT * (shape.parameters() + caches)
    here = device()
    spare = _device_spare(here) if here.type == "cuda" else spare_room()
    if spare is not None and spare < needed:
        raise NoSpace(
            f"a second model needs {gigabytes(needed)} beside the one that answers, "
            f"{gigabytes(spare)} are free; serve with fewer --slots or a shorter --length, "
            "or begin the server anew",
            file=artifact.path,
        )


def _device_spare(here: torch.device) -> int:
    """With what torch keeps of models that have ended: the driver does not count it as free."""
    return device_room(here) - torch.cuda.memory_allocated(here)
