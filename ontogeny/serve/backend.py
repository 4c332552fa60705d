"""Somebody else's server that speaks OpenAI's API, asked by ours. Knows no route of our own.

What it sends is bounded and checked; none of its headers goes on. Nothing is taken from the
environment (no proxy, no password file), no redirect is followed, no cookie kept.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ontogeny.base.errors import InputError
from ontogeny.serve.client_library import httpx2
from ontogeny.serve.fields import read_object
from ontogeny.serve.refusal import Refused, shortened
from ontogeny.serve.shapes import encoded

MOST_BYTES = 64 << 20
"""Of one answer, whole or as a stream."""
MOST_EVENT_BYTES = 4 << 20
MOST_ERROR_BYTES = 64 << 10
READ_HERE = 64 << 10
"""Bytes of JSON that take no time to speak of; more are read aside."""
CONNECT_SECONDS = 10.0
TRIAL_SECONDS = 5.0
KEPT_SECONDS = 2.0
"""An idle connection is used again: servers close theirs after 5 s or later."""
MOST_RETRY_SECONDS = 60
_ITS_OWN = (401, 403, 407, 408)
"""What a backend says to the server about itself, not about the client's request."""


@dataclass(frozen=True)
class Upstream:
    """Where the backend is.

    Args:
        url: of its API, as `http://127.0.0.1:8080/v1`.
        key: sent as a bearer's; never shown.
    """

    url: str
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # of brackets, or a port that is none
            sound = False
        if not sound:
            raise InputError("the backend's URL must be like http://127.0.0.1:8080/v1")
        if parts.username or parts.password or any(each in self.url for each in "?#"):
            raise InputError(
                "the backend's URL holds a password or a query; give its key in a file"
            )

    @property
    def root(self) -> str:
        """What routes are put behind; /v1 where the URL has no path."""
        bare = self.url.rstrip("/")
        return bare if urlsplit(bare).path else f"{bare}/v1"


class BackendFailed(Exception):
    """No answer came that can be passed on, for a reason that is not the client's.

    Args:
        busy_seconds: until another try makes sense, of a backend that answers but has no room.
        lost: nothing or no more came from it, so that whoever asks next need not try.
    """

    def __init__(self, reason: str, *, busy_seconds: int | None = None, lost: bool = False) -> None:
        super().__init__(reason)
        self.busy_seconds, self.lost = busy_seconds, lost


class Reply:
    """What comes back to one question."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def value(self) -> dict[str, Any]:
        """All of it, which must be an object of JSON.

        Raises:
            BackendFailed: it is none, too large, or broken off.
        """
        return await _read(b"".join([part async for part in self._parts(MOST_BYTES)]))

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Server-sent events (HTML's standard, section 9.2) as objects, until [DONE].

        Raises:
            BackendFailed: one is none, too large, or they end without [DONE].
        """
        data, size = list[bytes](), 0
        async with aclosing(self._lines()) as lines:
            async for line in lines:
                size += len(line) + 1
                if size > MOST_EVENT_BYTES:
                    raise BackendFailed("one of its events is too large")
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line:
                    whole, data, size = b"\n".join(data), [], 0
                    if whole == b"[DONE]":
                        return
                    if whole:
                        yield _object(whole) if len(whole) < READ_HERE else await _read(whole)
        raise BackendFailed("its stream ended early")

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        waiting = bytearray()  # grows in place: however small the parts, no byte is copied often
        async with aclosing(self._parts(MOST_BYTES)) as parts:
            async for part in parts:
                first, *later = part.split(b"\n")
                waiting += first
                if len(waiting) > MOST_EVENT_BYTES:
                    raise BackendFailed("one of its events is too large")
                for each in later:
                    yield bytes(waiting.removesuffix(b"\r"))
                    waiting = bytearray(each)

    async def _parts(self, most: int) -> AsyncGenerator[bytes, None]:
        size = 0
        try:
            async with aclosing(self._response.aiter_raw()) as parts:
                async for part in parts:
                    size += len(part)
                    if size > most:
                        raise BackendFailed(f"its answer has more than {most} bytes")
                    yield part
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise _lost(error) from None

    async def check(self, kind: str) -> None:
        """Whether it is an answer of this content type.

        Raises:
            Refused: 4xx or 429 of the backend's, in its words and our shape.
            BackendFailed: anything else.
        """
        status, headers = self._response.status_code, self._response.headers
        if status == 200:
            if headers.get("content-encoding", "identity") != "identity":
                raise BackendFailed("its answer is compressed, which nobody asked for")
            if headers.get("content-type", "").split(";")[0].strip().lower() != kind:
                raise BackendFailed(f"its answer is no {kind}")
            return
        wait = _seconds(headers.get("retry-after", ""))
        if status == 503:
            raise BackendFailed("it has no room (503)", busy_seconds=wait or 1)
        if status == 501:
            raise Refused("the backend does not do this", 404, code="unsupported")
        if status in _ITS_OWN or not 400 <= status < 500:
            raise BackendFailed(f"it answered {status}")
        raise await self._refusal(status, wait)

    async def _refusal(self, status: int, wait: int | None) -> Refused:
        try:
            data = b"".join([part async for part in self._parts(MOST_ERROR_BYTES)])
            told = _object(data).get("error")
        except BackendFailed:
            told = None
        found: Mapping[str, Any] = told if isinstance(told, Mapping) else {"message": told}
        message, param, code = (
            each if isinstance(each, str) else None
            for each in (found.get(name) for name in ("message", "param", "code"))
        )
        said = message or f"the backend answered {status}"
        return Refused(said, status, param=param, code=code, retry_after=wait)


