"""A model's form, numbers and tokenizer -> a GGUF file that llama.cpp loads. Knows no store.

One tensor is in memory at a time. The file has another name until it is whole and on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ontogeny.base.errors import InputError
from ontogeny.base.files import disk_errors, require_space, sync_directory
from ontogeny.edge.gguf_arch import arch_of, channel_factors
from ontogeny.edge.gguf_fields import fields_from_shape
from ontogeny.edge.gguf_library import gguf
from ontogeny.edge.gguf_names import (
    EMBEDDING,
    FACTORS,
    OUTPUT,
    Floats,
    theirs_of_ours,
    to_gguf,
)
from ontogeny.plan.shape import Shape

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
"""What matrices may be written in, and llama.cpp's number for a file of it."""
QUANTISATION_VERSION = 2
STEP = gguf.GGUF_DEFAULT_ALIGNMENT
SPARE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of the file: its names, its type there, and how many bytes it takes."""

    theirs: str
    ours: str
    shape: tuple[int, ...]
    kind: Any
    size: int


def write_gguf(
    path: Path,
    shape: Shape,
    shapes: Mapping[str, tuple[int, ...]],
    load: Callable[[str], Floats],
    fields: Mapping[str, Any],
    dtype: str = "f16",
) -> int:
    """Writes a model as a GGUF file, whole or not at all; how many bytes it has.

    Args:
        shapes: Hugging Face name -> shape of every tensor.
        load: the float32 numbers of one of them.
        fields: `tokenizer.*` and `general.*`; lists are of one kind, whole numbers unsigned.
        dtype: of the matrices, a key of `FILE_TYPES`. Norms and biases stay float32; with q8_0 a
            matrix whose rows are no blocks of 32 is float16.

    Raises:
        InputError: llama.cpp cannot compute this shape, or a number is too large for float16.
        NoSpace: the disk is full or fails; nothing is left at `path`.
    """
    every = {"general.file_type": FILE_TYPES[dtype], **fields_from_shape(shape), **fields}
    if dtype == "q8_0":
        every["general.quantization_version"] = QUANTISATION_VERSION
    tensors = _tensors(shape, shapes, dtype)
    parent = path.absolute().parent
    require_space(parent, sum(each.size + STEP for each in tensors) + SPARE_BYTES)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            writer = gguf.GGUFWriter(temporary, arch_of(shape).name)
            for name, value in every.items():
                _add(writer, name, value)
            for each in tensors:
                float32 = np.dtype(np.float32)  # the shape is that of numbers, not of bytes
                writer.add_tensor_info(each.theirs, each.shape, float32, each.size, each.kind)
            try:
                size = _write(writer, shape, tensors, load)
            finally:
                writer.close()
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(parent)
    return size


def _tensors(shape: Shape, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> list[_Tensor]:
    found = []
    for ours, theirs in theirs_of_ours(shape).items():
        if ours in shapes:
            found.append(_tensor(theirs, ours, shapes[ours], dtype))
    if shape.tied and arch_of(shape).head_needed:
        found.append(_tensor(OUTPUT, EMBEDDING, shapes[EMBEDDING], dtype))
    if shape.rope.method == "llama3":
        found.append(_tensor(FACTORS, FACTORS, (shape.head_dim // 2,), dtype))
    missing = sorted(shapes.keys() - {each.ours for each in found})
    assert not missing, missing
    return found


def _tensor(theirs: str, ours: str, shape: tuple[int, ...], dtype: str) -> _Tensor:
    wanted = dtype if len(shape) > 1 else "f32"
    if wanted == "q8_0" and shape[-1] % 32:
        wanted = "f16"
    kind = gguf.GGMLQuantizationType[wanted.upper()]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    return _Tensor(theirs, ours, shape, kind, int(np.prod(shape)) // block * block_bytes)


def _add(writer: Any, name: str, value: Any) -> None:
    """Adds a field under the type that llama.cpp reads it as."""
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, list(value))


def _write(writer: Any, shape: Shape, tensors: list[_Tensor], load: Callable[[str], Floats]) -> int:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    file: BinaryIO = writer.fout[0]
    for each in tensors:
        if each.ours == FACTORS:
            values = np.array(channel_factors(shape.rope, shape.rope_base, shape.head_dim))
        else:
            values = to_gguf(shape, each.ours, load(each.ours))
        # numpy's tofile, which the library uses, tells no reason when the disk is full
        file.write(bytes(-file.tell() % STEP))
        file.write(_encoded(each, values))
    file.write(bytes(-file.tell() % STEP))
    file.flush()
    os.fsync(file.fileno())
    return file.tell()


def _encoded(tensor: _Tensor, values: Floats) -> bytes:
    """The bytes of a tensor in its type.

    Raises:
        InputError: a number is too large for float16.
    """
    with np.errstate(over="ignore"):
        data = gguf.quants.quantize(values.astype(np.float32, copy=False), tensor.kind)
    if data.dtype == np.float16 and not np.isfinite(data).all():
        largest = float(np.abs(values).max())
        raise InputError(
            f"tensor {tensor.ours!r} holds {largest:.4g}, too large for float16; give --dtype f32"
        )
    assert data.nbytes == tensor.size, tensor
    return data.tobytes()
