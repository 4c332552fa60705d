"""What makes two artifacts the same: digests of plain values and of the code behind a stage."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
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


@functools.cache
def code_digest(module: str) -> str:
    """A digest of `module`'s source and of all of ours that it mentions, directly or not.

    Nothing is imported. Names in strings count too, so modules behind a lazy `__getattr__` are
    followed.
    """
    package = module.partition(".")[0]
    root = _root(package)
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source(root, name)
        if name in sources or path is None:
            continue
        text = path.read_text(encoding="utf-8")
        sources[name] = hashlib.sha256(text.encode()).hexdigest()
        waiting += _mentioned(text, package)
    return digest(sources)


def _root(package: str) -> Path:
    """The directory that holds `package`, whose modules are looked up by their path."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None, package
    return Path(next(iter(spec.submodule_search_locations))).parent


def _source(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _mentioned(text: str, package: str) -> set[str]:
    names = set(re.findall(rf"\b{package}(?:\.\w+)+", text))
    for parent, imported in re.findall(rf"^from ({package}[\w.]*) import ([\w, ]+)", text, re.M):
        names |= {f"{parent}.{name.strip()}" for name in imported.split(",")}
    return names
