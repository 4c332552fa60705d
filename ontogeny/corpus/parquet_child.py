"""A program of its own: the Parquet file on standard input as lines on standard output.

Knows nothing of the package and imports nothing of it, so it runs as a file from any folder. It
parses foreign bytes with a large library, hence in a process that may use little memory and time,
writes no file and whose crash costs one file. `corpus/parquet.py` starts it and reads its lines:

    +                              limits are set, the file will be opened
    R{...}                         one row, as JSON with NaN allowed
    S["reason", "detail"]          one row that cannot be told
    X["reason", "detail", [...]]   the file cannot be read (further); its columns, where asked for
    .                              the end

    python -P parquet_child.py MEMORY_BYTES CPU_SECONDS COLUMN_AS_JSON_OR_NULL < FILE
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_BYTES = 4 << 20
BATCH_ROWS = 256
EXTENSION = b"ARROW:extension:name"
# What pyarrow and the conversion to Python raise about a file; anything else is our own mistake.
FAULTS = (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError)

Convert = Callable[[Any], Any]


class Refused(Exception):
    """The file is not read: reason, detail and perhaps the columns that it has."""


def main() -> None:
    """Reads standard input under the limits that the arguments give."""
    memory, seconds, column = (json.loads(word) for word in sys.argv[1:4])
    limit(memory, seconds)
    out = open(1, "wb", buffering=1 << 16, closefd=False)  # noqa: SIM115
    out.write(b"+\n")
    out.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what a crash prints is nobody's concern
    try:
        tell(out, column)
        last = b".\n"
    except Refused as refusal:
        last = _line(b"X", refusal.args)
    except MemoryError:
        last = _line(b"X", ("parquet_bomb", f"needs more than {memory >> 20} MB of memory"))
    except FAULTS as fault:
        last = _line(b"X", ("broken_parquet", _words(fault)))
    out.write(last)
    out.flush()


def limit(memory: int, seconds: int) -> None:
    """`memory` bytes on top of what is in use, so much processor time, no files, no cores."""
    _set(resource.RLIMIT_CPU, seconds)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    # Where a system does not tell (macOS), it does not hold to this limit either.
    with contextlib.suppress(OSError):
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        _set(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _set(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    # Past the soft limit of time comes a signal that tells, past the hard one a plain kill.
    slack = 5 if what == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
    resource.setrlimit(what, (most, most + slack))


def tell(out: BinaryIO, column: str | None) -> None:
    """Writes every row, or only its `column`.

    Raises:
        Refused: no such column, or columns that are not told apart.
    """
    file = pq.ParquetFile(
        os.fdopen(0, "rb"),
        page_checksum_verification=True,
        pre_buffer=False,
        buffer_size=1 << 20,
        thrift_string_size_limit=16 << 20,
        thrift_container_size_limit=1_000_000,
    )
    converts = _columns(file.schema_arrow, column)
    count = 0
    for batch in file.iter_batches(
        batch_size=_batch_rows(file.metadata), columns=list(converts), use_threads=False
    ):
        for line in _told(batch, converts):
            out.write(line)
        out.flush()  # what stands before a fault is told whenever the fault comes
        count += batch.num_rows
    if count != file.metadata.num_rows:
        promised = file.metadata.num_rows
        raise Refused("broken_parquet", f"promises {promised} rows and holds {count}")


def _batch_rows(metadata: Any) -> int:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    mean: int = sum(group.total_byte_size for group in groups) // max(metadata.num_rows, 1)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(mean, 1)))


def _columns(schema: pa.Schema, wanted: str | None) -> dict[str, Convert | None]:
    """The columns to read, with what makes JSON of their values."""
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise Refused("duplicate_key", f"column {twice[0]!r} stands twice")
    if wanted is not None and wanted not in schema.names:
        raise Refused("no_text", "", schema.names)
    fields = [field for field in schema if wanted in (None, field.name)]
    plain = {field.name: converter(field.type) for field in fields if is_plain(field)}
    if not plain and wanted is not None:
        raise Refused("text_not_a_string", f"{wanted!r} is {fields[0].type}")
    if not plain:
        raise Refused("no_columns", "no column holds text, numbers, lists or structs of them")
    return plain


def is_plain(field: pa.Field) -> bool:
    """Whether JSON can say what is in `field`: no binary, date, decimal or extension in it."""
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType) or EXTENSION in (field.metadata or {}):
        return False
    if pa.types.is_dictionary(kind):
        return is_plain(pa.field("", kind.value_type))
    if pa.types.is_map(kind):
        return _is_text(kind.key_type) and is_plain(kind.item_field)
    if pa.types.is_struct(kind):
        inner = [kind.field(place) for place in range(kind.num_fields)]
        return len({each.name for each in inner}) == len(inner) and all(map(is_plain, inner))
    if _is_list(kind):
        return is_plain(kind.value_field)
    return (
        _is_text(kind)
        or pa.types.is_null(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_float32(kind)
        or pa.types.is_float64(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    of = pa.types
    return bool(of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    of = pa.types
    return bool(of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind))


def converter(kind: pa.DataType) -> Convert | None:
    """What makes an object of each map in a value; None where there is no map in `kind`."""
    if pa.types.is_map(kind):
        return _map(converter(kind.item_type) or _same)
    if _is_list(kind):
        inside = converter(kind.value_type)
        return None if inside is None else _list(inside)
    if pa.types.is_struct(kind):
        found = {field.name: converter(field.type) for field in kind}
        with_map = {name: inside for name, inside in found.items() if inside is not None}
        return _struct(with_map) if with_map else None
    return None


def _same(value: Any) -> Any:
    return value


def _map(inside: Convert) -> Convert:
    def convert(pairs: Any) -> Any:
        if pairs is None:
            return None
        made = {key: inside(value) for key, value in pairs}
        if len(made) != len(pairs):
            raise Refused("duplicate_key", "a key stands twice in one map")
        return made

    return convert


def _list(inside: Convert) -> Convert:
    return lambda values: None if values is None else [inside(value) for value in values]


def _struct(inside: dict[str, Convert]) -> Convert:
    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {
            name: inside[name](each) if name in inside else each for name, each in value.items()
        }

    return convert


def _told(batch: pa.RecordBatch, converts: dict[str, Convert | None]) -> Iterator[bytes]:
    """The lines of a batch; where one of its rows cannot be told, row by row."""
    try:
        lines = list(_rows(batch, converts))
    except (ValueError, RecursionError, Refused):
        if batch.num_rows > 1:
            for number in range(batch.num_rows):
                yield from _told(batch.slice(number, 1), converts)
            return
        try:
            lines = list(_rows(batch, converts))
        except Refused as refusal:
            lines = [_line(b"S", refusal.args)]
        except UnicodeDecodeError as fault:
            lines = [_line(b"S", ("not_utf8", f"byte {fault.start} is no UTF-8"))]
        except RecursionError:
            lines = [_line(b"S", ("nested_too_deeply", "nested past Python's limit"))]
        except ValueError as fault:
            lines = [_line(b"S", ("broken_parquet", _words(fault)))]
    yield from lines


def _rows(batch: pa.RecordBatch, converts: dict[str, Convert | None]) -> Iterator[bytes]:
    columns = []
    for name, convert in converts.items():
        values = batch.column(name).to_pylist()
        columns.append(values if convert is None else list(map(convert, values)))
    for row in zip(*columns, strict=True):
        yield _line(b"R", dict(zip(converts, row, strict=True)))


def _line(kind: bytes, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return kind + text.encode("utf-8", "replace") + b"\n"


def _words(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:200] or type(fault).__name__


if __name__ == "__main__":
    main()
