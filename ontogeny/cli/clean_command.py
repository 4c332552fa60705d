"""`ontogeny clean`: says what no name stands on, and deletes it when told to."""

from __future__ import annotations

import contextlib
import difflib
import json
from pathlib import Path
from typing import Any

from ontogeny.base.errors import (
    COMMAND_LINE,
    CorruptArtifact,
    InputError,
    NoSpace,
    printable,
)
from ontogeny.base.events import Events, JsonLines
from ontogeny.base.housekeeping import Sweep, carry_out, meant_by, plan_sweep
from ontogeny.base.inventory import Inventory, holder, size_of, take_inventory
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.cli.amounts import columns, counted, size_text
from ontogeny.cli.arguments import position
from ontogeny.cli.list_command import freed_bytes
from ontogeny.report.life import SUFFIX, read_life, reports_in


def clean(root: Path, *, drop: list[str], really: bool, as_json: bool) -> None:
    """Prints what goes; deletes it where `really` is set.

    Raises:
        InputError: no such store or name, or a run is using the store.
        NoSpace: the disk fails or is read-only.
        Stopped: a signal came; the same command goes on.
    """
    store = Store.open(root)
    if not really:
        inventory = take_inventory(store)
        sweep = plan_sweep(inventory, _given_up(drop, inventory))
        _tell(_value(store, inventory, sweep), _lines(store, inventory, sweep, False), as_json)
        return
    with store.locked(), store.channels_locked(), StopRequest().installed():
        inventory = take_inventory(store)
        sweep = plan_sweep(inventory, _given_up(drop, inventory))
        value = _value(store, inventory, sweep)
        lines = _lines(store, inventory, sweep, True)  # sizes, before the bytes are gone
        if not sweep.empty:
            carry_out(store, sweep)
            _log(store, value)
    _tell(value | {"deleted": True}, lines, as_json)


