"""Everything that lies in a store, whole or not. Changes nothing, knows no stage, never fails at
what is damaged: it is part of the inventory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ontogeny.base import files
from ontogeny.base.artifact import RECORD, Record
from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.store import GONE, Store, valid_name

ID = re.compile(r"[0-9a-f]{16}")
REQUEST = "request.json"
COMPLETE = "complete.json"
GIVEN_UP = f".name{GONE}"
ERASED = "erased.json"
RELEASES_KEPT = 5
"""Artifacts that a channel last made live and that stay, so that it can be rolled back."""


@dataclass(frozen=True)
class Entry:
    """One directory below artifacts/, `size` in bytes.

    `error` is None when every file is there with its size; `record` is None when it cannot be
    trusted, and then nobody knows what the artifact was made from.
    """

    id: str
    path: Path
    size: int
    record: Record | None
    error: CorruptArtifact | None

    @property
    def finished(self) -> datetime | None:
        """When it was made, None when its record does not say."""
        with contextlib.suppress(ValueError):
            told = self.record.execution.get("finished") if self.record else None
            return datetime.fromisoformat(str(told)).astimezone(UTC) if told else None
        return None


@dataclass(frozen=True)
class Unfinished:
    """What a killed or running stage has below work/ID, `size` in bytes.

    `resumable`: a complete checkpoint stands, so the same command goes on from it; without one
    a run begins the stage again. `touched` is the time of the last checkpoint.
    """

    id: str
    path: Path
    size: int
    name: str | None
    parents: tuple[str, ...]
    resumable: bool
    touched: datetime


@dataclass(frozen=True)
class Erased:
    """What is still known of an artifact that was erased because somebody wished to be forgotten.

    `users` are all pseudonyms that it named: whose words a model has learnt is asked again later.
    """

    kind: str
    parents: list[str]
    users: list[str]


@dataclass(frozen=True)
class Inventory:
    """A store as it was found.

    `unreadable` are names whose file does not say what they mean; `given_up` are names that a
    killed clean had already removed; `foreign` is what no version of ours puts there; `channels`
    are the artifacts that each channel needs, None where its file does not say; `erased` were
    deleted because somebody wished to be forgotten.
    """

    entries: dict[str, Entry]
    names: dict[str, str]
    unreadable: dict[str, CorruptArtifact]
    given_up: set[str]
    unfinished: list[Unfinished]
    leftovers: list[Path]
    foreign: list[Path]
    channels: dict[str, list[str] | None]
    erased: dict[str, Erased] = field(default_factory=dict)

    def names_of(self, artifact_id: str) -> list[str]:
        """The names that mean this artifact now."""
        return [name for name, meant in self.names.items() if meant == artifact_id]


def take_inventory(store: Store) -> Inventory:
    """Looks at every directory of `store`; a file's content is not read, its size is."""
    names, unreadable = _names(store)
    artifacts, works = _listing(store.artifacts), _listing(store.work)
    entries = [_entry(store, path) for path in artifacts if _ours(path)]
    gone = [path for path in works if path.name.endswith(GONE)]
    return Inventory(
        entries={entry.id: entry for entry in entries},
        names=names,
        unreadable=unreadable,
        given_up={
            unquote(path.name.removesuffix(GIVEN_UP))
            for path in gone
            if path.name.endswith(GIVEN_UP)
        },
        unfinished=[_unfinished(path) for path in works if _ours(path)],
        leftovers=[*gone, *_temporary(store)],
        foreign=[path for path in [*artifacts, *works] if not _ours(path) and path not in gone],
        channels={path.stem: _needed(path) for path in sorted(store.channels.glob("*.json"))},
        erased=_erased(store),
    )


def _erased(store: Store) -> dict[str, Erased]:
    with contextlib.suppress(CorruptArtifact):  # then what is missing counts as damage
        return read_erased(store)
    return {}


