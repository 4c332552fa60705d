"""The file that a ledger is: its tables, making it whole or not at all, opening it checked.

SQLite with a write-ahead log (https://www.sqlite.org/wal.html): a commit is one fsync of the log.
Knows no exchange and no rating.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ontogeny.base.errors import CorruptArtifact, InputError, NoSpace, OntogenyError
from ontogeny.base.files import disk_errors, sync_directory

APPLICATION_ID = 0x4F6E744C
"""What the header of every ledger says (`PRAGMA application_id`)."""
FORMAT = 1
BUSY_SECONDS = 60.0
"""For which another process may hold the file before one gives up."""
MOVED = "the ledger was moved or deleted while it was in use; put it back"
NOWHERE = (0, 0)
SECRET_BYTES = 32
_HEADER = b"SQLite format 3\x00"
_TABLES = (
    "CREATE TABLE kept (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE exchanges (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
    "user TEXT NOT NULL, of TEXT NOT NULL, answers INTEGER NOT NULL, at REAL NOT NULL, "
    "body TEXT NOT NULL)",
    "CREATE INDEX exchanges_user ON exchanges (user)",
    "CREATE INDEX exchanges_of ON exchanges (of) WHERE of <> ''",
    "CREATE TABLE ratings (seq INTEGER PRIMARY KEY, user TEXT NOT NULL, key TEXT NOT NULL, "
    "exchange TEXT NOT NULL REFERENCES exchanges (id) ON DELETE CASCADE, at REAL NOT NULL, "
    "body TEXT NOT NULL, UNIQUE (user, key))",
    "CREATE INDEX ratings_exchange ON ratings (exchange)",
    "CREATE TABLE forgotten (user TEXT NOT NULL, exchanges INTEGER NOT NULL, "
    "ratings INTEGER NOT NULL, at REAL NOT NULL)",
)


def connected(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection of one thread to a ledger that is there, its pages checked.

    Raises:
        InputError: there is none, it is another program's or of another format, or another
            process holds it.
        CorruptArtifact: it is damaged.
        NoSpace: the disk fails.
    """
    _check_bytes(path)
    mode = "ro" if read_only else "rw"
    with sqlite_errors(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        found = sqlite3.connect(uri, BUSY_SECONDS, isolation_level=None, uri=True)
    try:
        with sqlite_errors(path):
            _check_kind(found, path)
            found.execute("PRAGMA foreign_keys = ON")
            if not read_only:
                found.execute("PRAGMA synchronous = FULL")
                found.execute("PRAGMA secure_delete = ON")
            told = found.execute("PRAGMA quick_check(1)").fetchone()[0]
        if told != "ok":
            raise damaged(path, str(told))
    except BaseException:
        found.close()
        raise
    return found


def create(path: Path, secret: bytes | None) -> None:
    """An empty ledger that only its owner may read; whole, or not there at all.

    One that another process made meanwhile stays.

    Raises:
        CorruptArtifact: the log of a ledger that is gone lies here.
        InputError: the directory is not there or cannot be written.
        NoSpace: the disk is full or fails.
    """
    log = log_of(path)
    if log.exists() and log.stat().st_size:
        reason = "the log of a ledger that is not here any more; put the ledger back beside it"
        raise CorruptArtifact(f"{reason}, or delete this file", file=log)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with _refused(path), disk_errors(path), sqlite_errors(path):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            _fill(temporary, secret or secrets.token_bytes(SECRET_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            sync_directory(path.parent)
    finally:
        for end in ("", "-wal", "-shm"):
            Path(f"{temporary}{end}").unlink(missing_ok=True)


def _fill(path: Path, secret: bytes) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for table in _TABLES:
            connection.execute(table)
        rows = [("secret", secret), ("sequence", 0)]
        connection.executemany("INSERT INTO kept VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    finally:
        connection.close()  # writes the log back and removes it
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_bytes(path: Path) -> None:
    """What SQLite would take for an empty database of its own, or for another's."""
    with _refused(path), disk_errors(path), path.open("rb") as file:
        header = file.read(len(_HEADER))
    if not header:
        raise CorruptArtifact("an empty file is no ledger; delete it to begin a new one", file=path)
    if header != _HEADER:
        reason = "this is no ledger, or its first bytes are gone; name another file"
        raise CorruptArtifact(f"{reason}, or put a copy back", file=path)


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise InputError("this database is another program's; name another file", file=path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        reason = f"this ledger is of format {version}, ours is {FORMAT}"
        raise InputError(f"{reason}; use the version of ontogeny that made it", file=path)


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(
            "no ledger here; `ontogeny serve --ledger` begins one", file=path
        ) from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        reason = f"no ledger can be had here ({error.strerror}); name another file"
        raise InputError(reason, file=path) from None


class Place:
    """Where an open ledger lies, with its log: what goes into a deleted file goes with it."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._log = path, file_number(path), NOWHERE

    def check(self) -> None:
        """Looks whether both are where they were; the log is there once something was written.

        Raises:
            InputError: another file lies where one of them was, or none.
        """
        log = file_number(log_of(self._path))
        if file_number(self._path) != self._file or self._log not in (NOWHERE, log):
            raise InputError(MOVED, file=self._path)
        self._log = log


def log_of(path: Path) -> Path:
    """SQLite's write-ahead log of a database."""
    return Path(f"{path}-wal")


def file_number(path: Path) -> tuple[int, int]:
    """What tells a file from another of the same path; (0, 0): there is none."""
    try:
        found = path.stat()
    except OSError:
        return NOWHERE
    return found.st_dev, found.st_ino


def damaged(path: Path, told: str) -> CorruptArtifact:
    """The file is not what was written."""
    reason = f"the ledger is damaged ({told}); put a copy back, or save what is readable"
    return CorruptArtifact(f"{reason} by `sqlite3 FILE .recover`", file=path)


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite says into one line; no row is in it.

    Raises:
        OntogenyError: see `connected`.
    """
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # whoever inserts knows what stands in the way
    except sqlite3.DatabaseError as error:
        raise _told(error, path) from None


def _told(error: sqlite3.DatabaseError, path: Path) -> OntogenyError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    name = getattr(error, "sqlite_errorname", "?")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        reason = f"another process has held this ledger for {BUSY_SECONDS:g} s; wait for it"
        return InputError(reason, file=path)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
        reason = f"the ledger cannot be written ({name}); free some space or mend its permissions"
        return NoSpace(reason, file=path)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return InputError(f"the ledger cannot be opened ({name}); mend its path", file=path)
    return damaged(path, name)
