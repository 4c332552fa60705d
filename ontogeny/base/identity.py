"""What makes two artifacts the same: digests of plain values and of the code behind a stage."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
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
    """A digest of `module`'s source and of all of ours that it imports, directly or not.

    Names in strings count too, so modules behind a lazy `__getattr__` are followed.
    """
    package = module.partition(".")[0]
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in sources or path is None:
            continue
        text = path.read_text(encoding="utf-8")
        sources[name] = hashlib.sha256(text.encode()).hexdigest()
        waiting += _mentioned(ast.parse(text), package)
    return digest(sources)


def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _mentioned(tree: ast.AST, package: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(node.value)
    return [name for name in names if name.startswith(package + ".") and " " not in name]
