"""Files that are either whole or not there: atomic writes, fsync, sha256, free space.

Knows no artifact. Every write error that means "no room" or "the disk failed" becomes `NoSpace`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ontogeny.base.errors import CorruptArtifact, InputError, NoSpace

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}
READ_BYTES = 1 << 20


@contextlib.contextmanager
def disk_errors(file: str | os.PathLike[str]) -> Iterator[None]:
    """Turns a full, failing or read-only disk into one line that names `file`.

    Raises:
        NoSpace: for ENOSPC, EDQUOT, EIO, EROFS and EFBIG; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise NoSpace(
            f"{os.strerror(error.errno or 0)}; free some space or choose another --store, "
            "then run the same command again",
            file=error.filename or file,
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` so that `path` holds the old bytes or the new ones, never a mixture.

    Raises:
        NoSpace: when the disk is full or fails; the old bytes stay.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` atomically as readable JSON with sorted keys."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Writes one JSON value a line into a payload, which is published as a whole."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        CorruptArtifact: when the file is missing, is not UTF-8 or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CorruptArtifact(
            f"cannot be read ({error.strerror}); delete its directory to make it again", file=path
        ) from None
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise CorruptArtifact(
            "not the JSON that was written; delete its directory to make it again",
            file=path,
            line=line,
        ) from None


def sync_directory(directory: Path) -> None:
    """Makes renames inside `directory` survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """fsync of every file below `directory`, then of the directories, deepest first."""
    for parent, _, names in os.walk(directory, topdown=False):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(parent))


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits; a symbolic link is refused.

    Raises:
        OSError: when the file cannot be read or is a link.
    """
    result = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        while block := file.read(READ_BYTES):
            result.update(block)
    return result.hexdigest()


def require_space(directory: Path, needed_bytes: int) -> None:
    """Checks that `needed_bytes` can be written below `directory`.

    Raises:
        NoSpace: naming what is needed and what is free.
    """
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise NoSpace(
            f"needs {needed_bytes / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; "
            "free some space or choose another --store",
            file=directory,
        )


def require_directory(directory: Path) -> None:
    """Makes `directory` and its parents.

    Raises:
        InputError: when it cannot be made or written.
        NoSpace: when the disk is full or read-only.
    """
    with disk_errors(directory):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise
            raise InputError(
                f"cannot make this directory ({error.strerror}); choose another --store",
                file=directory,
            ) from None
    if not os.access(directory, os.W_OK):
        raise InputError("cannot write here; choose another --store", file=directory)
