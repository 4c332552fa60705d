"""The rows of a Parquet file, read by a limited process of its own.

Knows the lines that `parquet_child.py` writes and nothing of the format but its first and last
four bytes. Whatever the file does to its reader (a crash, no end, too much) becomes a reason that
is counted; the memory of this process does not grow with the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ontogeny.base.errors import NoSpace, OntogenyError
from ontogeny.corpus import decode, parquet_child
from ontogeny.corpus.decode import BOMB_FLOOR_BYTES, BOMB_RATIO, Unreadable
from ontogeny.corpus.jsonl import FROM_A_TABLE, no_column, row_object

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
MIN_BYTES = 12
MEMORY_BYTES = 512 << 20
CPU_SECONDS = 60
CPU_BYTES_A_SECOND = 1 << 20
SILENCE_SECONDS = 120.0
PIPE_BYTES = 1 << 16


def parquet_rows(
    path: Path, column: str | None = None
) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
    """(1-based number, row) for every row; of a row that cannot be told, why.

    Columns that JSON cannot say (binary, dates, decimals, extensions) are left out, NaN is None,
    a map is an object, a dictionary-encoded string is a string. Which rows come before a fault
    depends on the file alone.

    Args:
        path: a file.
        column: read this column only.

    Raises:
        Unreadable: `unreadable`, `not_a_file`, `broken_parquet`, `parquet_bomb`, `no_columns`,
            `duplicate_key`, `nested_too_deeply`, `no_text`, `text_not_a_string`.
        NoSpace: the machine ran out of memory.
    """
    with open(decode.open_regular(path), "rb") as file:
        size = _check_ends(file)
        child = _start(file, size, column)
        try:
            yield from _rows(child, size, column)
        finally:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def _check_ends(file: IO[bytes]) -> int:
    """The size of the file; most of what is no Parquet is refused here without a process."""
    size = os.fstat(file.fileno()).st_size
    try:
        ends = (file.read(4), os.pread(file.fileno(), 4, max(size - 4, 0)))
        file.seek(0)
    except OSError as error:
        raise Unreadable("unreadable", error.strerror or "cannot be read") from error
    if ENCRYPTED in ends:
        raise Unreadable("broken_parquet", "is encrypted; decrypt it first")
    if size < MIN_BYTES or ends != (MAGIC, MAGIC):
        what = "begins" if ends[0] != MAGIC else "ends"
        raise Unreadable("broken_parquet", f"is no whole Parquet file: it {what} without PAR1")
    return size


def _start(file: IO[bytes], size: int, column: str | None) -> subprocess.Popen[bytes]:
    seconds = _seconds(size)
    return subprocess.Popen(
        [
            *(sys.executable, "-P", parquet_child.__file__),
            *(str(MEMORY_BYTES), str(seconds), json.dumps(column)),
        ],
        stdin=file,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={
            **os.environ,
            # mimalloc reserves a gigabyte of addresses, threads and their arenas more.
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "ARROW_IO_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        },
        start_new_session=True,  # Ctrl-C is for us; a reader it killed would look like a bad file
    )


def _seconds(size: int) -> int:
    return CPU_SECONDS + size // CPU_BYTES_A_SECOND


def _rows(
    child: subprocess.Popen[bytes], size: int, column: str | None
) -> Iterator[tuple[int, dict[str, Any] | Unreadable]]:
    number = told = 0
    ready = False
    most = max(BOMB_FLOOR_BYTES, BOMB_RATIO * size)
    for _, line in decode.lines(_chunks(child)):
        told += decode.MAX_DOCUMENT_BYTES if line is None else len(line)
        if told > most:  # counted by lines, since how they arrive differs from time to time
            raise Unreadable(
                "parquet_bomb", f"{size} bytes unpack to more than {most}; unpack it if meant"
            )
        kind = b"R" if line is None else line[:1]
        if kind == b"+":
            ready = True
        elif kind == b".":
            return
        elif kind == b"X":
            raise _refusal(line[1:] if line else b"", column)
        else:
            number += 1
            yield number, _row(kind, line)
    raise _ended(child, size, ready)


def _row(kind: bytes, line: bytes | None) -> dict[str, Any] | Unreadable:
    if line is None:
        return Unreadable("too_large", f"more than {decode.MAX_DOCUMENT_BYTES} bytes in one row")
    try:
        if kind == b"S":
            return Unreadable(*json.loads(line[1:]))
        return row_object(line[1:], FROM_A_TABLE)
    except Unreadable as row:
        return row


def _refusal(words: bytes, column: str | None) -> Unreadable:
    reason, detail, *columns = json.loads(words)
    if reason == "no_text" and column is not None:
        return no_column(column, columns[0])
    return Unreadable(reason, detail)


def _chunks(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the child writes, while it writes."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(SILENCE_SECONDS):
                raise Unreadable("parquet_bomb", f"no row in {SILENCE_SECONDS:.0f} seconds")
            chunk = child.stdout.read(PIPE_BYTES)
            if not chunk:
                return
            yield chunk


def _ended(child: subprocess.Popen[bytes], size: int, ready: bool) -> Exception:
    """Why the child's lines ended without an end."""
    code = None
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = child.wait(SILENCE_SECONDS)
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    if not ready:
        return OntogenyError(f"the reader of Parquet files did not start ({how})")
    if code == -signal.SIGKILL:
        return NoSpace("the reader of a Parquet file was killed; free memory and run again")
    if code == -signal.SIGXCPU:
        seconds = _seconds(size)
        return Unreadable("parquet_bomb", f"took more than {seconds} seconds of processor time")
    return Unreadable("broken_parquet", f"its reader crashed ({how})")
