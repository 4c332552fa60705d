"""Reading what a job says and feeding what it hears, within one event loop. Knows no job."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable

CHUNK = 1 << 16


class Capture:
    """What comes out of a pipe, at most `most` bytes; past them `full` is called, once.

    Attributes:
        content: what came.
        done: resolved at the end of the pipe, or when it was full.
    """

    def __init__(self, fd: int, most: int, full: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._loop = asyncio.get_running_loop()
        self._fd, self._most, self._full = fd, most, full
        self._parts: list[bytes] = []
        self._left = most
        self.truncated = False
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(fd, self._read)

    @property
    def content(self) -> bytes:
        """All of it so far."""
        return b"".join(self._parts)[: self._most]

    def _read(self) -> None:
        try:
            part = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        self._parts.append(part)
        self._left -= len(part)
        if self._left < 0:
            self.truncated = True
            self.close()
            self._full()
        elif not part:
            self.close()

    def close(self) -> None:
        """Reads no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if not self.done.done():
            self.done.set_result(None)


class Feed:
    """Writes `content` into a pipe as it is read, then closes it; a reader may leave before."""

    def __init__(self, fd: int, content: bytes) -> None:
        os.set_blocking(fd, False)
        self._loop = asyncio.get_running_loop()
        self._fd, self._rest = fd, memoryview(content)
        if len(content) > CHUNK:
            with contextlib.suppress(OSError):  # as much as a user's share of pipes allows
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._waits = False
        self._write()

    def _write(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except BlockingIOError:
            if not self._waits:
                self._loop.add_writer(self._fd, self._write)
                self._waits = True
            return
        except BrokenPipeError:
            pass
        self.close()

    def close(self) -> None:
        """Writes no more."""
        if self._fd >= 0:
            if self._waits:
                self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
