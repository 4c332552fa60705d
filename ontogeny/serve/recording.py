"""What was asked, answered and rated goes into the ledger before anybody hears that it did.

A thread of its own writes: whatever waits is one commit. Knows no HTTP and no model.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ontogeny.base.errors import InputError, NoSpace, OntogenyError
from ontogeny.feedback.exchange import MOST_COMMENT, Exchange, Rating, rating_to_row
from ontogeny.feedback.ledger import Ledger
from ontogeny.feedback.ledger_schema import MOVED, file_number
from ontogeny.serve.fields import Fields
from ontogeny.serve.gate import overloaded
from ontogeny.serve.refusal import Refused
from ontogeny.serve.wanted import MOST_CHOICES, MOST_NAME, PERSON, person_of

T = TypeVar("T")
MOST_WAITING = 1024
MOST_TOGETHER = 256
"""Rows of one commit."""
MOST_CORRECTION = 32_000
MOST_KEY = 200
_MADE = "made:"
"""Begins a rating's key that no client sent."""
LOOK_SECONDS = 1.0
"""How often the file is looked at while nothing comes."""


@dataclass
class _Job:
    """Something to be done to the ledger, and who waits for it."""

    does: Callable[[Ledger], Any]
    told: Future[Any]
    found: Any = None
    error: Exception | None = None


class Recorder:
    """The one writer of a server.

    Args:
        path: of the ledger; begun where there is none.
        most: jobs that may wait; more hear 503.

    Attributes:
        on_forgotten: called by the writing thread when somebody was forgotten meanwhile.

    Raises:
        OntogenyError: see `Ledger.open`.
    """

    def __init__(
        self, path: Path, *, secret: bytes | None = None, most: int = MOST_WAITING
    ) -> None:
        ledger = Ledger.open(path, secret=secret)  # checked before anybody is let in
        self._names, self._forgotten = ledger.pseudonym, ledger.forgotten()
        self._number = file_number(path)
        ledger.close()
        self._path = path
        self._jobs: queue.Queue[_Job | None] = queue.Queue(most)
        self._closing = False
        self._reason = ""
        self.on_forgotten: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @property
    def reason(self) -> str:
        """Why nothing can be written now; "" while it can."""
        return self._reason

    @property
    def waiting(self) -> int:
        """Jobs whose client was not told yet."""
        return self._jobs.unfinished_tasks

    def check(self) -> None:
        """Lets nobody in whose answer could not be kept.

        Raises:
            Refused: 503; the file is tried again meanwhile.
        """
        if self._reason:
            raise _unwritten(self._reason, 503)

    def pseudonym(self, owner: str, asker: str) -> str:
        """See `Ledger.pseudonym`."""
        return self._names(owner, asker)

    async def exchanged(self, exchange: Exchange) -> bool:
        """Returns once it lies on the disk; False: see `Ledger.add_exchange`.

        Raises:
            Refused: 503 or 507; it does not.
        """
        return await self._done(lambda ledger: ledger.add_exchange(exchange))

    def left(self, exchange: Exchange) -> None:
        """The same for one that nobody waits for any more.

        Raises:
            Refused: 503; too many are waiting.
        """
        self._put(lambda ledger: ledger.add_exchange(exchange))

    async def rated(self, body: Mapping[str, Any], owner: str, key: str | None) -> dict[str, Any]:
        """What POST /v1/feedback answers, once the rating lies on the disk.

        Args:
            key: of the header Idempotency-Key: the same request sent again is one rating. Without
                it, the same words about the same exchange are one until others are said of it.

        Raises:
            Refused: 400 naming the field; 404 for an exchange that is not this user's; 422 where
                the key came with another rating; 503 or 507 where it could not be kept.
        """
        rating = _rating(body, lambda person: self.pseudonym(owner, person), key)
        kept, added = await self._done(lambda ledger: _add(ledger, rating))
        told = hashlib.sha256(f"{kept.user} {kept.key}".encode()).hexdigest()[:24]
        about = {"id": f"fb-{told}", "object": "feedback", "exchange": kept.exchange}
        return about | {"duplicate": not added}

    def close(self, seconds: float = 10.0) -> bool:
        """Writes what waits; whether all of it was written in time. Nothing comes in any more."""
        self._closing = True
        with suppress(queue.Full):
            self._jobs.put(None, timeout=seconds)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    async def _done(self, does: Callable[[Ledger], T]) -> T:
        found: T = await asyncio.wrap_future(self._put(does))
        return found

    def _put(self, does: Callable[[Ledger], Any]) -> Future[Any]:
        job = _Job(does, Future())
        if self._closing:
            raise _unwritten("the server is stopping", 503)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise overloaded("too much is waiting to be kept", 1) from None
        return job.told

    def _write(self) -> None:
        """The thread: whatever waits is one transaction."""
        ledger: Ledger | None = None
        ends = False
        while not ends:
            work, ends = self._waiting()
            try:
                ledger = ledger or self._opened()
                _commit(ledger, work, touch=bool(self._reason))
                self._reason = ""
            except Exception as error:  # those who wait are told, and it is tried again
                self._reason = _reason(error)
                for job in work:
                    job.error = _unwritten(self._reason, 507 if _full(error) else 503)
                _close(ledger)
                ledger = None
            for job in work:
                self._jobs.task_done()
                _tell(job)
            if ledger is not None:
                self._look(ledger)
        _close(ledger)

    def _opened(self) -> Ledger:
        """The same file again: SQLite would read the log of this one into another in its place."""
        if file_number(self._path) != self._number:
            raise InputError(MOVED, file=self._path)
        return Ledger.open(self._path, make=False)

    def _waiting(self) -> tuple[list[_Job], bool]:
        """What waits; nothing for a while: it is time to look at the file."""
        found: list[_Job] = []
        try:
            job = self._jobs.get(timeout=LOOK_SECONDS)
            while job is not None and len(found) < MOST_TOGETHER - 1:
                found.append(job)
                job = self._jobs.get_nowait()
        except queue.Empty:
            return found, False
        return (found, True) if job is None else ([*found, job], False)

    def _look(self, ledger: Ledger) -> None:
        forgotten = self._forgotten
        with suppress(OntogenyError):  # the next commit meets it, too, and tells
            forgotten = ledger.forgotten()
        if forgotten != self._forgotten:
            self._forgotten = forgotten
            self.on_forgotten()


