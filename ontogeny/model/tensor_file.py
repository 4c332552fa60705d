"""Named tensors <-> one safetensors file. Knows no model; believes nothing a file says.

Own reader and writer because training state must be byte-deterministic, hashed while it is
written, and because a bad file is one line that names it (`ontogeny.base.tensor_header`). Nothing
here can run code: there is no pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ontogeny.base.errors import CorruptArtifact, printable
from ontogeny.base.files import disk_errors
from ontogeny.base.tensor_header import ITEM_BYTES, read_header

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
assert DTYPES.keys() == ITEM_BYTES.keys()


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
            return {
                entry.name: _tensor(file.read(entry.size), DTYPES[entry.dtype], entry.shape)
                for entry in read_header(file, path)
            }
    except OSError as error:
        raise CorruptArtifact(f"cannot read: {error.strerror}", file=path) from error


def fill(
    targets: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    file: Path,
    *,
    remedy: str,
    any_float: bool = False,
) -> None:
    """Copies `found` into `targets`, all or nothing.

    Args:
        file: where `found` comes from, named in errors.
        remedy: what it means that names or shapes differ.
        any_float: other floating types than the target's are taken, too.

    Raises:
        CorruptArtifact: a name missing or too many; a wrong shape or dtype; a value that is no
            finite number.
    """
    for name in sorted(found.keys() ^ targets.keys()):
        what = "is missing" if name in targets else "does not belong here"
        raise CorruptArtifact(f"tensor '{printable(name)}' {what}; {remedy}", file=file)
    for name, target in targets.items():
        source = found[name]
        fits = source.dtype == target.dtype or (any_float and source.is_floating_point())
        if source.shape != target.shape or not fits:
            raise CorruptArtifact(
                f"tensor '{name}' is {source.dtype} {list(source.shape)}, expected "
                f"{target.dtype} {list(target.shape)}; {remedy}",
                file=file,
            )
        if not bool(torch.isfinite(source).all()):
            raise CorruptArtifact(f"tensor '{name}' holds NaN or infinity", file=file)
    for name, target in targets.items():
        target.copy_(found[name])


def _tensor(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).view(shape)


def _bytes_of(tensor: Tensor) -> memoryview:
    """The tensor's bytes, without a copy where it is contiguous on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")