def read_erased(store: Store) -> dict[str, Erased]:
    """What was erased on request, by id.

    Raises:
        CorruptArtifact: the file is not what was written.
    """
    path = store.root / ERASED
    if not path.exists():
        return {}
    told: Any = files.read_json(path)
    try:
        return {id_: Erased(**row) for id_, row in told.items()}
    except (AttributeError, TypeError):
        raise CorruptArtifact("not the list of what was erased; put it back", file=path) from None


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory; links count as themselves."""
    total = 0
    with contextlib.suppress(FileNotFoundError):  # a run may be moving things meanwhile
        total = 0 if path.is_dir() and not path.is_symlink() else path.lstat().st_size
    for parent, _, names in os.walk(path) if not path.is_symlink() else ():
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def holder(store: Store) -> dict[str, Any] | None:
    """What the process that now writes to `store` says of itself (pid, command); None: nobody.

    The lock is tried only where a holder has left words, so looking cannot keep a run from
    starting in a store that was left in order.
    """
    with contextlib.suppress(OSError, ValueError), open(store.root / "lock", "rb") as file:
        words = json.loads(file.read(1 << 16))
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return words if isinstance(words, dict) else {}
    return None


def _listing(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _ours(path: Path) -> bool:
    return ID.fullmatch(path.name) is not None


def _temporary(store: Store) -> Iterator[Path]:
    """Files that a killed process never renamed; an artifact's own are the artifact's business."""
    yield from sorted(store.root.glob(".*.tmp"))
    for directory in (store.names, store.channels, store.plans, store.root / "reports"):
        yield from sorted(directory.rglob(".*.tmp"))


def _entry(store: Store, path: Path) -> Entry:
    record: Record | None = None
    error: CorruptArtifact | None = None
    try:
        record = store.get(path.name).record
    except CorruptArtifact as damage:
        error = damage
        with contextlib.suppress(CorruptArtifact):  # its seal tells whether it can be trusted
            record = Record.read(path)
    except OSError as damage:
        error = CorruptArtifact(
            f"cannot be read ({damage.strerror})", file=damage.filename or path / RECORD
        )
    if record is not None and record.id != path.name:
        record = None
    return Entry(path.name, path, size_of(path), record, error)


def _names(store: Store) -> tuple[dict[str, str], dict[str, CorruptArtifact]]:
    names: dict[str, str] = {}
    unreadable: dict[str, CorruptArtifact] = {}
    for path in sorted(store.names.rglob("*.json")):
        if path.is_dir():
            continue
        name = str(path.relative_to(store.names)).removesuffix(".json")
        try:
            value = files.read_json(path)
        except CorruptArtifact:
            value = None
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            names[name] = value["id"]
        else:
            unreadable[name] = CorruptArtifact(
                "does not say which artifact this name means; run the recipe again after "
                "deleting the file, or give the name up by `ontogeny clean --drop`",
                file=path,
            )
    return names, unreadable


def _needed(channel: Path) -> list[str] | None:
    """What a channel's file (`feedback.channel`) names: who answers, and who did before."""
    try:
        told = files.read_json(channel)
        past = told["history"][::-1]
        releases = list(dict.fromkeys(each["live"] for each in past))[:RELEASES_KEPT]
        gates = [each["gate"] for each in past if each["live"] in releases and each["gate"]]
        tried = [told[arm]["model"] for arm in ("canary", "shadow") if told[arm]]
        found = list(dict.fromkeys([told["live"], *releases, *gates, *tried]))
    except (CorruptArtifact, KeyError, TypeError):
        return None
    return found if all(isinstance(each, str) for each in found) else None


def _unfinished(path: Path) -> Unfinished:
    name: str | None = None
    parents: tuple[str, ...] = ()
    try:
        request = files.read_json(path / REQUEST)
        if valid_name(request["name"]) and all(ID.fullmatch(each) for each in request["parents"]):
            name, parents = request["name"], tuple(request["parents"])
    except (CorruptArtifact, KeyError, TypeError):
        pass  # torn by a crash: nothing can be said of it, and a run begins it again
    saved = [kept for kept in _listing(path / "checkpoints") if _complete(kept)]
    times = [0.0]
    for kept in (path, *saved):
        with contextlib.suppress(FileNotFoundError):
            times.append(kept.stat().st_mtime)
    return Unfinished(
        id=path.name,
        path=path,
        size=size_of(path),
        name=name,
        parents=parents,
        resumable=name is not None and bool(saved),
        touched=datetime.fromtimestamp(max(times), UTC),
    )


def _complete(checkpoint: Path) -> bool:
    """Whether a stage may go on from this; what is not known to be partial may be of use."""
    if checkpoint.name.startswith("step-"):
        return (checkpoint / COMPLETE).is_file()
    return not checkpoint.name.startswith(".")
