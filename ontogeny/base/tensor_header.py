"""What stands in a safetensors file, read from its header alone. Knows no model and no torch.

Believes nothing a file says: every length is checked against the file's real size before anything
is allocated, and every byte of the data belongs to exactly one tensor.

Format: 8 bytes little-endian header length, JSON header, raw little-endian data
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ontogeny.base.errors import CorruptArtifact

ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
LONGEST_HEADER = 4 << 20
MOST_TENSORS = 50_000
PICKLES = (b"\x80", b"PK\x03\x04")
"""How a pickle begins, and the zip archive in which torch.save puts one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its name, dtype (a key of ITEM_BYTES), shape, and how many bytes it takes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(file: BinaryIO, path: Path) -> list[Entry]:
    """The tensors of an open safetensors file in the order of the data, where `file` then stands.

    Raises:
        CorruptArtifact: it is no safetensors file, or its header does not describe exactly the
            bytes that follow it; `path` is named.
    """
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        if prefix.startswith(PICKLES):
            _bad(path, "this is a pickle, not safetensors; pickles are never loaded")
        _bad(path, f"header of {length} bytes in a file of {size}; get the file again")
    if length > LONGEST_HEADER:
        _bad(path, f"header of {length} bytes; at most {LONGEST_HEADER} are read")
    return _entries(path, file.read(length), size - 8 - length)


def _entries(path: Path, header: bytes, data_size: int) -> list[Entry]:
    try:
        table = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        _bad(path, f"header is no JSON: {str(error).splitlines()[0]}")
    if not isinstance(table, dict):
        _bad(path, "header is no JSON object")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _bad(path, "metadata is no table of strings")
    if len(table) > MOST_TENSORS:
        _bad(path, f"{len(table)} tensors; at most {MOST_TENSORS} are read")
    rows = sorted(
        (_entry(path, name, value) for name, value in table.items()), key=lambda row: row[1:]
    )
    position = 0
    for entry, begin, end in rows:
        if begin != position:
            _bad(
                path,
                f"tensor {entry.name!r} starts at {begin}, expected {position} (gap or overlap)",
            )
        position = end
    if position != data_size:
        _bad(path, f"{data_size} bytes of data, {position} expected; get the file again")
    return [entry for entry, _, _ in rows]


def _entry(path: Path, name: str, value: object) -> tuple[Entry, int, int]:
    """The tensor, where its bytes begin and where they end, checked against itself."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        _bad(path, f"tensor {name!r} has no dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        _bad(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            _bad(path, f"tensor {name!r} has sizes that are no natural numbers")
    if len(offsets) != 2 or len(shape) > 8:
        _bad(path, f"tensor {name!r} has {len(shape)} dimensions and {len(offsets)} offsets")
    size = math.prod(shape) * ITEM_BYTES[dtype]
    if offsets[1] - offsets[0] != size:
        _bad(path, f"tensor {name!r} spans {offsets[1] - offsets[0]} bytes, its shape {size}")
    return Entry(name, dtype, tuple(shape), size), offsets[0], offsets[1]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that names nothing twice."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice")
    return table


def _bad(path: Path, reason: str) -> NoReturn:
    raise CorruptArtifact(reason, file=path)
