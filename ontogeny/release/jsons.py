"""JSON from strangers: one object, no key twice, numbers that are finite. Knows no bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from ontogeny.base.errors import CorruptArtifact


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in these bytes of `path`.

    Raises:
        CorruptArtifact: no UTF-8, no JSON, no object, a key twice, NaN or infinity.
    """
    try:
        values = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_finite
        )
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        reason = str(error).splitlines()[0]
        raise CorruptArtifact(f"no JSON that we write: {reason}", file=path, line=line) from None
    if not isinstance(values, dict):
        raise CorruptArtifact("no JSON object", file=path)
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice")
    return table


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
