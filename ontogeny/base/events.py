"""What happens, told to whoever listens: a JSONL file, the console, optional sinks.

Knows no stage. Progress is for people (throttled); log entries are facts and always written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ontogeny.base.files import disk_errors

PROGRESS_SECONDS = 0.2


class Sink(Protocol):
    """Receives every event: `kind` and fields, all plain values."""

    def write(self, event: dict[str, Any]) -> None:
        """Takes one event."""

    def close(self) -> None:
        """No more events will come."""


class Events:
    """Sends events to its sinks in order."""

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        self.sinks = list(sinks)
        self._last_progress: dict[str, float] = {}

    def log(self, kind: str, **fields: Any) -> None:
        """A fact: a stage began, a step was skipped, an artifact was published."""
        self._send({"event": kind, **fields})

    def progress(self, stage: str, done: float, total: float, unit: str, **numbers: float) -> None:
        """How far `stage` is, `done` of `total` in `unit`, with numbers such as the loss.

        At most five a second pass, the first and the last always.
        """
        now = time.monotonic()
        last = self._last_progress.get(stage)
        if last is not None and done < total and now - last < PROGRESS_SECONDS:
            return
        self._last_progress[stage] = now
        self._send(
            {"event": "progress", "stage": stage, "done": done, "total": total, "unit": unit}
            | numbers
        )

    def close(self) -> None:
        """Closes every sink."""
        for sink in self.sinks:
            sink.close()

    def _send(self, event: dict[str, Any]) -> None:
        for sink in self.sinks:
            sink.write(event)


class JsonLines:
    """Appends each event to a file, one JSON object a line; a torn last line is ended first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            self._file = open(path, "ab+", buffering=0)  # noqa: SIM115 - closed by close()
            if self._file.seek(0, os.SEEK_END):
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")

    def write(self, event: dict[str, Any]) -> None:
        """Appends one event with the time of day.

        Raises:
            NoSpace: when the disk is full or fails.
        """
        line = json.dumps({"time": datetime.now(UTC).isoformat()} | event, ensure_ascii=False)
        left = line.encode(errors="backslashreplace") + b"\n"
        with disk_errors(self.path):
            while left:
                left = left[self._file.write(left) :]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Memory:
    """Keeps events in a list; for tests and notebooks."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, event: dict[str, Any]) -> None:
        """Keeps one event."""
        self.events.append(event)

    def close(self) -> None:
        """Nothing to do."""
