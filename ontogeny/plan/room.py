"""Whether a gradient stage fits into memory, and what to turn where it does not.

Knows no tensor; `ontogeny.bridge.room` asks here before the first step of every gradient stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ontogeny.base.errors import NoSpace
from ontogeny.base.room import process_room
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.memory import Load, gigabytes, micro_rows, predict
from ontogeny.plan.optimization import Optimization, OverTokens
from ontogeny.plan.shape import Shape

ACCELERATOR = Path("/proc/driver/nvidia")
"""There where NVIDIA's driver is loaded; torch, which would know better, is not."""
ADAPTER_RANK = 16
"""Of the adapter that is offered as a remedy."""


def largest_micro_rows(
    shape: Shape, config: Optimization, load: Load, room: float, *, on_device: bool = False
) -> int:
    """The most rows at once with which the stage fits into `room` bytes; 0: not even the fewest."""
    for rows in range(micro_rows(config, load), 0, -1):
        smaller = replace(config, micro_rows=rows)
        if predict(shape, smaller, load, on_device=on_device).total <= room:
            return rows
    return 0


def refusal(
    name: str,
    shape: Shape,
    config: Optimization,
    load: Load,
    room: float,
    *,
    on_device: bool = False,
    adapters: bool = True,
) -> str | None:
    """None where the stage called `name` fits into `room` bytes; else what to say to a person.

    The remedies stand in the order of what they change: fewer rows at once and recomputation
    change no result, an adapter does; it is not offered where there is nothing for it to stand on.
    """
    needed = predict(shape, config, load, on_device=on_device)
    if needed.total <= room:
        return None
    told = f"needs {gigabytes(needed.total)} of memory ({needed.largest()}), here are "
    told += gigabytes(room)
    again, adapter = {"recompute": True}, {"adapter": LoRA(rank=ADAPTER_RANK)}
    offered = ({}, again, adapter, again | adapter) if adapters else ({}, again)
    for changes in offered:
        changed = replace(config, **changes)
        rows = largest_micro_rows(shape, changed, load, room, on_device=on_device)
        if rows:
            return f"{told}; run with {_settings(name, changes, rows, micro_rows(config, load))}"
    least = replace(config, micro_rows=1, **offered[-1])
    total = predict(shape, least, load, on_device=on_device).total
    return (
        f"{told}, and even micro_rows=1 with recompute{' and an adapter' * adapters} needs "
        f"{gigabytes(total)}; "
        "take shorter rows, a smaller model or a larger machine"
    )


def refuse(
    name: str,
    shape: Shape,
    config: Optimization,
    load: Load,
    room: float,
    *,
    on_device: bool = False,
    adapters: bool = True,
) -> None:
    """Nothing where `refusal` has nothing to say.

    Raises:
        NoSpace: what it says.
    """
    reason = refusal(name, shape, config, load, room, on_device=on_device, adapters=adapters)
    if reason is not None:
        raise NoSpace(reason, file=name)


def refuse_planned(name: str, shape: Shape, config: OverTokens) -> None:
    """For a stage that knows its shape before it has a parent: refused when the run is planned.

    It has no weights yet, so no adapter is offered. By this process's room; says nothing where an
    accelerator may do the work.

    Raises:
        NoSpace: see `refusal`.
    """
    elsewhere = config.device == "auto" and ACCELERATOR.exists()
    room = process_room() if config.device in ("auto", "cpu") and not elsewhere else None
    if room is not None:
        width = config.row_tokens or shape.context
        load = Load(rows=max(1, config.batch_tokens // width), width=width)
        refuse(name, shape, config, load, room, adapters=False)


def _settings(name: str, changes: Mapping[str, object], rows: int, before: int) -> str:
    """What to write on the command line, with the most rows that fit."""
    words = []
    if rows < before:
        words.append(f"{name}.micro_rows={rows}")
    if "recompute" in changes:
        words.append(f"{name}.recompute=true")
    if "adapter" in changes:
        words.append(f"{name}.adapter='{{\"rank\": {ADAPTER_RANK}}}'")
    most = " (no more rows fit)" if rows < before else ""
    return " ".join(f"--set {word}" for word in words) + most
