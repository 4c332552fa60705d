"""Sends progress to TensorBoard. Needs the extra `track`; imported by cli when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    raise InputError(
        "--tensorboard needs tensorboard; run: pip install 'ontogeny[track]'"
    ) from None

NOT_NUMBERS = ("event", "stage", "done", "total", "unit")


class TensorBoard:
    """A sink: each number of a progress event becomes a scalar `stage/number`."""

    def __init__(self, directory: Path) -> None:
        self._writer = SummaryWriter(str(directory))

    def write(self, event: dict[str, Any]) -> None:
        """Writes the numbers of a progress event; other events are not for plots."""
        if event["event"] != "progress":
            return
        for name, value in event.items():
            if name not in NOT_NUMBERS:
                self._writer.add_scalar(f"{event['stage']}/{name}", value, int(event["done"]))

    def close(self) -> None:
        """Flushes and closes the files."""
        self._writer.close()
