"""Models of a store, loaded for serving: the first one, and others beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.store import Store
from ontogeny.serve.aside import Streams
from ontogeny.serve.wanted import Served

PREFILL_TOKENS = 512
"""Prompt tokens read by one step: answers under way wait for no more than these."""


@dataclass(frozen=True)
class Loading:
    """How models are loaded.

    Args:
        name: what clients call each of them.
        slots, length, weights: see `bridge.load_policy`.
    """

    store: Store
    name: str
    slots: int
    length: int | None
    weights: Literal["fp32", "int8", "bf16"]

    def load(self, artifact: Artifact) -> tuple[Served, Streams]:
        """What is told of it, and the policy that runs it.

        Raises:
            InputError: the artifact is no model, or smaller weights do not work here.
            CorruptArtifact: a file is not what was written.
        """
        policy, tokenizer = bridge.load_policy(
            artifact,
            self.slots,
            self.length,
            admission="ready",
            weights=self.weights,
            prefill_tokens=PREFILL_TOKENS,
        )
        served = Served(
            name=self.name,
            id=artifact.id,
            created=int(time.time()),
            context=bridge.context_of(policy),
            tokenizer=tokenizer,
            chats=bridge.chats(artifact),
        )
        return served, policy

    def another(self, model: str) -> tuple[Served, Streams]:
        """The model of this id, beside one that answers.

        Raises:
            NoSpace: there is no memory for both.
            OntogenyError: see `load`; there is no such artifact.
        """
        artifact = self.store.get(model)
        bridge.require_room_beside(artifact, self.slots, self.length)
        return self.load(artifact)
