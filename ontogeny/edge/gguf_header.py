"""What stands in a GGUF file, read from its header alone. Knows no model.

Believes nothing a file says: each count and length is checked against the bytes that are left
before anything is read by it, and every byte of the data belongs to one tensor or its padding. The
gguf library's own reader makes a view of each part of each field and checks none of them.

Format: magic, version, counts; typed keys and values; names, shapes, types and offsets of tensors;
padding; data (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.edge.gguf_library import gguf

MAGIC, VERSIONS = b"GGUF", (2, 3)
MOST_TENSORS, MOST_FIELDS, MOST_STRINGS, MOST_NUMBERS = 50_000, 4096, 1 << 20, 1 << 22
LONGEST_TEXT, LONGEST_NAME = 4 << 20, 4096
AGAIN = "get the file again"

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_STRUCTS = {kind: struct.Struct("<" + letter) for kind, letter in _SCALARS.items()}
_U32, _U64 = _STRUCTS[4], _STRUCTS[10]


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its type, shape (rows first, as numpy has it), and where its bytes are."""

    name: str
    kind: Any
    shape: tuple[int, ...]
    begin: int
    size: int


@dataclass(frozen=True)
class Header:
    """The fields and tensors of a file, and its bytes (mapped, not read)."""

    path: Path
    fields: Mapping[str, Any]
    entries: Mapping[str, Entry]
    data: mmap.mmap


def read_header(path: Path) -> Header:
    """The header of the GGUF file at `path`.

    Raises:
        InputError: there is no such file, or it is of a kind that is not read.
        CorruptArtifact: the header does not describe exactly the bytes of the file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if len(head) < 24 or not head.startswith(MAGIC):
                _bad(path, f"no GGUF file: it begins with {head[:4]!r}; {AGAIN}")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    version, tensors, fields = struct.unpack_from("<IQQ", head, 4)
    if version not in VERSIONS:
        raise InputError(
            f"GGUF of version {version} (or of the other byte order); read are 2 and 3", file=path
        )
    if tensors > MOST_TENSORS or fields > MOST_FIELDS:
        _bad(path, f"{tensors} tensors and {fields} fields are too many; {AGAIN}")
    reader = _Reader(data, path)
    found = reader.fields(fields)
    infos = [reader.tensor() for _ in range(tensors)]
    return Header(path, found, _placed(path, infos, found, reader.at, len(data)), data)


class _Reader:
    """A place in the mapped bytes; nothing is read past their end."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.at, self.size = data, path, 24, len(data)
        self.strings = 0

    def fields(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self.text(LONGEST_NAME)
            if not name or name in found:
                _bad(self.path, f"field {name!r} has no name or stands twice; {AGAIN}")
            found[name] = self.value(self.number(_U32), name)
        return found

    def tensor(self) -> tuple[str, list[int], int, int]:
        """Name, dimensions (fastest first), type and offset."""
        name = self.text(LONGEST_NAME)
        count = self.number(_U32)
        if not 1 <= count <= 4:
            _bad(self.path, f"tensor {name!r} has {count} dimensions; {AGAIN}")
        dimensions = [self.number(_U64) for _ in range(count)]
        return name, dimensions, self.number(_U32), self.number(_U64)

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def take(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if self.at > self.size:
            _bad(self.path, f"ends in its header, at byte {self.size}; {AGAIN}")
        return self.data[begin : self.at]

    def text(self, longest: int) -> str:
        length = self.number(_U64)
        if length > longest:
            _bad(self.path, f"a text of {length} bytes at byte {self.at}; {AGAIN}")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            _bad(self.path, f"a text that is not UTF-8, before byte {self.at}; {AGAIN}")

    def value(self, kind: int, name: str) -> Any:
        if kind == _STRING:
            return self.text(LONGEST_TEXT)
        if kind in _STRUCTS:
            return self.number(_STRUCTS[kind])
        if kind == _ARRAY:
            return self.array(self.number(_U32), self.number(_U64), name)
        _bad(self.path, f"field {name!r} is of the unknown type {kind}; {AGAIN}")

    def array(self, kind: int, count: int, name: str) -> list[Any]:
        if kind in _SCALARS:
            if count > MOST_NUMBERS:
                _bad(self.path, f"field {name!r} has {count} numbers; {AGAIN}")
            dtype = np.dtype("<" + _STRUCTS[kind].format[1:]) if kind != 7 else np.dtype(bool)
            numbers: list[Any] = np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist()
            return numbers
        if kind != _STRING:
            _bad(self.path, f"field {name!r} is an array of the type {kind}; {AGAIN}")
        self.strings += count
        if self.strings > MOST_STRINGS:
            _bad(self.path, f"field {name!r} has {count} texts; {AGAIN}")
        return [self.text(LONGEST_TEXT) for _ in range(count)]


def _placed(
    path: Path,
    infos: list[tuple[str, list[int], int, int]],
    fields: Mapping[str, Any],
    end: int,
    size: int,
) -> dict[str, Entry]:
    """Each tensor with the place of its bytes, which follow each other without gaps."""
    step = fields.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
    if type(step) is not int or not 8 <= step <= 1 << 20 or step & (step - 1):
        _bad(path, f"general.alignment is {step!r}; {AGAIN}")
    start = position = _aligned(end, step)
    found: dict[str, Entry] = {}
    for name, dimensions, number, offset in infos:
        if name in found or not name:
            _bad(path, f"tensor {name!r} has no name or stands twice; {AGAIN}")
        if start + offset != position:
            _bad(path, f"tensor {name!r} starts at {offset}, expected {position - start}; {AGAIN}")
        kind, count = _bytes(path, name, dimensions, number)
        found[name] = Entry(name, kind, tuple(reversed(dimensions)), position, count)
        if position + count > size:
            _bad(path, f"{size} bytes, tensor {name!r} ends at {position + count}; {AGAIN}")
        position = _aligned(position + count, step)
    if size > position:
        _bad(path, f"{size - position} bytes after the last tensor belong to none; {AGAIN}")
    return found


def _bytes(path: Path, name: str, dimensions: list[int], number: int) -> tuple[Any, int]:
    """A tensor's type and how many bytes it takes."""
    try:
        kind = gguf.GGMLQuantizationType(number)
    except ValueError:
        _bad(path, f"tensor {name!r} is of the unknown type {number}; {AGAIN}")
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    elements = math.prod(dimensions)
    if not 0 < elements < 1 << 48 or dimensions[0] % block:
        shape = list(reversed(dimensions))
        _bad(path, f"tensor {name!r} of shape {shape} in blocks of {block} numbers; {AGAIN}")
    return kind, elements // block * block_bytes


def _aligned(position: int, step: int) -> int:
    return -(-position // step) * step


def _bad(path: Path, reason: str) -> NoReturn:
    raise CorruptArtifact(reason, file=path)
