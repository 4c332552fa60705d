"""Half-finished stages: which may be continued, and what differs in those that may not.

A stage is continued only under the same id, that is the same request; anything else becomes
another artifact and the run says which field differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.files import read_json, write_json
from ontogeny.base.store import Store
from ontogeny.run.request import Request

REQUEST = "request.json"


def remember(directory: Path, wanted: Request) -> None:
    """Writes beside the work what was asked for."""
    values = _values(wanted)
    path = directory / REQUEST
    if not path.exists() or read_json(path) != values:
        write_json(path, values)


def is_resumable(directory: Path) -> bool:
    """Whether a killed run left work here that can go on."""
    return (directory / REQUEST).exists() and (directory / "checkpoints").is_dir()


def unfinished_requests(store: Store, wanted: Request) -> list[tuple[str, list[str]]]:
    """Half-finished work under the same name but another id: its id and the differing fields."""
    found = []
    for directory in sorted(store.work.iterdir()):
        if directory.name == wanted.id or not (directory / REQUEST).exists():
            continue
        try:
            other = read_json(directory / REQUEST)
        except CorruptArtifact:
            continue  # torn by a crash: nothing can be said of it, and nothing is taken from it
        if other.get("name") == wanted.name:
            found.append((directory.name, sorted(_differing(other, _values(wanted)))))
    return found


def _values(wanted: Request) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "stage": wanted.stage.stage,
        "version": wanted.stage.version,
        "config": wanted.identity,
        "parents": list(wanted.parents),
        "seed": wanted.seed,
    }


def _differing(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            name
            for key in sorted(old.keys() | new.keys())
            for name in _differing(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if old == new else [path]
