"""What a stage gets: a place to write, a seed, a way to tell how far it is.

Knows no stage and no tensor.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ontogeny.base.artifact import Artifact
from ontogeny.base.events import Events
from ontogeny.base.files import read_json, write_json
from ontogeny.base.seeds import named_seed
from ontogeny.base.stop import StopRequest


@dataclass(frozen=True)
class Made:
    """What a stage says of its finished payload.

    `metrics` are numbers, or intervals as {estimate, low, high}; `summary` is lines for a person;
    `tokens` were processed and `flops` spent. All of these are equal in an interrupted and an
    undisturbed run; `notes` (speeds) need not be. `speeds` are numbers that come from a clock: the
    record keeps them among its execution, where a document may cite them.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tokens: float = 0.0
    flops: float = 0.0
    speeds: dict[str, float] = field(default_factory=dict)


class Stage(Protocol):
    """A frozen config plus one function.

    `stage` is its kind, `version` rises by hand when results would change, `takes` and `makes`
    are kinds of artifacts. In `takes`, `KIND+` stands for one or more, `KIND*` for any number,
    `KIND?` for at most one, `KIND|OTHER` for either.
    """

    stage: ClassVar[str]
    version: ClassVar[int]
    takes: ClassVar[tuple[str, ...]]
    makes: ClassVar[str]

    def __call__(self, work: Work, *parents: Artifact) -> Made:
        """Writes the payload below `work.payload`."""


@dataclass
class Work:
    """One stage in progress.

    `payload` becomes the artifact; `checkpoints` survives a kill and is thrown away at the end.
    """

    name: str
    directory: Path
    seed: int
    events: Events
    stop: StopRequest
    _began: float = field(default_factory=time.monotonic)

    @property
    def payload(self) -> Path:
        """The directory that will be published."""
        return self.directory / "payload"

    @property
    def checkpoints(self) -> Path:
        """The directory whose content lets a killed stage go on."""
        return self.directory / "checkpoints"

    def named_seed(self, *names: str | int) -> int:
        """The seed of one named use of randomness in this stage."""
        return named_seed(self.seed, *names)

    def progress(self, done: float, total: float, unit: str, **numbers: float) -> None:
        """Tells how far the stage is."""
        self.events.progress(self.name, done, total, unit, **numbers)

    def log(self, kind: str, **fields: Any) -> None:
        """Tells a fact about this stage."""
        self.events.log(kind, stage=self.name, **fields)

    @contextlib.contextmanager
    def checkpointing(self) -> Iterator[StopRequest]:
        """Inside, a signal waits until the stage has written a checkpoint."""
        with self.stop.deferred():
            yield self.stop

    def seconds(self) -> float:
        """Seconds of work so far, earlier interrupted sessions included (monotonic clock)."""
        clock = self.directory / "clock.json"
        before = float(read_json(clock)["seconds"]) if clock.exists() else 0.0
        return before + time.monotonic() - self._began

    def keep_clock(self) -> None:
        """Remembers the seconds spent, for the next session."""
        total = self.seconds()
        self._began = time.monotonic()
        write_json(self.directory / "clock.json", {"seconds": total})
