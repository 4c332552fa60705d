"""Every exchange and every rating, in order, kept through a power failure and deleted on request.

Knows no HTTP and trains nothing. A row that was added lies on the disk; two processes may write.
Rows are numbered from one counter, so that their order is that of their commits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ontogeny.base.errors import InputError
from ontogeny.feedback.exchange import (
    Exchange,
    Rating,
    exchange_from_row,
    exchange_to_row,
    rating_from_row,
    rating_to_row,
)
from ontogeny.feedback.ledger_schema import (
    Place,
    connected,
    create,
    damaged,
    sqlite_errors,
)

T = TypeVar("T")
LAST = 2**63 - 1
_THEIRS = "id IN (SELECT id FROM exchanges WHERE user = ?1) OR of IN " + (
    "(SELECT id FROM exchanges WHERE user = ?1)"
)
_SAID = f"user = ?1 OR exchange IN (SELECT id FROM exchanges WHERE {_THEIRS})"


@dataclass(frozen=True)
class Forgotten:
    """What was deleted of one user.

    Attributes:
        user: the pseudonym.
        exchanges: shadows of theirs among them.
        ratings: of theirs, and of others on their exchanges.
        at: seconds since 1970.
    """

    user: str
    exchanges: int
    ratings: int
    at: float = 0.0


class Ledger:
    """One connection to the file; belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._place = Place(path)
        with sqlite_errors(path):
            self._secret = bytes(self._value("secret"))

    @classmethod
    def open(cls, path: Path, *, secret: bytes | None = None, make: bool = True) -> Ledger:
        """The ledger in this file, for writing.

        Args:
            secret: what pseudonyms are made with; random in a new ledger without it.
            make: begin a new one where there is none.

        Raises:
            InputError: it cannot be opened, is another program's, or has another secret.
            CorruptArtifact: it is damaged, or its log lies there alone.
            NoSpace: the disk is full or fails.
        """
        if make and not path.exists():
            create(path, secret)
        found = cls(connected(path), path)
        if secret is not None and not hmac.compare_digest(secret, found._secret):
            found.close()
            raise InputError("this ledger has another secret; name another file", file=path)
        return found

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """The same for reading alone, while a server writes.

        Raises:
            InputError, CorruptArtifact: see `open`; there is none, too.
        """
        return cls(connected(path, read_only=True), path)

    def close(self) -> None:
        """The last to close also writes the log back into the file."""
        with sqlite_errors(self.path):
            self._connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def pseudonym(self, owner: str, asker: str) -> str:
        """16 hex digits instead of a name: HMAC-SHA256 (RFC 2104) under the ledger's own secret.

        Args:
            owner: name of the API key; "" without keys.
            asker: the key's own name for who asks.
        """
        told = json.dumps([owner, asker]).encode()
        return hmac.new(self._secret, told, hashlib.sha256).hexdigest()[:16]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Whatever is added inside is committed at the end as one, or not at all.

        Waits for other writers.

        Raises:
            InputError: another process holds the file for too long.
            NoSpace: the disk is full or fails; nothing of it was added.
        """
        begun = self._connection.in_transaction
        if begun:
            yield
            return
        with sqlite_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # some errors have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, exchanges: Sequence[Exchange], ratings: Sequence[Rating] = ()) -> None:
        """Many at once, all or none; those that are there already are passed over.

        Raises:
            InputError: see `add_exchange` and `add_rating`.
        """
        with self.together():
            for exchange in exchanges:
                self.add_exchange(exchange)
            for rating in ratings:
                self.add_rating(rating)

    def add_exchange(self, exchange: Exchange) -> bool:
        """False: this very exchange was there.

        A shadow of what is not here (any more) is not kept, False, too: so what a user wanted
        unstored or forgotten does not come back by another's answer.

        Raises:
            InputError: another one of this id is there.
        """
        with self.together():
            if exchange.of and not self._has(exchange.of):
                return False
            body, at = _body(exchange_to_row(exchange))
            there = self._row("SELECT body FROM exchanges WHERE id = ?", exchange.id)
            if there is not None:
                if there[0] != body:
                    raise InputError(f"another exchange has the id {exchange.id}", file=self.path)
                return False
            about = (exchange.id, exchange.user, exchange.of, len(exchange.answers), at, body)
            self._insert("exchanges", about)
        return True

    def add_rating(self, rating: Rating) -> bool:
        """False: this user has sent a rating under this key before; the first one stays.

        Raises:
            InputError: it is about no exchange or answer of this ledger.
        """
        with self.together():
            row = self._row("SELECT answers FROM exchanges WHERE id = ?", rating.exchange)
            if row is None:
                raise InputError(f"no exchange {rating.exchange} to rate", file=self.path)
            if max(rating.choice, rating.preferred or 0) >= row[0]:
                reason = f"exchange {rating.exchange} has {row[0]} answers; they count from 0"
                raise InputError(reason, file=self.path)
            if self.rating(rating.user, rating.key) is not None:
                return False
            body, at = _body(rating_to_row(rating))
            self._insert("ratings", (rating.user, rating.key, rating.exchange, at, body))
        return True

    def exchange(self, id_: str) -> Exchange | None:
        """The exchange of this id."""
        return self._one(exchange_from_row, "exchanges WHERE id = ?", id_)

    def rating(self, user: str, key: str) -> Rating | None:
        """What this user sent under this key."""
        return self._one(rating_from_row, "ratings WHERE user = ? AND key = ?", user, key)

    def latest(self, user: str, exchange: str) -> Rating | None:
        """What this user said last of this exchange."""
        where = "ratings WHERE user = ? AND exchange = ? ORDER BY seq DESC LIMIT 1"
        return self._one(rating_from_row, where, user, exchange)

    @property
    def last(self) -> int:
        """The number of the newest row; 0: there was none yet."""
        with sqlite_errors(self.path):
            return int(self._value("sequence"))

    def rows(self, after: int = 0, until: int = LAST) -> tuple[list[Exchange], list[Rating]]:
        """What was added after the row of one number, up to that of another, in order.

        Raises:
            CorruptArtifact: a row is not what was written.
        """
        found = []
        with sqlite_errors(self.path):
            for table in ("exchanges", "ratings"):
                query = f"SELECT seq, at, body FROM {table} WHERE seq > ? AND seq <= ? ORDER BY seq"
                found.append(self._connection.execute(query, (after, until)).fetchall())
        exchanges = [self._made(exchange_from_row, row) for row in found[0]]
        return exchanges, [self._made(rating_from_row, row) for row in found[1]]

    def digest(self, until: int = LAST) -> str:
        """sha256 of all rows in order, without numbers and times: 64 hex digits."""
        result = hashlib.sha256()
        query = (
            "SELECT seq, 'e', body FROM exchanges WHERE seq <= ?1 UNION ALL "
            "SELECT seq, 'r', body FROM ratings WHERE seq <= ?1 ORDER BY seq"
        )
        with sqlite_errors(self.path):
            for _, kind, body in self._connection.execute(query, (until,)):
                data = str(body).encode()
                result.update(f"{kind}{len(data)}:".encode() + data)
        return result.hexdigest()

    def counts(self, user: str = "") -> tuple[int, int]:
        """Exchanges and ratings in all, or those that `forget(user)` would delete."""
        theirs, said = (_THEIRS, _SAID) if user else ("?1 = ''", "?1 = ''")
        with sqlite_errors(self.path):
            exchanges = self._row(f"SELECT count(*) FROM exchanges WHERE {theirs}", user)
            ratings = self._row(f"SELECT count(*) FROM ratings WHERE {said}", user)
        assert exchanges is not None and ratings is not None
        return int(exchanges[0]), int(ratings[0])

    def forget(self, user: str) -> Forgotten:
        """Deletes what a pseudonym asked and said, what was said of it, and shadows of it.

        Their bytes leave the files, too: deleted cells are overwritten, the file is packed, the
        log is emptied. A row about it stays: pseudonym, counts, time.

        Raises:
            InputError: another process reads or writes for too long; the rows are gone, but not
                surely their bytes: run it again.
            NoSpace: there is no room to pack the file.
        """
        with self.together():
            exchanges, ratings = self.counts(user)
            found = Forgotten(user, exchanges, ratings, time.time())
            self._connection.execute(f"DELETE FROM ratings WHERE {_SAID}", (user,))
            self._connection.execute(f"DELETE FROM exchanges WHERE {_THEIRS}", (user,))
            if exchanges or ratings:
                told = (found.user, found.exchanges, found.ratings, found.at)
                self._connection.execute("INSERT INTO forgotten VALUES (?, ?, ?, ?)", told)
        with sqlite_errors(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.execute("VACUUM")
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            reason = "another process is reading, so the log still holds what was deleted"
            raise InputError(f"{reason}; run the same command again", file=self.path)
        return found

    def check_place(self) -> None:
        """What is written to a file that was deleted or moved away goes with it.

        Raises:
            InputError: another file lies where this one or its log was, or none.
        """
        self._place.check()

    def touch(self) -> None:
        """Writes what is there anyway: a disk that was full may have room again."""
        with self.together():
            self._connection.execute("UPDATE kept SET value = value WHERE name = 'sequence'")

    def forgotten(self) -> int:
        """How often something was forgotten: a server that sees it grow drops what it keeps."""
        return len(self.tombstones())

    def tombstones(self) -> list[Forgotten]:
        """What was forgotten, oldest first."""
        with sqlite_errors(self.path):
            rows = self._connection.execute("SELECT * FROM forgotten ORDER BY rowid").fetchall()
        return [Forgotten(*row) for row in rows]

    def _row(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def _one(self, make: Callable[[Mapping[str, Any]], T], where: str, *values: str) -> T | None:
        with sqlite_errors(self.path):
            row = self._row(f"SELECT seq, at, body FROM {where}", *values)
        return None if row is None else self._made(make, row)

    def _value(self, name: str) -> Any:
        row = self._row("SELECT value FROM kept WHERE name = ?", name)
        if row is None:
            raise damaged(self.path, f"no {name}")
        return row[0]

    def _has(self, exchange: str) -> bool:
        return self._row("SELECT 1 FROM exchanges WHERE id = ?", exchange) is not None

    def _insert(self, table: str, values: tuple[Any, ...]) -> None:
        self._connection.execute("UPDATE kept SET value = value + 1 WHERE name = 'sequence'")
        places = ", ".join("?" * (1 + len(values)))
        row = (self._value("sequence"), *values)
        self._connection.execute(f"INSERT INTO {table} VALUES ({places})", row)

    def _made(self, make: Callable[[Mapping[str, Any]], T], row: tuple[Any, ...]) -> T:
        number, at, body = row
        try:
            return make(json.loads(body) | {"at": at})
        except (ValueError, TypeError, InputError):  # its reason might quote what a user wrote
            raise damaged(self.path, f"row {number}") from None


def _body(row: dict[str, Any]) -> tuple[str, float]:
    """A row as canonical JSON in ASCII without its time, and the time."""
    at = float(row.pop("at", 0.0))
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False), at
