"""The bytes of a request's body, within their limits. Knows ASGI and no meaning."""

from __future__ import annotations

import asyncio

from ontogeny.serve.gate import Limits
from ontogeny.serve.library import Receive, Scope
from ontogeny.serve.refusal import Refused


class Gone(Exception):
    """The client has left; there is nobody to tell."""


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """All of it.

    Raises:
        Refused: 400 or 413 before it is read, where its head says enough; 413 as soon as there is
            more than the limit; 408 where it does not come in time.
        Gone: the client left.
    """
    _check_head(scope, limits)
    data = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                data += message.get("body", b"")
                more = message.get("more_body", False)
                if len(data) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        said = f"the body did not come within {limits.body_seconds:g} s"
        raise Refused(said, 408) from None
    return bytes(data)


def _check_head(scope: Scope, limits: Limits) -> None:
    headers: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name, []).append(value)
    lengths = headers.get(b"content-length", [])
    if lengths and b"transfer-encoding" in headers:
        raise Refused("a body has a length or is chunked, not both", code="unread")
    if lengths and int(lengths[0]) > limits.body_bytes:
        raise _too_large(limits)
    kind = headers.get(b"content-type", [b""])[0].split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused("the content type must be application/json", code="unread")
    if headers.get(b"content-encoding", [b"identity"]) != [b"identity"]:
        raise Refused("a compressed body is not supported; send it as it is", code="unread")


def _too_large(limits: Limits) -> Refused:
    return Refused(f"the body has more than {limits.body_bytes} bytes; send less", 413)
