"""Model + tokens + long documents -> model with a longer context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.plan.optimization import OverTokens
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class ExtendContext(OverTokens):
    """Scales the rotary positions to `factor` times the context and trains at the new length.

    `method` is linear (position interpolation), ntk, abf or yarn; see `ontogeny.model.rope`.

    Raises:
        InputError: when the numbers do not fit together or a domain is missing.
    """

    method: Literal["linear", "ntk", "abf", "yarn"] = "yarn"
    factor: float = 4.0
    mixture: Mapping[str, float] = field(
        default_factory=lambda: {"english": 0.5, "code": 0.2, "tasks": 0.1, "needles": 0.2}
    )

    stage: ClassVar[str] = "extend_context"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens+")
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, model: Artifact, *tokens: Artifact) -> Made:
        """Writes the model, its config.json telling other libraries how positions are scaled."""
        shape = bridge.shape_of(model).extended(self.method, self.factor)
        made: Made = bridge.continue_training(self, self.mixture, work, model, tokens, shape=shape)
        return made
