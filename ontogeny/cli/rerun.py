"""A measurement of a card made again from its record, and compared with what the card says.

The model is the bundle's own; what else it read comes from a store. Nothing is written but a
temporary directory.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ontogeny.base import config as configs
from ontogeny.base.artifact import Artifact, Record
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.cli.stage_named import stage_named
from ontogeny.cli.writing import NO_PLAN, writing
from ontogeny.release.evidence import FOLDER, WEIGHTS, parse_record
from ontogeny.release.files import SUMS
from ontogeny.run.request import request
from ontogeny.run.run import Run

NOT_COMPARED = ("began", "finished", "host", "notes", "order", "peak_memory_bytes", "speeds")
"""Of an execution: what differs between any two runs and explains no difference."""


@dataclass(frozen=True)
class Number:
    """One number that came out otherwise; `inside` tells whether within its interval, if any."""

    name: str
    recorded: object
    measured: object
    inside: bool | None


@dataclass(frozen=True)
class Again:
    """What a measurement came to when it was made again."""

    name: str
    id: str
    seconds: float
    numbers: int
    differing: tuple[Number, ...]
    files: tuple[str, ...]
    execution: Mapping[str, tuple[object, object]]
    ordered: bool

    @property
    def same(self) -> bool:
        """Whether every number and every byte is as recorded."""
        return not self.differing and not self.files

    def lines(self) -> Iterator[str]:
        """What a person is told."""
        called = f"{self.name} ({self.id}) again in {self.seconds:.1f} s"
        if self.same:
            yield f"{called}: {self.numbers} numbers and every byte as recorded"
            return
        yield f"{called}: {len(self.differing)} of {self.numbers} numbers differ"
        for each in self.differing:
            where = {True: ", inside its interval", False: ", OUTSIDE its interval", None: ""}
            yield f"  {each.name}: {each.recorded} -> {each.measured}{where[each.inside]}"
        if self.files:
            yield f"  other bytes in {', '.join(self.files)}"
        if not self.ordered:
            yield "  its record is of a time when the order of settings was not kept"
        if not self.execution:
            yield "  nothing of what is recorded of the execution differs"
        for name, (was, now) in self.execution.items():
            yield f"  execution: {name} was {was}, is {now}"

    def values(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return asdict(self) | {"same": self.same}


def measure_again(bundle: Path, reference: str, store: Store | None) -> Again:
    """Makes the measurement called `reference` (a name or an id) again.

    Args:
        bundle: a bundle that has been checked.
        store: where the parents lie that a bundle does not hold: held-out text, tasks.

    Raises:
        InputError: no such measurement, its stage is another by now, or a parent is not there.
        OntogenyError: one line for whatever the stage met.
    """
    records = _records(bundle)
    record = _called(records, reference)
    stage = _stage(record)
    parents = [_parent(records[each], bundle, store) for each in record.parents]
    kinds = tuple((each.id, each.record.kind) for each in parents)
    wanted = request(stage, kinds, name=record.name, seed=record.seed, settings=[])
    if wanted.id != record.id:
        raise InputError(
            f"'{record.name}' would now be {wanted.id}: a file that the stage reads, or a setting "
            "that came since, is another; take the version of ontogeny in its record"
        )
    began = time.monotonic()
    with contextlib.ExitStack() as opened:
        try:
            place = opened.enter_context(tempfile.TemporaryDirectory(prefix="ontogeny-rerun-"))
        except OSError as error:
            raise InputError(
                f"no directory for temporary files ({error.strerror}); set TMPDIR to one with room"
            ) from None
        scratch = Store.create(Path(place) / "store")
        with writing(scratch) as desk:
            run = Run(scratch, NO_PLAN, seed=record.seed, events=desk.events, stop=desk.stop)
            made = run(stage, *parents, name=record.name).record
    return _compared(record, made, time.monotonic() - began)


def _records(bundle: Path) -> dict[str, Record]:
    paths = sorted((bundle / FOLDER).iterdir())
    return {path.stem: parse_record(path.read_bytes(), path) for path in paths}


def _called(records: Mapping[str, Record], reference: str) -> Record:
    found = [each for each in records.values() if reference in (each.id, each.name)]
    known = ", ".join(sorted(each.name for each in records.values() if each.kind == "measurement"))
    if len(found) != 1:
        what = "several records are" if found else "no record is"
        raise InputError(f"{what} called '{reference}'; the bundle has measurements {known}")
    if found[0].kind in ("model", "bundle"):
        raise InputError(f"'{reference}' is a {found[0].kind}; give a measurement: {known}")
    return found[0]


def _stage(record: Record) -> Any:
    kind = stage_named(record.stage)
    if kind.version != record.version:
        raise InputError(
            f"'{record.name}' was made by version {record.version} of the stage {record.stage}, "
            f"this is {kind.version}; take the version of ontogeny in its record"
        )
    order = record.execution.get("order")
    kept = order if isinstance(order, dict) else {}
    return configs.from_dict(kind, configs.in_order(record.config, kept))


def _parent(record: Record, bundle: Path, store: Store | None) -> Artifact:
    """The bundle's own model where it is that; of the store otherwise.

    Raises:
        InputError: it is neither.
    """
    here = {name: each for name, each in record.files.items() if (bundle / name).is_file()}
    if record.kind == "model" and WEIGHTS in here and _is(bundle, here):
        return Artifact(bundle, replace(record, files=here))  # without what the bundle leaves out
    if store is None:
        raise InputError(f"it reads {record.name} ({record.id}); name its store by --store")
    if not store.has(record.id):
        raise InputError(f"no {record.name} ({record.id}), which it reads", file=store.root)
    return store.get(record.id)


def _is(bundle: Path, files: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the bundle's files are these, by the sums that the check has confirmed."""
    lines = (bundle / SUMS).read_text(encoding="utf-8").splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    return all(listed[name] == each["sha256"] for name, each in files.items())


def _compared(record: Record, made: Record, seconds: float) -> Again:
    was, now = dict(_numbers(record.metrics)), dict(_numbers(made.metrics))
    differing = [
        Number(name, was.get(name), now.get(name), _inside(record.metrics, name, now.get(name)))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    names = sorted(record.files.keys() | made.files.keys())
    files = tuple(name for name in names if record.files.get(name) != made.files.get(name))
    return Again(
        record.name,
        record.id,
        seconds,
        len(was),
        tuple(differing),
        files,
        _execution(record, made),
        "order" in record.execution,
    )


def _numbers(metrics: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, object]]:
    """Every value of nested metrics under its names, one inside the other."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{place}{name}/")
        else:
            yield f"{place}{name}", value


def _inside(metrics: Mapping[str, Any], name: str, value: object) -> bool | None:
    """Whether an estimate lies within the recorded interval; None of what has none."""
    metric, _, part = name.rpartition("/")
    interval = metrics.get(metric)
    if part != "estimate" or not isinstance(interval, Mapping) or "low" not in interval:
        return None
    return isinstance(value, int | float) and interval["low"] <= value <= interval["high"]


def _execution(record: Record, made: Record) -> dict[str, tuple[object, object]]:
    """What differs between two executions that may explain a difference, (was, is)."""
    was, now = (
        dict(_numbers({k: v for k, v in each.execution.items() if k not in NOT_COMPARED}))
        | {"code": each.code[:12]}
        for each in (record, made)
    )
    names = sorted(was.keys() | now.keys())
    return {
        name: (was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name)
    }
