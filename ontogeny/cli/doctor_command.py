"""`ontogeny doctor`: looks at everything that a run needs and tells all of it, whatever fails."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ontogeny import bridge
from ontogeny.base import machine
from ontogeny.base.errors import OntogenyError, printable
from ontogeny.base.housekeeping import Sweep, plan_sweep
from ontogeny.base.inventory import Inventory, holder, take_inventory
from ontogeny.base.store import FORMAT, Store
from ontogeny.cli import doctor_machine, doctor_startup
from ontogeny.cli.amounts import counted, size_text
from ontogeny.cli.finding import Finding, looked, report
from ontogeny.cli.list_command import freed_bytes
from ontogeny.run.recipe import shipped

if TYPE_CHECKING:
    from ontogeny.bridge.probe import TorchProbe

QUICKSTART = "quickstart"


def doctor(root: Path, *, as_json: bool) -> int:
    """Prints what was found; returns 0 when `ontogeny run quickstart` has all it needs, else 1."""
    findings = [
        *looked("machine", lambda: doctor_machine.hardware(root)),
        *looked("python", doctor_machine.python),
        *looked("packages", doctor_machine.packages),
        *looked("startup", doctor_startup.startup),
        *looked("torch", _torch),
        *looked("store", lambda: store_findings(root)),
        *looked(
            "environment",
            lambda: doctor_machine.environment(os.environ, machine.processors().threads),
        ),
        *looked("sandbox", doctor_machine.sandbox),
        *looked("recipes", _recipes),
    ]
    problems = [finding for finding in findings if finding.state == "problem"]
    if as_json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"ready": not problems, "findings": rows}, indent=1, sort_keys=True))
        return 1 if problems else 0
    for text in report(findings):
        print(printable(text))
    if problems:
        print(f"{counted(len(problems), 'problem')}; `ontogeny run quickstart` needs them mended")
        return 1
    print("all that `ontogeny run quickstart` needs is here")
    return 0


def _torch() -> Iterator[Finding]:
    try:
        probe: TorchProbe = bridge.probe_torch()
    except (ImportError, OSError, RuntimeError) as error:
        why = " ".join(str(error).split())
        missing = isinstance(error, ModuleNotFoundError)
        remedy = "see packages" if missing else "`pip install --force-reinstall torch`"
        yield Finding("torch", "problem", f"torch does not load or compute: {why}", remedy)
        return
    yield from torch_findings(probe, Path("/dev/nvidiactl").exists())


def torch_findings(probe: TorchProbe, nvidia: bool) -> Iterator[Finding]:
    """What is to be said of torch; `nvidia` tells whether the machine has NVIDIA's driver."""
    section = "torch"
    build = f"built for CUDA {probe.cuda}" if probe.cuda else "built for CPUs"
    threads = counted(probe.threads, "thread")
    yield Finding(section, "ok", f"torch {probe.version}, {build}, {threads}")
    for text in probe.accelerators:
        yield Finding(section, "ok", f"accelerator: {text}")
    if nvidia and probe.device != "cuda":
        text = "this machine has an NVIDIA driver, but torch sees no GPU"
        remedy = "install a CUDA build of torch, or look at CUDA_VISIBLE_DEVICES"
        yield Finding(section, "note", text, remedy)
    elif not probe.accelerators:
        yield Finding(section, "ok", "no accelerator; runs compute on the processor")
    speed = f"{probe.fp32 / 1e9:,.0f} GFLOP/s in fp32"
    if probe.bf16 is None:
        yield Finding(section, "ok", f"{probe.device}: {speed}, no products in bf16")
    else:
        text = f"{probe.device}: {speed}, {probe.bf16 / 1e9:,.0f} in bf16"
        slower = probe.bf16 < probe.fp32
        remedy = "bf16 is the slower one here: stay with fp32" if slower else ""
        yield Finding(section, "note" if slower else "ok", text, remedy)
    if probe.deterministic:
        yield Finding(section, "ok", "deterministic algorithms are available")
    else:
        text = f"no deterministic algorithms on {probe.device}"
        remedy = "two runs may differ in the last bits; on CUDA set CUBLAS_WORKSPACE_CONFIG=:4096:8"
        yield Finding(section, "note", text, remedy)
    for text in probe.warnings:
        yield Finding(section, "note", f"torch warns: {' '.join(text.split())}")


def store_findings(root: Path) -> Iterator[Finding]:
    """What is to be said of the store at `root`, or of what lies there instead."""
    elsewhere = "choose another --store"
    try:
        if not (root / "store.json").exists():
            yield _no_store(root, elsewhere)
            return
        store = Store.open(root)
        inventory = take_inventory(store)
    except (OntogenyError, OSError) as error:
        yield Finding("store", "problem", f"{error}", f"mend that or {elsewhere}")
        return
    sweep = plan_sweep(inventory)
    size = size_text(sum(entry.size for entry in inventory.entries.values()))
    count = counted(len(inventory.entries), "artifact")
    yield Finding("store", "ok", f"{root}: format {FORMAT}, {count}, {size}")
    now = holder(store)
    if now is not None:
        text = f"a run (pid {now.get('pid', 'unknown')}) is using it"
        yield Finding("store", "note", text, "another has to wait")
    yield from _damage(inventory, sweep)
    yield from _unfinished(inventory)
    if not sweep.gaps and not sweep.empty:
        text = f"{size_text(freed_bytes(sweep))} that no name stands on"
        yield Finding("store", "note", text, f"`ontogeny clean --store {root}`")


def _no_store(root: Path, elsewhere: str) -> Finding:
    if root.exists() and not root.is_dir():
        return Finding("store", "problem", f"{root} is no directory", elsewhere)
    text = f"no store at {root}"
    if root.exists() and any(root.iterdir()):
        return Finding("store", "note", f"{text}, where something else lies", elsewhere)
    return Finding("store", "note", text, "`ontogeny run quickstart` makes one there")


def _damage(inventory: Inventory, sweep: Sweep) -> Iterator[Finding]:
    damaged = [entry for entry in inventory.entries.values() if entry.error is not None]
    for entry in damaged:
        root = sweep.kept_for.get(entry.id)
        if root is None:
            text = f"{entry.id} is damaged, and no name stands on it: {entry.error}"
            yield Finding("store", "note", text)
        else:
            text = f"{entry.id} is damaged, and {root} stands on it: {entry.error}"
            yield Finding("store", "problem", text, f"`rm -r {entry.path}`, then run again")
    for error in inventory.unreadable.values():
        yield Finding("store", "problem", str(error))
    if sweep.gaps and not damaged and not inventory.unreadable:
        yield Finding("store", "note", sweep.gaps[0], "a run of its recipe makes it again")
    if not damaged:
        yield Finding("store", "ok", "no artifact is damaged, by the sizes of their files")


def _unfinished(inventory: Inventory) -> Iterator[Finding]:
    for work in inventory.unfinished:
        then = "goes on from its checkpoint" if work.resumable else "begins it again"
        yield Finding(
            "store",
            "note",
            f"unfinished {work.name or work.id}, {size_text(work.size)}",
            f"the same command {then}",
        )


def _recipes() -> Iterator[Finding]:
    known = shipped()
    if QUICKSTART in known:
        yield Finding("recipes", "ok", f"{', '.join(known)} in {known[QUICKSTART].parent}")
    else:
        text = f"no recipe '{QUICKSTART}' came with the package"
        yield Finding("recipes", "problem", text, "install ontogeny again")
