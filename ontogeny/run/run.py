"""Executes a recipe: traced first, then stage by stage; what exists is skipped.

Knows no particular stage and no tensor. All writing happens in one locked store.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import socket
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ontogeny.base import config as configs
from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.errors import InputError
from ontogeny.base.events import Events
from ontogeny.base.files import disk_errors, require_space
from ontogeny.base.identity import code_digest, digest
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.plan.plan import Plan
from ontogeny.run.recipe import Recipe, mistakes_in
from ontogeny.run.request import Promise, Request, Setting, plain_name, request, unused_setting
from ontogeny.run.unfinished import is_resumable, remember, unfinished_requests
from ontogeny.run.work import Made, Stage, Work

RECORDED_VERSIONS = ("ontogeny", "torch", "numpy", "pyarrow", "tokenizers", "safetensors")
SPARE_BYTES = 64 << 20


@dataclass
class Trace:
    """Plays a recipe without doing anything: collects what would run, under which ids."""

    budget: Plan
    seed: int
    settings: list[Setting] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    prefix: str = ""

    def seeded(self, seed: int) -> Trace:
        """Stands in for `Run.seeded`."""
        return replace(self, seed=seed, prefix=f"seed-{seed}/")

    def expects(self, *claims: Any) -> None:
        """Stands in for `Run.expects`."""

    def __call__(self, stage: Stage, *parents: Any, name: str) -> Promise:
        """Stands in for `Run.__call__`.

        Raises:
            InputError: for anything that can be known to be wrong before work begins.
        """
        name = self.prefix + name
        if any(known.name == name for known in self.requests):
            raise InputError(f"two stages are called '{name}'; rename one")
        for parent in parents:
            if not isinstance(parent, Promise):
                raise InputError(
                    f"a parent of '{name}' is {type(parent).__name__}, no artifact; "
                    "pass what run(...) returned"
                )
        identities = tuple((parent.id, parent.kind) for parent in parents)
        made = request(stage, identities, name=name, seed=self.seed, settings=self.settings)
        self.requests.append(made)
        return Promise(name, stage.makes, made.id)


def trace(recipe: Recipe, plan: Plan, seed: int, settings: list[Setting]) -> list[Request]:
    """Every stage that `recipe` would run on its longest path.

    Raises:
        InputError: naming the recipe's line, or the setting that fits no stage.
    """
    collector = Trace(plan, seed, settings)
    with mistakes_in(recipe.path):
        recipe.function(collector)
    if not collector.requests:
        raise InputError("the recipe runs no stage; call run(...) in it", file=recipe.path)
    names = [known.name for known in collector.requests]
    # a seed's own stages by their plain names too, each said once
    known = dict.fromkeys([*names, *map(plain_name, names)])
    error = unused_setting(settings, list(known))
    if error is not None:
        raise error
    return collector.requests


@dataclass
class Span:
    """The part of a recipe that is wanted: nothing is made before `begin` or after `until`."""

    begin: str | None = None
    until: str | None = None


class _Reached(Exception):
    """The stage named by --until is done; unwinds the recipe."""


@dataclass
class Run:
    """What a recipe calls: `run(Stage(...), *artifacts, name=...)` makes or finds an artifact.

    `budget` is the resolved plan, `seed` the root of all randomness; `claims` are what the recipe
    said it expects.
    """

    store: Store
    budget: Plan
    seed: int
    events: Events
    stop: StopRequest
    settings: list[Setting] = field(default_factory=list)
    span: Span = field(default_factory=Span)
    made: list[tuple[str, Artifact]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    prefix: str = ""

    def seeded(self, seed: int) -> Run:
        """The same run under another seed; its stages are called seed-SEED/NAME.

        What a recipe passes in from outside (a corpus, say) stays the one it is.
        """
        return replace(self, seed=seed, prefix=f"seed-{seed}/")

    def expects(self, *claims: Any) -> None:
        """Registers claims (dataclasses with a `name`) before anything is measured.

        The report lists them in this order and calls one that nothing measured untested.
        """
        self.claims += [configs.to_dict(claim) for claim in claims]

    def play(self, recipe: Recipe) -> list[tuple[str, Artifact]]:
        """Plays the recipe; returns its artifacts in order, each under the name it has here.

        Raises:
            OntogenyError: one line for whatever went wrong; everything finished is kept.
        """
        with mistakes_in(recipe.path), contextlib.suppress(_Reached):
            recipe.function(self)
        return self.made

    def __call__(self, stage: Stage, *parents: Artifact, name: str) -> Artifact:
        """Finds the artifact that `stage` makes from `parents`, or makes it."""
        name = self.prefix + name
        kinds = tuple((parent.id, parent.record.kind) for parent in parents)
        wanted = request(stage, kinds, name=name, seed=self.seed, settings=self.settings)
        if self.store.has(wanted.id):
            artifact = self._skip(wanted)
        elif self.span.begin is not None and name != self.span.begin:
            raise InputError(
                f"--from {self.span.begin}: '{name}' comes before it and has not been made; "
                "run without --from"
            )
        else:
            artifact = self._make(wanted, parents)
        if name == self.span.begin:
            self.span.begin = None
        self.store.set_name(name, artifact.id)
        self.made.append((name, artifact))
        if name == self.span.until:
            raise _Reached
        return artifact

    def _skip(self, wanted: Request) -> Artifact:
        artifact = self.store.get(wanted.id)
        same_code = artifact.record.code == _code(wanted.stage)
        self.events.log(
            "skipped",
            stage=wanted.name,
            id=wanted.id,
            other_code=not same_code,
            metrics=artifact.metrics,
            seconds=artifact.record.cost.get("seconds", 0.0),
        )
        return artifact

    def _make(self, wanted: Request, parents: tuple[Artifact, ...]) -> Artifact:
        directory = self.store.work / wanted.id
        needed = getattr(wanted.stage, "disk_bytes", lambda *_: 0)(*parents)
        require_space(self.store.root, int(needed) + SPARE_BYTES)
        code, settings = _code(wanted.stage), digest(wanted.identity)
        with disk_errors(directory):
            work = self._begin(wanted, directory)
            began = datetime.now(UTC)
            made = wanted.stage(work, *parents)
            with self.stop.deferred():
                record = self._record(wanted, work, made, began, code, settings)
                artifact = self.store.publish(record)
        self.events.log(
            "published",
            stage=wanted.name,
            id=wanted.id,
            metrics=made.metrics,
            summary=record.summary,
            notes=made.notes,
            cost=record.cost,
        )
        return artifact

    def _begin(self, wanted: Request, directory: Path) -> Work:
        work = Work(wanted.name, directory, wanted.seed, self.events, self.stop)
        resumed = is_resumable(directory)
        # What a killed run left of the payload, or of its record, is never built upon.
        leftover = work.payload if resumed else directory
        if leftover.exists():
            shutil.rmtree(leftover)
        work.payload.mkdir(parents=True)
        work.checkpoints.mkdir(exist_ok=True)
        for other, fields in unfinished_requests(self.store, wanted):
            self.events.log("not_continued", stage=wanted.name, id=other, differs=fields)
        remember(directory, wanted)
        self.events.log("began", stage=wanted.name, id=wanted.id, resumed=resumed)
        return work

    def _record(
        self, wanted: Request, work: Work, made: Made, began: datetime, code: str, settings: str
    ) -> Record:
        config = configs.to_dict(wanted.stage)
        return Record(
            id=wanted.id,
            name=wanted.name,
            kind=wanted.stage.makes,
            stage=wanted.stage.stage,
            version=wanted.stage.version,
            config=config,
            parents=list(wanted.parents),
            seed=wanted.seed,
            metrics=made.metrics,
            summary=list(made.summary),
            cost={"seconds": work.seconds(), "tokens": made.tokens, "flops": made.flops},
            files=describe_files(work.payload),
            code=code,
            execution=_execution(began)
            | {"peak_memory_bytes": peak_memory_bytes(), "notes": list(made.notes)}
            # of the config without execution fields and with the content of files outside
            | {"order": configs.key_order(config), "settings": settings}
            | ({"speeds": made.speeds} if made.speeds else {}),
        )


def _code(stage: Stage) -> str:
    file = sys.modules[type(stage).__module__].__file__
    assert file is not None, stage
    return code_digest(Path(file).resolve())


def peak_memory_bytes() -> int:
    """The most memory that this process has held (getrusage counts kB, on macOS bytes)."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def _execution(began: datetime) -> dict[str, Any]:
    versions = {}
    for package in RECORDED_VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "began": began.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "versions": versions,
    }
