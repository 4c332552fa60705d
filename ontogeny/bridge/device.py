"""Where tensors live. A choice of execution: it changes no artifact's id."""

from __future__ import annotations

import torch

from ontogeny.base.errors import InputError


def device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is CUDA where there is one and the CPU elsewhere.

    Apple's MPS is taken only by name ("mps"): its kernels are not deterministic.

    Raises:
        InputError: when this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not known.get(name, False):
        here = ", ".join(kind for kind, available in known.items() if available)
        raise InputError(f"no device '{name}' here; this machine has {here}")
    return torch.device(name)
