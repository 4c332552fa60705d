"""HTTP/1.1 as a client: where a server is, and connections kept from request to request.

Knows no models. Written on sockets because `http.client` blocks a thread for each request, which
then cannot be cancelled, and no other client is among our dependencies for certain: what
huggingface_hub brings changes with its version. Proxies are not used.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_reply import Broken, NobodyThere, Reader, Reply, read_reply, reason_of
from ontogeny.edge.remote_wire import Wire, open_wire

_IDLE_SECONDS = 4.0  # uvicorn, node and llama.cpp close after 5


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Args:
        url: as given, without a slash at the end.
        host: name or address.
        port: TCP.
        secure: over TLS.
        path: what stands before each path that is asked for: "/v1".
    """

    url: str
    host: str
    port: int
    secure: bool
    path: str

    @property
    def root(self) -> str:
        """What stands before the paths that are no part of OpenAI's API."""
        return self.path.removesuffix("/v1")

    @property
    def loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        return self.host in ("localhost", "127.0.0.1", "::1")


def address_of(url: str) -> Address:
    """The parts of the URL of a server's API; "/v1" where it has no path.

    Raises:
        InputError: it is no plain http or https URL.
    """
    shown = url.partition("?")[0][:200]  # what follows may be a key
    form = "give one like http://127.0.0.1:8000/v1"
    if "@" in url:
        raise InputError("a URL is no place for a name or a key; name the key's variable instead")
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as the search for its address will
    except ValueError:
        raise InputError(f"'{shown}' is no URL of a server; {form}") from None
    plain = re.fullmatch(r"[!-~]+", url) and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise InputError(f"'{shown}' is no URL of a server; {form}")
    secure = parts.scheme == "https"
    path = parts.path.rstrip("/") or "/v1"
    clean = f"{parts.scheme}://{parts.netloc}{path}"
    return Address(clean, parts.hostname, port or (443 if secure else 80), secure, path)


class Client:
    """Requests to one address. Connections stay open between them, also from loop to loop.

    Args:
        context: of TLS; without one the machine's authorities are trusted (SSL_CERT_FILE).
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self.address = address
        if context is None and address.secure:
            context = ssl.create_default_context()
        self._context = context if address.secure else None
        self._waiting: list[tuple[float, Wire]] = []

    @asynccontextmanager
    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> AsyncIterator[Reply]:
        """The reply to one request; its body is read within the block.

        Leaving the block before the body's end, as a cancellation does, closes the connection.

        Raises:
            Broken: the connection broke, or none came about.
            InputError: what came is no HTTP, or the certificate is not to be trusted.
        """
        kept = self._kept()
        wire, reply = await self._begun(kept, _head(self, method, path, headers, body) + body)
        done = False
        try:
            yield reply
            done = reply.reusable
        finally:
            if done:
                self._waiting.append((time.monotonic(), wire))
            else:
                wire.close()

    async def _begun(self, kept: Wire | None, data: bytes) -> tuple[Wire, Reply]:
        wire = kept or await self._opened()
        try:
            try:
                await wire.send(data)
            except OSError as error:
                raise Broken(reason_of(error), unheard=True) from None
            return wire, await read_reply(Reader(wire))
        except Broken as broken:
            wire.close()
            if kept is None or not broken.unheard:
                raise
        except BaseException:
            wire.close()
            raise
        return await self._begun(None, data)  # the server had closed what we kept

    async def _opened(self) -> Wire:
        address = self.address
        try:
            return await open_wire(address.host, address.port, self._context)
        except ssl.SSLCertVerificationError as error:
            raise InputError(
                f"the certificate of {address.host} is not trusted ({error.verify_message}); mend "
                "the URL, or name the file of your own authority in SSL_CERT_FILE"
            ) from None
        except OSError as error:
            raise NobodyThere(reason_of(error), unheard=True) from None

    def _kept(self) -> Wire | None:
        while self._waiting:
            since, wire = self._waiting.pop()
            if time.monotonic() - since < _IDLE_SECONDS and wire.idle():
                return wire
            wire.close()
        return None

    def close(self) -> None:
        """Closes what is kept open."""
        while self._waiting:
            self._waiting.pop()[1].close()


def _head(client: Client, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    address = client.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    if address.port != (443 if address.secure else 80):
        host = f"{host}:{address.port}"
    every = {"Host": host, "Accept-Encoding": "identity", **headers}
    if method == "POST":
        every["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items())]
    assert not any(character in line for line in lines for character in "\r\n\0")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
