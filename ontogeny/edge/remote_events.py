"""JSON, server-sent events and Retry-After, as a stranger sends them. Knows no models."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_reply import Reply


def parsed(data: bytes | bytearray) -> Any:
    """The JSON in `data`.

    Raises:
        InputError: it is none, or no strict one.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        raise InputError("the server's answer is no JSON; mend the URL, or the server") from None


async def stream(reply: Reply, most_bytes: int) -> AsyncIterator[Any]:
    """The data of server-sent events (WHATWG HTML, section 9.2), without the last word [DONE]."""
    waiting, lines = bytearray(), list[bytes]()
    async for part in reply.parts(most_bytes):
        waiting += part
        *whole, rest = waiting.split(b"\n")
        waiting = bytearray(rest)
        for line in (each.removesuffix(b"\r") for each in whole):
            if line.startswith(b"data:"):
                lines.append(bytes(line[5:].removeprefix(b" ")))
            elif not line and lines:
                data, lines = b"\n".join(lines), []
                if data != b"[DONE]":
                    yield parsed(data)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, or a date of HTTP, as seconds from now; 0 where nothing is asked for."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return seconds if 0.0 < seconds < math.inf else 0.0
