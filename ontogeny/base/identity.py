"""What makes two artifacts the same: digests of plain values and of the code behind a stage."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

ID_LENGTH = 16


def canonical(value: Any) -> str:
    """`value` as JSON with one spelling: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """The sha256 (64 hex digits) of a plain value's canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def artifact_id(stage: str, version: int, config: Any, parents: list[str], seed: int) -> str:
    """The id of what `stage` makes from `parents` (ids, in order) under `config` and `seed`."""
    request = {
        "stage": stage,
        "version": version,
        "config": config,
        "parents": parents,
        "seed": seed,
    }
    return digest(request)[:ID_LENGTH]


PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def code_digest(file: Path) -> str:
    """A digest of the source in `file` and of all modules of ours that it mentions, recursively.

    Nothing is imported. Names in strings count too, so modules behind a lazy `__getattr__` are
    followed. `file` may be a user's recipe that defines a stage of its own.
    """
    sources: dict[str, str] = {}
    waiting = {str(file): file}
    while waiting:
        name, path = waiting.popitem()
        key = str(path.relative_to(PACKAGE_ROOT)) if name != str(file) else ""
        sources[key], mentioned = _read(path)
        for module, found, found_key in mentioned:
            if found_key not in sources:
                waiting[module] = found
    return digest(sources)


@functools.cache
def _read(path: Path) -> tuple[str, list[tuple[str, Path, str]]]:
    """sha256 of a source, and (module, file, key) of the modules of ours that it mentions."""
    text = path.read_text(encoding="utf-8")
    found = [(module, _source(module)) for module in sorted(_mentioned(text))]
    return hashlib.sha256(text.encode()).hexdigest(), [
        (module, source, str(source.relative_to(PACKAGE_ROOT)))
        for module, source in found
        if source is not None
    ]


@functools.cache
def _source(module: str) -> Path | None:
    path = PACKAGE_ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _mentioned(text: str) -> set[str]:
    names = set(re.findall(r"\bontogeny(?:\.\w+)+", text))
    imports = r"^from (ontogeny[\w.]*) import (?:\(([^)]*)\)|([\w, ]+))"
    for parent, several, one in re.findall(imports, text, re.MULTILINE):
        names |= {f"{parent}.{name}" for name in re.findall(r"\w+", several or one)}
    return names
