"""One reply of HTTP/1.1, read strictly. Knows no requests and no models.

Framing follows RFC 9112, section 6: a server is a stranger, and what is ambiguous about the length
of a body is refused.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Mapping

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_wire import Wire

MOST_HEAD_BYTES = 65_536
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


class Broken(Exception):
    """The connection ended before the reply did: asking again may help.

    Args:
        reason: what happened, for a person.
        unheard: nothing at all came back.
    """

    def __init__(self, reason: str, unheard: bool = False) -> None:
        super().__init__(reason)
        self.unheard = unheard


class NobodyThere(Broken):
    """No connection came about, so nothing was asked."""


class Reply:
    """A status, headers (names in lower case) and a body that is still to be read."""

    def __init__(self, reader: Reader, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self._reader = reader
        self.whole = False

    async def read(self, most_bytes: int) -> bytes:
        """The body.

        Raises:
            InputError: it is longer than `most_bytes`, or of a form that we do not read.
            Broken: the connection ended before it did.
        """
        return b"".join([part async for part in self.parts(most_bytes)])

    async def parts(self, most_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes; raises as `read` does."""
        got = 0
        async for part in self._framed():
            got += len(part)
            if got > most_bytes:
                raise InputError(
                    f"the server's answer is longer than {most_bytes} bytes, more than was asked "
                    "for can need; it is not what it says it is, or is out of order"
                )
            yield part
        self.whole = True

    async def _framed(self) -> AsyncIterator[bytes]:
        coding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if self.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise InputError("the server compresses its answer, which nobody asked for")
        if self.status in (204, 304):
            return
        if coding == "chunked" and length is None:
            async for part in self._chunks():
                yield part
        elif coding or (length is not None and not re.fullmatch(r"[0-9]{1,15}", length)):
            raise InputError("the server does not say clearly how long its answer is (RFC 9112)")
        elif length is not None:
            left = int(length)
            while left:
                part = await self._reader.some(left)
                left -= len(part)
                yield part
        else:
            while part := await self._reader.until_close():
                yield part

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            found = _CHUNK_SIZE.fullmatch(await self._reader.line())
            if found is None:
                raise InputError("the server's answer is cut into chunks that are none (RFC 9112)")
            left = int(found[1], 16)
            if not left:
                break
            while left:
                part = await self._reader.some(left)
                left -= len(part)
                yield part
            if await self._reader.line():
                raise InputError("the server's answer is cut into chunks that are none (RFC 9112)")
        while await self._reader.line():
            pass

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        return self.whole and framed and self.headers.get("connection", "").lower() != "close"


class Reader:
    """Bytes of one reply, buffered."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._buffer = wire, bytearray()
        self._heard = False

    async def _more(self) -> None:
        if not await self._receive():
            raise Broken("the server closed the connection too early", unheard=not self._heard)

    async def _receive(self) -> int:
        try:
            data = await self._wire.receive()
        except OSError as error:
            raise Broken(reason_of(error), unheard=not self._heard) from None
        self._heard = self._heard or bool(data)
        self._buffer += data
        return len(data)

    async def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise InputError("the server sends a line that does not end")
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def some(self, most: int) -> bytes:
        """At least one byte and at most `most`."""
        if not self._buffer:
            await self._more()
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        return data

    async def until_close(self) -> bytes:
        """What is there or comes next; nothing once the connection is closed."""
        if not self._buffer:
            await self._receive()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


async def read_reply(reader: Reader) -> Reply:
    """Reads up to the body; replies of 1xx are passed over."""
    for _ in range(5):
        status = _STATUS.fullmatch(await reader.line())
        if status is None:
            raise InputError("what answers at this URL does not speak HTTP/1.1; mend the URL")
        headers = await _headers(reader)
        if status[1] == b"0":
            headers["connection"] = "close"
        if not status[2].startswith(b"1"):
            return Reply(reader, int(status[2]), headers)
    raise InputError("the server does not get to its answer")


async def _headers(reader: Reader) -> dict[str, str]:
    headers: dict[str, str] = {}
    size = 0
    while line := await reader.line():
        size += len(line)
        found = _HEADER.fullmatch(line)
        if found is None or size > MOST_HEAD_BYTES:
            raise InputError("the server's headers are too long, or are no headers")
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        if name in ("content-length", "transfer-encoding") and headers.get(name, value) != value:
            raise InputError("the server does not say clearly how long its answer is (RFC 9112)")
        headers[name] = value
    return headers


def reason_of(error: OSError) -> str:
    """What happened to a connection, for a person."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'the connection ended'})"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own texts hold addresses
    return str(error.strerror or error or type(error).__name__)
