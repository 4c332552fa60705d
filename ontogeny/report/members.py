"""The artifacts of one life, opened, and which of them are the main line.

Knows no stage by its class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.report.life import Life

EVIDENCE = re.compile(r"(^|[/-])(controls?|placebos?|arms?|seed-\d+)([/-]|$)")
"""Names of what only evidence needs; whatever else has the run's own seed is the main line."""


@dataclass(frozen=True)
class Member:
    """An artifact under the name its recipe gave it; `main` says whether the life needs it."""

    name: str
    artifact: Artifact
    main: bool

    @property
    def stage(self) -> str:
        """The kind of stage that made it."""
        return self.artifact.record.stage

    def cost(self, what: str) -> float:
        """Its `seconds`, `tokens` or `flops`."""
        return float(self.artifact.record.cost.get(what, 0.0))


def members_of(store: Store, life: Life) -> list[Member]:
    """Every artifact of `life` once, in the order of the run.

    Raises:
        InputError: one of them is no longer in the store.
        CorruptArtifact: one of them is damaged.
    """
    found: dict[str, Member] = {}
    for named in life.artifacts:
        if not store.has(named.id):
            raise InputError(
                f"'{named.name}' is no longer in the store; run {life.recipe} again to make it",
                file=store.path(named.id),
            )
        artifact = store.get(named.id)
        main = artifact.record.seed == life.seed and not EVIDENCE.search(named.name)
        found.setdefault(named.id, Member(named.name, artifact, main))
    return list(found.values())


def made_on(members: Sequence[Member]) -> dict[str, Any]:
    """When the main line was done and on what machine; the host's name stays out of it."""
    main = [member.artifact.record.execution for member in members if member.main]
    last = max(main, key=lambda execution: str(execution.get("finished", "")), default={})
    keys = ("finished", "platform", "processors", "threads", "python", "versions")
    peak = max((int(each.get("peak_memory_bytes", 0)) for each in main), default=0)
    return {key: last.get(key) for key in keys} | {"peak_memory_bytes": peak}
