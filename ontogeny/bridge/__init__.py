"""Layer 6: the only place where words become tensors and back.

Names load on first use (PEP 562, a declared seam): a run that finds everything done imports no
torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "calibrate": "ontogeny.bridge.calibration",
    "context_of": "ontogeny.bridge.models",
    "pretrain": "ontogeny.bridge.pretraining",
    "LocalPolicy": "ontogeny.bridge.local_policy",
    "load_model": "ontogeny.bridge.models",
    "load_policy": "ontogeny.bridge.models",
    "save_model": "ontogeny.bridge.models",
    "score_shard": "ontogeny.bridge.scoring",
}


def __getattr__(name: str) -> Any:
    """Loads the module in which `name` lives."""
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(importlib.import_module(_HOME[name]), name)
