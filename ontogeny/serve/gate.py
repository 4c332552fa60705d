"""Who may come in: keys, how many at once, how often. Knows no HTTP and no model."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ontogeny.base.errors import InputError
from ontogeny.serve.refusal import Refused

MOST_KEYS = 1000
MOST_WAIT_SECONDS = 30
MOST_READ = 128
"""Bodies that are understood at once or wait for it."""
_LINE = re.compile(r"(?:([A-Za-z0-9_.-]{1,40}):)?([!-9;-~]{16,200})")


@dataclass(frozen=True)
class Limits:
    """What is refused before anybody is kept waiting.

    Args:
        slots: answers under way at once.
        waiting: more that may wait for a slot.
        wait_seconds: for which the next one would wait, as far as one can tell.
        requests_a_minute: of one key, spread evenly; half of a minute's may come at once.
        body_bytes: of a request.
        body_seconds: in which it must have come.
        seconds: of an answer, waiting included.
        connections: at once.
        header_seconds: in which a request's head must have come.
        write_seconds: for which a client may leave what it is sent unread.
        grace_seconds: that answers under way have left after SIGTERM.
    """

    slots: int = 4
    waiting: int = 32
    wait_seconds: float = 30.0
    requests_a_minute: float | None = None
    body_bytes: int = 1 << 20
    body_seconds: float = 20.0
    seconds: float = 600.0
    connections: int = 1000
    header_seconds: float = 10.0
    write_seconds: float = 30.0
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            low = 0 if name in ("waiting", "grace_seconds") else 1e-3
            if value is not None and not low <= value < math.inf:
                raise InputError(f"{name} is {value}; give more than 0")

    @property
    def capacity(self) -> int:
        """Answers under way or waiting."""
        return self.slots + self.waiting


class Keys:
    """API keys; only their digests are kept.

    Args:
        named: name -> key. Empty: everybody may ask, under the name "".
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        self._digests = [(name, _digest(key)) for name, key in named.items()]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """From a file: a line is KEY or NAME:KEY; empty ones and `#` lines are passed over.

        Raises:
            InputError: naming the line; the key itself is not told.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise InputError("the file of keys cannot be read; mend its path", file=path) from None
        named: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None or len(named) == MOST_KEYS:
                reason = "no key; a line is KEY or NAME:KEY, a key 16 to 200 visible characters"
                raise InputError(reason, file=path, line=number)
            name = found[1] or f"key-{_digest(found[2]).hex()[:8]}"
            if name in named or found[2] in named.values():
                raise InputError("this name or key stands twice", file=path, line=number)
            named[name] = found[2]
        if not named:
            raise InputError("the file holds no key; write one a line", file=path)
        return cls(named)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def owner(self, authorization: str) -> str:
        """The name of the key in an Authorization header.

        All keys are compared, each in constant time, so that how long it takes tells nothing.

        Raises:
            Refused: 401; there is none, or not one of ours.
        """
        if not self._digests:
            return ""
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        found = [name for name, digest in self._digests if hmac.compare_digest(digest, given)]
        if scheme.lower() != "bearer" or not found:
            reason = "a key is needed: send the header 'Authorization: Bearer KEY'"
            raise Refused(reason, 401, code="invalid_api_key")
        return found[0]


class Gate:
    """Counts who is inside; refuses whom there is no room for.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._clock = limits, clock
        self.inside = 0
        self._reading = 0
        # (seconds since the end before, answers) of ends while no slot was idle; answers of one
        # length end together, so two rounds of all slots are looked at
        self._ends: deque[tuple[float, int]] = deque(maxlen=2 * limits.slots)
        self._last, self._full = 0.0, False
        self._due: OrderedDict[str, float] = OrderedDict()

    def check_rate(self, owner: str) -> None:
        """One more request of a key.

        The generic cell rate algorithm (ITU-T I.371, annex A): one number for each key.

        Raises:
            Refused: 429, with the seconds after which it may come again.
        """
        if self.limits.requests_a_minute is None:
            return
        now, step = self._clock(), 60.0 / self.limits.requests_a_minute
        due = max(self._due.get(owner, now), now)
        wait = due - now - max(30.0, step) + step
        if wait > 0:
            raise Refused(
                f"more than {self.limits.requests_a_minute:g} requests a minute; slow down",
                429,
                code="rate_limit_exceeded",
                retry_after=math.ceil(wait),
            )
        self._due[owner] = due + step

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, one body more is being understood.

        Raises:
            Refused: 503 while `MOST_READ` are.
        """
        if self._reading >= MOST_READ:
            raise overloaded("too many requests are being read", 1)
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1

    @contextmanager
    def entered(self, units: int) -> Iterator[None]:
        """Inside, so many answers are under way or waiting.

        Raises:
            Refused: 503 while there is no room; 400 where there never is.
        """
        most = self.limits.capacity
        if units > most:
            raise Refused(f"{units} answers at once; this server takes {most}", param="n")
        # who comes to idle slots is never refused, so a pace that has changed is measured again
        wait = max(0, self.inside - self.limits.slots + 1) * self._pace()
        if self.inside + units > most or wait > self.limits.wait_seconds:
            after = min(MOST_WAIT_SECONDS, max(1, math.ceil(wait / 2)))
            raise overloaded("all slots are taken and the queue is too long", after)
        self.inside += units
        try:
            yield
        finally:
            self.inside -= units
            self._measure(units)

    def _pace(self) -> float:
        """Seconds from one answer's end to the next while no slot is idle; 0: not known yet."""
        return sum(gap for gap, _ in self._ends) / max(1, sum(ended for _, ended in self._ends))

    def _measure(self, ended: int) -> None:
        now = self._clock()
        if self._full:
            self._ends.append((now - self._last, ended))
        self._last, self._full = now, self.inside >= self.limits.slots


def overloaded(what: str, seconds: int) -> Refused:
    """Somebody else's requests leave no room for this one."""
    return Refused(f"{what}; try again", 503, code="overloaded", retry_after=seconds)


def salt_of(owner: str, asker: str) -> int:
    """What keeps one asker's kept prompts from another's; 63 bits, never the unsalted 0."""
    data = hashlib.sha256(f"{owner}\x1e{asker}".encode()).digest()
    return (int.from_bytes(data[:8], "big") >> 1) | 1


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
