"""`ontogeny show`: what an artifact is, where it came from, what it cost, what it measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import printable
from ontogeny.base.store import Store
from ontogeny.report.contents import report_of
from ontogeny.report.life import read_life
from ontogeny.report.table import compute_lines, prompt_lines


def show(reference: str | None, root: Path, *, as_json: bool) -> None:
    """Prints one artifact, or a line for each.

    Raises:
        InputError: when there is no such store or artifact.
        CorruptArtifact: when its bytes are not what was written.
    """
    store = Store.open(root)
    if reference is None:
        _show_all(store, as_json)
        return
    artifact = store.resolve(reference)
    artifact.verify()
    if as_json:
        print(json.dumps(dataclasses.asdict(artifact.record), indent=1, sort_keys=True))
        return
    for text in _about(store, artifact):
        print(printable(text))


def _show_all(store: Store, as_json: bool) -> None:
    artifacts, damaged = store.all()
    if as_json:
        print(json.dumps([_row(artifact) for artifact in artifacts], indent=1, sort_keys=True))
    elif not artifacts and not damaged:
        print("the store is empty; `ontogeny run quickstart` fills it")
    for artifact in artifacts if not as_json else ():
        record = artifact.record
        summary = record.summary[0] if record.summary else ""
        size = sum(file["size"] for file in record.files.values())
        print(
            printable(
                f"{record.name:<20} {record.id}  {record.kind:<12} "
                f"{record.cost['seconds']:7.1f} s {size / 1e6:8.1f} MB  {summary}"
            )
        )
    if damaged:
        raise damaged[0]
    if not as_json and any((store.root / "reports").glob("*.run.json")):
        report = report_of(store, read_life(store))
        for text in (*compute_lines(report), *prompt_lines(report)):
            print(text)


def _row(artifact: Artifact) -> dict[str, Any]:
    record = artifact.record
    keys = ("id", "name", "kind", "stage", "parents", "cost", "metrics")
    return {key: getattr(record, key) for key in keys}


def _about(store: Store, artifact: Artifact) -> list[str]:
    record = artifact.record
    size = sum(file["size"] for file in record.files.values())
    lines = [
        f"{record.name}: a {record.kind} made by {record.stage} (version {record.version})",
        f"  id       {record.id}, every byte verified",
        f"  path     {artifact.path}",
        f"  made     {record.execution.get('finished', '')} on {record.execution.get('host', '')}",
        f"  cost     {record.cost['seconds']:.1f} s, {record.cost['tokens']:,.0f} tokens, "
        f"{record.cost['flops']:.3g} FLOPs, {size / 1e6:.1f} MB on disk",
        "came from",
        *_lineage(store, artifact, 1, set()),
        "measured",
        *(f"  {name} = {_number(value)}" for name, value in sorted(record.metrics.items())),
        "config",
        *(f"  {name} = {json.dumps(value)}" for name, value in sorted(record.config.items())),
        "files",
        *(f"  {name}  {file['size']:,} bytes" for name, file in sorted(record.files.items())),
    ]
    return lines


def _lineage(store: Store, artifact: Artifact, depth: int, told: set[str]) -> list[str]:
    """The ancestors, each below what was made from it; what stands behind one is told once."""
    if not artifact.record.parents:
        return ["  " * depth + "nothing but its config"] if depth == 1 else []
    lines = []
    for parent_id in artifact.record.parents:
        if not store.has(parent_id):
            lines.append("  " * depth + f"{parent_id} (no longer in the store)")
            continue
        parent = store.get(parent_id)
        again = parent_id in told and bool(parent.record.parents)
        told.add(parent_id)
        lines.append("  " * depth + f"{parent.name} {parent.id}{' (as above)' if again else ''}")
        if not again:
            lines += _lineage(store, parent, depth + 1, told)
    return lines


def _number(value: Any) -> str:
    if isinstance(value, dict) and {"estimate", "low", "high"} <= value.keys():
        return f"{value['estimate']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else json.dumps(value)