@contextmanager
def recording(path: Path | None) -> Iterator[Recorder | None]:
    """A recorder that is closed at the end; none where nothing is to be kept.

    Raises:
        NoSpace: at the end, what had been taken could not be written; nobody was told it was.
        OntogenyError: see `Ledger.open`.
    """
    if path is None:
        yield None
        return
    recorder = Recorder(path)
    try:
        yield recorder
    finally:
        written = recorder.close()
    if not written or recorder.reason:
        reason = recorder.reason or "not written in time"
        raise NoSpace(f"the last rows were not kept: {reason}", file=path)


def _commit(ledger: Ledger, work: list[_Job], *, touch: bool) -> None:
    """One transaction; `touch`: writes in any case, so that a disk that was full is tried."""
    ledger.check_place()
    if not work and not touch:
        return
    with ledger.together():
        for job in work:
            try:
                job.found = job.does(ledger)
            except (Refused, InputError) as error:  # its own mistake, found before it wrote
                job.error = error
        if touch:
            ledger.touch()


def _tell(job: _Job) -> None:
    with suppress(InvalidStateError):  # its client has left
        if job.error is None:
            job.told.set_result(job.found)
        elif isinstance(job.error, InputError):
            job.told.set_exception(Refused(job.error.reason))
        else:
            job.told.set_exception(job.error)


def _close(ledger: Ledger | None) -> None:
    if ledger is not None:
        with suppress(OntogenyError):
            ledger.close()


def _full(error: Exception) -> bool:
    return isinstance(error, NoSpace)


