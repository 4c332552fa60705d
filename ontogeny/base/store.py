"""The store: a directory of artifacts, the names a recipe gave them, and work in progress.

    artifacts/ID/        published, immutable
    work/ID/             a stage in progress: payload/ and checkpoints/
    work/*.gone          given up by `clean`; the next clean or run deletes it
    names/NAME.json      the artifact a recipe last made under that name
    channels/NAME.json   the model that clients of this name hear (`feedback.channel`)
    erased.json          artifacts deleted because somebody wished to be forgotten
    plans/               pinned plans
    events.jsonl         what happened, one JSON object a line
    lock                 held by the run that writes
    channels.lock        held while a channel changes, so that no training run delays a rollback

Publishing is one rename: payload/ (fsynced, with its record) becomes artifacts/ID.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ontogeny.base import files
from ontogeny.base.artifact import RECORD, Artifact, Record
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.lock import exclusive

FORMAT = 1
GONE = ".gone"
LOOK_SECONDS = 0.05
"""How often a lock is tried that somebody else holds."""
MOST_TOLD = 20
"""Names that one line tells."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")


class Store:
    """Artifacts under one root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts = root / "artifacts"
        self.work = root / "work"
        self.names = root / "names"
        self.channels = root / "channels"
        self.plans = root / "plans"
        self.events = root / "events.jsonl"

    @classmethod
    def create(cls, root: Path) -> Store:
        """The store at `root`, made when it is not there.

        Raises:
            InputError: when the directory cannot be made or is of another format.
            NoSpace: when the disk is full or read-only.
        """
        store = cls(root)
        for directory in (root, store.artifacts, store.work, store.names, store.plans):
            files.require_directory(directory)
        marker = root / "store.json"
        if not marker.exists():
            files.write_json(marker, {"format": FORMAT})
        store._check_format()
        return store

    @classmethod
    def open(cls, root: Path) -> Store:
        """The store at `root`, for reading.

        Raises:
            InputError: when there is none.
        """
        if not (root / "store.json").exists():
            raise InputError(
                "no store here; make one by `ontogeny run quickstart` or name another by --store",
                file=root,
            )
        store = cls(root)
        store._check_format()
        return store

    def _check_format(self) -> None:
        marker = self.root / "store.json"
        value = files.read_json(marker)
        if value != {"format": FORMAT}:
            raise InputError(
                f"this store is of another format (ours is {FORMAT}); use the version of ontogeny "
                "that made it, or another --store",
                file=marker,
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[dict[str, Any] | None]:
        """Holds the store for writing; yields the note a dead holder left, or None.

        Raises:
            InputError: when another run holds it.
        """
        with exclusive(self.root / "lock") as dead:
            yield dead

    @contextlib.contextmanager
    def channels_locked(self, seconds: float = 0.0) -> Iterator[None]:
        """Holds the channels for writing; whoever deletes artifacts holds them, too.

        Args:
            seconds: for which another process is waited for.

        Raises:
            InputError: when it holds them still.
        """
        due = time.monotonic() + seconds
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(exclusive(self.root / "channels.lock"))
                    break
                except InputError:
                    if time.monotonic() >= due:
                        raise
                time.sleep(LOOK_SECONDS)
            yield

    def path(self, artifact_id: str) -> Path:
        """Where the artifact of this id lies, or will lie."""
        return self.artifacts / artifact_id

    def has(self, artifact_id: str) -> bool:
        """Whether anything lies where the artifact would be published, whole or damaged."""
        return os.path.lexists(self.path(artifact_id))

    def get(self, artifact_id: str) -> Artifact:
        """The artifact of this id.

        Raises:
            CorruptArtifact: when it is damaged or its directory is another artifact's.
        """
        artifact = Artifact.open(self.path(artifact_id))
        if artifact.id != artifact_id:
            raise CorruptArtifact(
                f"the record is of artifact {artifact.id}; put it back or delete the directory",
                file=artifact.path / RECORD,
            )
        return artifact

    def all(self) -> tuple[list[Artifact], list[CorruptArtifact]]:
        """Every whole artifact, oldest first, and an error for each damaged one."""
        found: list[Artifact] = []
        damaged: list[CorruptArtifact] = []
        for path in sorted(self.artifacts.iterdir()):
            try:
                found.append(self.get(path.name))
            except CorruptArtifact as error:
                damaged.append(error)
        found.sort(key=lambda artifact: str(artifact.record.execution.get("finished", "")))
        return found, damaged

    def resolve(self, reference: str) -> Artifact:
        """The artifact called by a name, an id, or the beginning of an id.

        Raises:
            InputError: when nothing or more than one fits.
        """
        named = self.named().get(reference)
        if named is not None:
            return self.get(named)
        fits = [path.name for path in self.artifacts.iterdir() if path.name.startswith(reference)]
        if len(fits) == 1 and reference:
            return self.get(fits[0])
        reason = "several artifacts begin with" if fits else "no artifact is called"
        known = _some(reference, sorted(self.named()))
        raise InputError(f"{reason} '{reference}'; the store has {known}", file=self.root)

    def named(self) -> dict[str, str]:
        """The artifact id under each name."""
        result = {}
        for path in sorted(self.names.rglob("*.json")):
            name = str(path.relative_to(self.names))[: -len(".json")]
            result[name] = files.read_json(path)["id"]
        return result

    def set_name(self, name: str, artifact_id: str) -> None:
        """Lets `name` mean this artifact from now on."""
        path = self.names / f"{name}.json"
        files.require_directory(path.parent)
        if not path.exists() or files.read_json(path) != {"id": artifact_id}:
            files.write_json(path, {"id": artifact_id})

    def publish(self, record: Record) -> Artifact:
        """Makes the finished payload of `record.id` an artifact, all or nothing.

        A crash before the rename leaves work in progress, a crash after it a whole artifact.

        Raises:
            NoSpace: when the disk is full or fails.
        """
        work = self.work / record.id
        payload = work / "payload"
        with files.disk_errors(payload):
            record.write(payload)
            files.sync_tree(payload)
            os.rename(payload, self.path(record.id))
            files.sync_directory(self.artifacts)
        shutil.rmtree(work)
        return self.get(record.id)

    def clear_leftovers(self) -> None:
        """Removes what a killed run or clean left: work already published, files never renamed."""
        for work in self.work.iterdir():
            if work.name.endswith(GONE) or self.has(work.name):
                erase(work)
        for directory in (self.root, self.names, self.plans):
            for temporary in directory.rglob(".*.tmp"):
                if temporary.parent != self.channels:
                    temporary.unlink()
        if left := list(self.channels.glob(".*.tmp")):
            with contextlib.suppress(InputError), self.channels_locked():  # else they are in use
                for temporary in left:
                    temporary.unlink(missing_ok=True)


def erase(path: Path) -> None:
    """Deletes a file, a link (never what it points to) or a directory with all it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _some(wanted: str, names: list[str]) -> str:
    """All names where they are few, else those like `wanted`, or the first."""
    if len(names) <= MOST_TOLD:
        return ", ".join(names) or "nothing yet"
    near = difflib.get_close_matches(wanted, names, MOST_TOLD, 0.5) or names[:MOST_TOLD]
    return f"{', '.join(near)} and {len(names) - len(near)} more (ontogeny list)"


def valid_name(name: str) -> bool:
    """Whether a stage may carry this name: letters, digits, `_`, `.`, `-`, parts split by `/`."""
    return len(name) <= 100 and NAME.fullmatch(name) is not None
