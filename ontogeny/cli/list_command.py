"""`ontogeny list`: the inventory of a store, and what a clean would free."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.housekeeping import Sweep, plan_sweep
from ontogeny.base.inventory import Entry, Inventory, Unfinished, size_of, take_inventory
from ontogeny.base.store import Store
from ontogeny.cli.amounts import age_text, columns, counted, size_text
from ontogeny.cli.arguments import position

HEAD = ("name", "id", "kind", "size", "age", "cost", "")
UNNAMED = "(unnamed)"


def list_artifacts(root: Path, *, kind: str | None, as_json: bool) -> None:
    """Prints a line for each artifact, then unfinished work and the totals.

    Raises:
        InputError: no such store, or no artifact of that kind.
        CorruptArtifact: the first that is damaged, after everything was printed.
    """
    store = Store.open(root)
    inventory = take_inventory(store)
    sweep = plan_sweep(inventory)
    shown = sorted(
        (entry for entry in inventory.entries.values() if _wanted(entry, kind)),
        key=lambda entry: (entry.finished or datetime.fromtimestamp(0, UTC), entry.id),
    )
    _check_kind(kind, inventory, root)
    if as_json:
        rows = [_row(entry, inventory, sweep) for entry in shown]
        unfinished = [_work_row(work) for work in inventory.unfinished]
        value = {"artifacts": rows, "unfinished": unfinished, **_totals(inventory, sweep)}
        print(json.dumps(value, indent=1, sort_keys=True))
    else:
        for text in _lines(shown, inventory, sweep):
            print(printable(text))
    damaged = [entry.error for entry in shown if entry.error is not None]
    for error in [*damaged, *inventory.unreadable.values()]:
        raise error


def freed_bytes(sweep: Sweep) -> int:
    """How many bytes a clean frees."""
    parts = [entry.size for entry in sweep.entries] + [work.size for work, _ in sweep.work]
    return sum(parts) + sum(size_of(path) for path in sweep.leftovers)


def _wanted(entry: Entry, kind: str | None) -> bool:
    """An artifact whose record cannot be read may be of any kind."""
    return kind is None or entry.record is None or entry.record.kind == kind


def _check_kind(kind: str | None, inventory: Inventory, root: Path) -> None:
    records = [entry.record for entry in inventory.entries.values() if entry.record is not None]
    kinds = {record.kind for record in records}
    if kind is not None and kind not in kinds:
        known = f"it has {', '.join(sorted(kinds))}" if kinds else "it is empty"
        raise InputError(
            f"--kind {kind}: no artifact in {root} is of this kind; {known}",
            file=COMMAND_LINE,
            line=position(kind, f"--kind={kind}"),
        )


def _lines(shown: list[Entry], inventory: Inventory, sweep: Sweep) -> list[str]:
    if not inventory.entries and not inventory.unfinished:
        return ["the store is empty; `ontogeny run quickstart` fills it"]
    rows = [_cells(entry, inventory, sweep) for entry in shown]
    lines = columns([HEAD, *rows], right=(3, 4, 5))
    lines += [f"  damaged  {entry.error}" for entry in shown if entry.error is not None]
    lines += [f"  damaged  {error}" for error in inventory.unreadable.values()]
    if inventory.unfinished:
        lines += ["unfinished", *columns([_work_cells(work) for work in inventory.unfinished])]
    lines += [f"  not ours  {path}" for path in inventory.foreign]
    total = size_text(sum(entry.size for entry in shown))
    lines.append(f"{counted(len(shown), 'artifact')}, {total}; {_freed(sweep)}")
    return lines


def _freed(sweep: Sweep) -> str:
    if sweep.gaps:
        return f"`ontogeny clean` keeps all artifacts: {sweep.gaps[0]}"
    return f"`ontogeny clean` would free {size_text(freed_bytes(sweep))}"


def _cells(entry: Entry, inventory: Inventory, sweep: Sweep) -> tuple[str, ...]:
    names = inventory.names_of(entry.id)
    remarks = [] if entry.error is None else ["damaged"]
    if not names:
        root = sweep.kept_for.get(entry.id)
        unsure = "kept" if sweep.gaps else "not needed"
        remarks.append(f"{root} stands on it" if root is not None else unsure)
    record = entry.record
    return (
        ", ".join(names) or UNNAMED,
        entry.id,
        record.kind if record is not None else "?",
        size_text(entry.size),
        age_text(entry.finished),
        f"{record.cost.get('seconds', 0.0):,.1f} s" if record is not None else "?",
        ", ".join(remarks),
    )


def _work_cells(work: Unfinished) -> tuple[str, ...]:
    state = "a run goes on from its checkpoint" if work.resumable else "a run begins it again"
    return (
        f"  {work.name or UNNAMED}",
        work.id,
        size_text(work.size),
        age_text(work.touched),
        state,
    )


def _row(entry: Entry, inventory: Inventory, sweep: Sweep) -> dict[str, Any]:
    record, finished = entry.record, entry.finished
    return {
        "id": entry.id,
        "names": inventory.names_of(entry.id),
        "kind": record.kind if record is not None else None,
        "stage": record.stage if record is not None else None,
        "bytes": entry.size,
        "seconds": record.cost.get("seconds", 0.0) if record is not None else None,
        "finished": finished.isoformat() if finished is not None else None,
        "needed_by": sweep.kept_for.get(entry.id),
        "damaged": str(entry.error) if entry.error is not None else None,
    }


def _work_row(work: Unfinished) -> dict[str, Any]:
    return {
        "id": work.id,
        "name": work.name,
        "bytes": work.size,
        "touched": work.touched.isoformat(),
        "resumable": work.resumable,
    }


def _totals(inventory: Inventory, sweep: Sweep) -> dict[str, Any]:
    return {
        "total_bytes": sum(entry.size for entry in inventory.entries.values()),
        "freed_by_clean_bytes": freed_bytes(sweep),
        "damaged_names": {name: str(error) for name, error in inventory.unreadable.items()},
        "not_ours": [str(path) for path in inventory.foreign],
        "unknown_lineage": sweep.gaps,
    }
