"""Parquet files of one page whose headers say whatever a test wants them to say.

Knows Thrift's compact protocol and the few structures of parquet.thrift that one column needs.
"""

from __future__ import annotations

import zlib
from typing import Any

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12


def varint(value: int) -> bytes:
    """An unsigned number, seven bits to a byte, the low ones first."""
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _value(kind: int, value: Any) -> bytes:
    """A value in Thrift's compact protocol, which Parquet's headers are written in."""
    if kind in (I32, I64):
        return varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind == BINARY:
        return varint(len(value)) + bytes(value)
    if kind == LIST:
        inner, items = value
        size = bytes([0xF0 | inner]) + varint(len(items))
        return size + b"".join(_value(inner, item) for item in items)
    return bytes(value)


def _struct(*fields: tuple[int, int, Any]) -> bytes:
    out, before = b"", 0
    for number, kind, value in fields:
        out += bytes([(number - before) << 4 | kind]) + _value(kind, value)
        before = number
    return out + b"\0"


def by_hand(
    *,
    rows: int = 1,
    page_values: int | None = None,
    page: bytes = b"\x05\0\0\0hello",
    unpacked: int | None = None,
    crc: int | None = None,
    codec: int = 0,
    depth: int = 0,
    optional: bool = False,
) -> bytes:
    """A file of one column `text`, its headers as false as is asked for."""
    size = len(page) if unpacked is None else unpacked
    checksum = zlib.crc32(page) if crc is None else crc
    signed = checksum - (1 << 32) if checksum >> 31 else checksum
    data = _struct(
        (1, I32, rows if page_values is None else page_values),
        (2, I32, 0),
        (3, I32, 3),
        (4, I32, 3),
    )
    header = _struct(
        (1, I32, 0), (2, I32, size), (3, I32, len(page)), (4, I32, signed), (5, STRUCT, data)
    )
    body = b"PAR1" + header + page
    groups = [_struct((3, I32, 1), (4, BINARY, b"g"), (5, I32, 1)) for _ in range(depth)]
    leaf = _struct((1, I32, 6), (3, I32, int(optional)), (4, BINARY, b"text"), (6, I32, 0))
    schema = [_struct((4, BINARY, b"root"), (5, I32, 1)), *groups, leaf]
    column = _struct(
        (1, I32, 6),
        (2, LIST, (I32, [0])),
        (3, LIST, (BINARY, [b"g"] * depth + [b"text"])),
        (4, I32, codec),
        (5, I64, rows),
        (6, I64, len(header) + size),
        (7, I64, len(header) + len(page)),
        (9, I64, 4),
    )
    chunk = _struct((2, I64, 4), (3, STRUCT, column))
    group = _struct((1, LIST, (STRUCT, [chunk])), (2, I64, len(header) + size), (3, I64, rows))
    footer = _struct(
        (1, I32, 2), (2, LIST, (STRUCT, schema)), (3, I64, rows), (4, LIST, (STRUCT, [group]))
    )
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"
