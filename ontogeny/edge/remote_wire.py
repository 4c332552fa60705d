"""A TCP connection, plain or TLS, that belongs to no event loop. Knows no HTTP.

`asyncio`'s own streams are bound to one loop and end with it; each call of `sample_all` has a loop
of its own, and a connection that is to be kept open must outlive it. Closing is immediate, so a
cancelled request is seen by the server at once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

_CHUNK = 65_536


class Wire:
    """An open connection; made by `open_wire`."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from here on; the server's certificate is checked against `host`.

        Raises:
            ssl.SSLError, OSError: no handshake came about.
        """
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            else:
                break
        await self._flush()

    async def send(self, data: bytes) -> None:
        """All of `data`. Raises OSError where the connection broke."""
        if self._tls is None:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
            return
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        await self._flush()

    async def receive(self) -> bytes:
        """What comes next, nothing at the end. Raises OSError where the connection broke."""
        if self._tls is None:
            return await asyncio.get_running_loop().sock_recv(self._socket, _CHUNK)
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    def idle(self) -> bool:
        """Whether it may be used again: open, and nothing has come that nobody asked for."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Ends it now, whatever was under way."""
        self._socket.close()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _feed(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, _CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()  # the next read raises SSLEOFError, an OSError


async def open_wire(host: str, port: int, context: ssl.SSLContext | None) -> Wire:
    """A connection to the first address of `host` that answers, over TLS with a `context`.

    Raises:
        OSError: nobody answers; ssl.SSLCertVerificationError: somebody else does.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError = OSError("it has no address")
    for family, kind, protocol, _, address in addresses:
        made = socket.socket(family, kind, protocol)
        wire = Wire(made)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(made, address)
            if context is not None:
                await wire.secure(context, host)
        except ssl.SSLError:
            wire.close()
            raise
        except OSError as error:
            wire.close()
            failed = error
        except BaseException:
            wire.close()
            raise
        else:
            return wire
    raise failed