class Backend:
    """Asks one backend. Belongs to one event loop.

    Args:
        upstream: where it is.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        headers = {"accept-encoding": "identity", "user-agent": "ontogeny"}
        if upstream.key:
            headers["authorization"] = f"Bearer {upstream.key}"
        no_cookies = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
        self._client = httpx2.AsyncClient(
            headers=headers,
            cookies=http.cookiejar.CookieJar(no_cookies),
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(keepalive_expiry=KEPT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    @asynccontextmanager
    async def asked(self, path: str, body: Mapping[str, Any], kind: str) -> AsyncIterator[Reply]:
        """The answer to a POST, of content type `kind`; leaving ends it on the other side, too.

        Raises:
            Refused: 4xx of the backend's.
            BackendFailed: it cannot be reached, or answers what is no answer.
        """
        told = {"content-type": "application/json", "accept": kind}
        async with self._reply("POST", path, kind, content=encoded(body), headers=told) as reply:
            yield reply

    async def models(self) -> dict[str, Mapping[str, Any]]:
        """What it lists: name -> what it tells of it.

        Raises:
            BackendFailed: no such list came in time.
        """
        try:
            async with (
                asyncio.timeout(TRIAL_SECONDS),
                self._reply("GET", "/models", "application/json") as reply,
            ):
                rows = (await reply.value()).get("data")
        except TimeoutError:
            reason = f"it told no models within {TRIAL_SECONDS:g} s"
            raise BackendFailed(reason, lost=True) from None
        except Refused as refused:
            raise BackendFailed(f"it answered {refused.status} to GET /models") from None
        listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return {row["id"]: row for row in listed if isinstance(row.get("id"), str)}

    def _hidden(self, refused: Refused) -> Refused:
        def hidden(said: str | None) -> str | None:
            return said.replace(key, "[key]") if said and key else said

        key = self._upstream.key
        refused.message = hidden(refused.message) or ""
        refused.param = hidden(refused.param)
        refused.code = shortened(code, 80) if (code := hidden(refused.code)) else refused.code
        return refused

    async def close(self) -> None:
        """No connection is left."""
        await self._client.aclose()

    @asynccontextmanager
    async def _reply(self, method: str, path: str, kind: str, **more: Any) -> AsyncIterator[Reply]:
        url = self._upstream.root + path
        try:
            async with self._client.stream(method, url, **more) as response:
                reply = Reply(response)
                await reply.check(kind)
                yield reply
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise _lost(error) from None
        except Refused as refused:  # a server may quote what it was sent
            raise self._hidden(refused) from None


async def _read(data: bytes) -> dict[str, Any]:
    return await asyncio.get_running_loop().run_in_executor(None, _object, data)


def _object(data: bytes) -> dict[str, Any]:
    try:
        return read_object(data)
    except Refused as refused:
        reason = refused.message.replace("the body", "its answer")
        raise BackendFailed(reason) from None


def _lost(error: Exception) -> BackendFailed:
    why = f"{type(error).__name__}: {error}".removesuffix(": ")
    return BackendFailed(shortened(why, 200), lost=True)


def _seconds(value: str) -> int | None:
    """Of Retry-After, where it gives a number."""
    try:
        found = float(value)
    except ValueError:
        return None
    return min(MOST_RETRY_SECONDS, max(1, math.ceil(found))) if math.isfinite(found) else None