def _given_up(drop: list[str], inventory: Inventory) -> set[str]:
    """The names that the `--drop` options mean.

    Raises:
        InputError: one of them means nothing.
    """
    names: set[str] = set()
    for wanted in drop:
        meant = meant_by(wanted, inventory)
        if not meant:
            near = difflib.get_close_matches(wanted, inventory.names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "`ontogeny list` has them all"
            raise InputError(
                f"--drop {wanted}: no such name and none below it; {hint}",
                file=COMMAND_LINE,
                line=position(wanted, f"--drop={wanted}"),
            )
        names |= meant
    return names


def _tell(value: dict[str, Any], lines: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(value, indent=1, sort_keys=True))
        return
    for text in lines:
        print(printable(text))


def _lines(store: Store, inventory: Inventory, sweep: Sweep, really: bool) -> list[str]:
    lines = columns(_rows(store, inventory, sweep), right=(3,))
    lines += _remarks(store, inventory, sweep)
    now = None if really else holder(store)
    if now is not None:
        lines.append(
            f"a run (pid {now.get('pid', 'unknown')}) is using this store; what it makes now is "
            "not counted"
        )
    if sweep.empty:
        return [*lines, "nothing to delete"]
    counts = [
        (len(sweep.names), "name"),
        (len(sweep.entries), "artifact"),
        (len(sweep.work), "unfinished stage"),
        (len(sweep.leftovers), "leftover"),
    ]
    what = ", ".join(counted(count, word) for count, word in counts if count)
    freed = "freed" if really else "would be freed"
    lines.append(f"{what}: {size_text(freed_bytes(sweep))} {freed}")
    return lines if really else [*lines, "nothing deleted; add --yes"]


def _rows(store: Store, inventory: Inventory, sweep: Sweep) -> list[tuple[str, ...]]:
    """A row for each thing that goes: what, name, id, size, remark."""
    rows: list[tuple[str, ...]] = []
    going = {entry.id for entry in sweep.entries}
    for name in sweep.names:
        meant = inventory.names.get(name, "")
        if meant not in going:  # else its artifact's row names it
            rows.append(("name", name, meant, "", _why_it_stays(meant, inventory, sweep)))
    for entry in sorted(sweep.entries, key=lambda entry: -entry.size):
        record = entry.record
        words = [record.kind] if record is not None else []
        words += ["damaged"] if entry.error is not None else []
        once = f"once {record.name}" if record is not None else "?"
        name = ", ".join(inventory.names_of(entry.id)) or once
        rows.append(("artifact", name, entry.id, size_text(entry.size), ", ".join(words)))
    for work, reason in sweep.work:
        rows.append(("unfinished", work.name or "?", work.id, size_text(work.size), reason))
    for path in sweep.leftovers:
        name = str(path.relative_to(store.root))
        rows.append(("leftover", name, "", size_text(size_of(path)), ""))
    return rows


def _why_it_stays(meant: str, inventory: Inventory, sweep: Sweep) -> str:
    """Why the artifact of a name that is given up does not go with it."""
    if meant not in inventory.entries:
        return "it has no artifact"
    root = sweep.kept_for.get(meant)
    if root is None:
        return "its artifact stays, see below"
    other = "means it too" if root in inventory.names_of(meant) else "stands on it"
    return f"its artifact stays, {root} {other}"


def _remarks(store: Store, inventory: Inventory, sweep: Sweep) -> list[str]:
    """What stays although one might expect it to go, and what will not work any more."""
    lines = [
        f"kept: unfinished {work.name} {work.id}, {size_text(work.size)}: {reason}"
        for work, reason in sweep.kept_work
    ]
    lines += [
        f"kept: {entry.id} is damaged, but {sweep.kept_for[entry.id]} stands on it: {entry.error}"
        for entry in inventory.entries.values()
        if entry.error is not None and entry.id in sweep.kept_for
    ]
    if sweep.gaps:
        lines += [f"no artifact goes: {gap}, so nobody knows what it needs" for gap in sweep.gaps]
        size = size_text(sum(entry.size for entry in sweep.uncertain))
        lines.append(
            f"  otherwise {counted(len(sweep.uncertain), 'artifact')}, {size}, would go; run the "
            "recipe again, or give the name up by --drop, the channel by deleting its file"
        )
    lines += [f"not ours, left alone: {path}" for path in inventory.foreign]
    lines += [
        f"`ontogeny report --recipe {recipe}` cannot be made again after this; its page stays"
        for recipe in _reports_lost(store, sweep)
    ]
    return lines


def _reports_lost(store: Store, sweep: Sweep) -> list[str]:
    """The recipes whose last run made something that goes."""
    going = {entry.id for entry in sweep.entries}
    lost = []
    for path in sorted(reports_in(store).glob(f"*{SUFFIX}")):
        recipe = path.name.removesuffix(SUFFIX)
        with contextlib.suppress(CorruptArtifact, InputError):  # then it cannot be made today
            if going & {each.id for each in read_life(store, recipe).artifacts}:
                lost.append(recipe)
    return lost


def _value(store: Store, inventory: Inventory, sweep: Sweep) -> dict[str, Any]:
    return {
        "deleted": False,
        "names": sweep.names,
        "artifacts": [{"id": entry.id, "bytes": entry.size} for entry in sweep.entries],
        "unfinished": [
            {"id": work.id, "name": work.name, "bytes": work.size, "reason": reason}
            for work, reason in sweep.work
        ],
        "leftovers": [str(path.relative_to(store.root)) for path in sweep.leftovers],
        "bytes": freed_bytes(sweep),
        "kept_unfinished": [
            {"id": work.id, "name": work.name, "bytes": work.size, "reason": reason}
            for work, reason in sweep.kept_work
        ],
        "kept_damaged": {
            entry.id: str(entry.error)
            for entry in inventory.entries.values()
            if entry.error is not None and entry.id in sweep.kept_for
        },
        "unknown_lineage": sweep.gaps,
        "uncertain": [entry.id for entry in sweep.uncertain],
        "not_ours": [str(path) for path in inventory.foreign],
        "reports_lost": _reports_lost(store, sweep),
    }


def _log(store: Store, value: dict[str, Any]) -> None:
    """A fact about the store; on a disk that is still full the screen has it."""
    with contextlib.suppress(NoSpace):
        events = Events([JsonLines(store.events)])
        keys = ("names", "artifacts", "unfinished", "leftovers", "bytes")
        events.log("cleaned", **{key: value[key] for key in keys})
        events.close()
