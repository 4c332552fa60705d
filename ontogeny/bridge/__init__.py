"""Layer 6: the only place where words become tensors and back.

Names load on first use (PEP 562, a declared seam): a run that finds everything done imports no
torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "adapter_parameters": "ontogeny.bridge.adapters",
    "merge_adapter": "ontogeny.bridge.adapters",
    "calibrate": "ontogeny.bridge.calibration",
    "common_context": "ontogeny.bridge.comparing",
    "context_of": "ontogeny.bridge.models",
    "chats": "ontogeny.bridge.models",
    "continue_training": "ontogeny.bridge.pretraining",
    "margins": "ontogeny.bridge.preference",
    "prefer": "ontogeny.bridge.preference",
    "reinforce": "ontogeny.bridge.reinforcement",
    "pretrain": "ontogeny.bridge.pretraining",
    "probe_torch": "ontogeny.bridge.probe",
    "LocalPolicy": "ontogeny.bridge.local_policy",
    "load_model": "ontogeny.bridge.models",
    "load_pair": "ontogeny.bridge.comparing",
    "load_policy": "ontogeny.bridge.models",
    "improve": "ontogeny.bridge.proximal",
    "learn_reward": "ontogeny.bridge.comparisons",
    "load_reward": "ontogeny.bridge.reward_model",
    "same_language": "ontogeny.bridge.reward_model",
    "shape_of": "ontogeny.bridge.models",
    "require_room_beside": "ontogeny.bridge.beside",
    "save_model": "ontogeny.bridge.models",
    "save_open_weights": "ontogeny.bridge.open_weights",
    "score_shard": "ontogeny.bridge.scoring",
}


def __getattr__(name: str) -> Any:
    """Loads the module in which `name` lives."""
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(importlib.import_module(_HOME[name]), name)
