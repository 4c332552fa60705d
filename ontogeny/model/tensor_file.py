"""Named tensors <-> one safetensors file. Knows no model; believes nothing a file says.

Own reader and writer because training state must be byte-deterministic, hashed while it is
written, and because a bad file is one line that names it: every length is checked against the
file's real size before anything is allocated. Nothing here can run code: there is no pickle.

Format: 8 bytes little-endian header length, JSON header, raw little-endian data
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.files import disk_errors

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LONGEST_HEADER = 4 << 20
MOST_TENSORS = 50_000


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Writes and fsyncs `path`; returns the sha256 of its bytes.

    Tensors stand in the order of their names, so equal tensors give equal bytes.

    Raises:
        NoSpace: the disk is full, over quota, read-only or broken; what was written is removed.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    names, offset = sorted(tensors), 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = [memoryview(len(text).to_bytes(8, "little")), memoryview(text)]
    return write_file(path, chain(head, (_bytes_of(tensors[name]) for name in names)))


def write_file(path: Path, pieces: Iterable[memoryview]) -> str:
    """Writes and fsyncs `path`; returns the sha256 of its bytes.

    Raises:
        NoSpace: the disk is full, over quota, read-only or broken; what was written is removed.
    """
    digest = hashlib.sha256()
    with disk_errors(path):
        try:
            with path.open("wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
    return digest.hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Raises:
        CorruptArtifact: the file is missing, is no safetensors file, or its header does not
            describe exactly the bytes that follow it.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > size - 8:
                if prefix[:1] == b"\x80" or prefix[:4] == b"PK\x03\x04":
                    _bad(path, "this is a pickle, not safetensors; pickles are never loaded")
                _bad(path, f"header of {length} bytes in a file of {size}; get the file again")
            if length > LONGEST_HEADER:
                _bad(path, f"header of {length} bytes; at most {LONGEST_HEADER} are read")
            entries = _entries(path, file.read(length), size - 8 - length)
            return {
                name: _tensor(file.read(count), dtype, shape)
                for name, dtype, shape, count in entries
            }
    except OSError as error:
        raise CorruptArtifact(f"cannot read: {error.strerror}", file=path) from error


def _entries(
    path: Path, header: bytes, data_size: int
) -> list[tuple[str, torch.dtype, list[int], int]]:
    """(name, dtype, shape, bytes) in the order of the data; every byte belongs to one tensor."""
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
    rows = sorted((_entry(path, name, entry) for name, entry in table.items()), key=lambda r: r[4:])
    position = 0
    for name, _, _, _, begin, end in rows:
        if begin != position:
            _bad(path, f"tensor {name!r} starts at {begin}, expected {position} (gap or overlap)")
        position = end
    if position != data_size:
        _bad(path, f"{data_size} bytes of data, {position} expected; get the file again")
    return [(name, dtype, shape, count) for name, dtype, shape, count, _, _ in rows]


def _entry(
    path: Path, name: str, entry: object
) -> tuple[str, torch.dtype, list[int], int, int, int]:
    """(name, dtype, shape, bytes, begin, end), checked against itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _bad(path, f"tensor {name!r} has no dtype, shape and data_offsets")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        _bad(path, f"tensor {name!r} has the unknown dtype {entry['dtype']!r}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            _bad(path, f"tensor {name!r} has sizes that are no natural numbers")
    if len(offsets) != 2 or len(shape) > 8:
        _bad(path, f"tensor {name!r} has {len(shape)} dimensions and {len(offsets)} offsets")
    count = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != count:
        _bad(path, f"tensor {name!r} spans {offsets[1] - offsets[0]} bytes, its shape {count}")
    return name, dtype, shape, count, offsets[0], offsets[1]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that names nothing twice."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice")
    return table


def _tensor(data: bytes, dtype: torch.dtype, shape: list[int]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(shape)


def _bytes_of(tensor: Tensor) -> memoryview:
    """The tensor's bytes, without a copy where it is contiguous on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def _bad(path: Path, reason: str) -> NoReturn:
    raise CorruptArtifact(reason, file=path)