def _reason(error: Exception) -> str:
    """What went wrong with the file; nothing of a row."""
    if isinstance(error, OntogenyError):
        return error.reason
    return f"a mistake of ours: {type(error).__name__}"


def _unwritten(reason: str, status: int) -> Refused:
    said = f"not kept: {reason}"
    return Refused(said, status, code="ledger", retry_after=math.ceil(LOOK_SECONDS))


def _rating(body: Mapping[str, Any], user: Callable[[str], str], key: str | None) -> Rating:
    """A body of POST /v1/feedback, checked."""
    fields = Fields(body)
    exchange = fields.text("id", most=MOST_NAME)
    score = fields.number("score", -1.0, 1.0, 0.0) if fields.has("score") else None
    preferred = fields.whole("preferred", 0, MOST_CHOICES - 1)
    correction = fields.text("correction", "", most=MOST_CORRECTION)
    choice = fields.whole("choice", 0, MOST_CHOICES - 1)
    comment = fields.text("comment", "", most=MOST_COMMENT)
    names = [fields.text(name, "", most=MOST_NAME) for name in PERSON]
    fields.end()
    if preferred is not None and choice is not None:
        raise Refused(
            "'choice' says what score or correction is about; leave it out", param="choice"
        )
    said: dict[str, Any] = {"score": score, "preferred": preferred, "choice": choice or 0}
    said |= {"correction": correction, "comment": comment}
    try:
        made = Rating(key="-", exchange=exchange, user=user(person_of(*names)), **said)
    except InputError as error:
        raise Refused(error.reason) from None
    return replace(made, key=_key(made, key), at=round(time.time(), 3))


def _key(rating: Rating, given: str | None) -> str:
    """Of the client, or made of what is said; the two never meet."""
    if given is None:
        data = json.dumps(rating_to_row(rating), sort_keys=True).encode()
        return f"{_MADE}{hashlib.sha256(data).hexdigest()}"
    if not 0 < len(given) <= MOST_KEY or not given.isascii() or not given.isprintable():
        reason = f"Idempotency-Key must be 1 to {MOST_KEY} printable characters of ASCII"
        raise Refused(reason, param="Idempotency-Key")
    return f"sent:{given}"


def _add(ledger: Ledger, rating: Rating) -> tuple[Rating, bool]:
    """The rating as it lies there, and whether it was added now.

    Raises:
        Refused: see `Recorder.rated`.
    """
    before = ledger.rating(rating.user, rating.key)
    if before is not None and rating.key.startswith(_MADE):
        last = ledger.latest(rating.user, rating.exchange) or before
        if _same(last, rating):
            return (last if last.key.startswith(_MADE) else before), False
        # something else was said meanwhile: this is no repetition, the user came back to it
        key = hashlib.sha256(f"{rating.key} {last.key}".encode()).hexdigest()
        rating = replace(rating, key=f"{_MADE}{key}")
    elif before is not None:
        if not _same(before, rating):
            reason = "this Idempotency-Key came with another rating; send a new one"
            raise Refused(reason, 422, param="Idempotency-Key", code="idempotency_key_reused")
        return before, False
    exchange = ledger.exchange(rating.exchange)
    if exchange is None or exchange.user != rating.user:
        reason = "no such exchange of this user is kept; rate with the key and user that asked"
        raise Refused(reason, 404, param="id", code="exchange_not_found")
    name = "choice" if rating.preferred is None else "preferred"
    if max(rating.choice, rating.preferred or 0) >= len(exchange.answers):
        reason = f"'{name}' counts from 0, and there are {len(exchange.answers)} answers"
        raise Refused(reason, param=name)
    if rating.preferred is not None and len(exchange.answers) == 1:
        raise Refused("'preferred' needs two answers or more; give score", param="preferred")
    return rating, ledger.add_rating(rating)


def _same(one: Rating, other: Rating) -> bool:
    """Whether two ratings say the same, whenever and under whichever key."""
    return replace(one, key=other.key, at=other.at) == other
