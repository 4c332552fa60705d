"""One question to a server, asked again where that may help, and every failure as one line.

Knows HTTP's statuses and the form of OpenAI's errors; what questions and answers mean stands in
`remote_chat` and `remote_tokens`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_events import parsed, retry_after, stream
from ontogeny.edge.remote_http import Client
from ontogeny.edge.remote_reply import Broken, NobodyThere, Reply
from ontogeny.edge.remote_spending import Meter, Ticket, Usage

BACKOFF_SECONDS, MOST_BACKOFF_SECONDS = 0.5, 30.0
MOST_ERROR_BYTES = 65_536
MOST_LISTED_BYTES = 8 << 20
_AGAIN = (408, 409, 429)
_UNKNOWN = (400, 404, 405, 422, 501)
_WHATEVER = 1 << 40
_CUT = 300  # characters of a server's own words in a line of ours

T = TypeVar("T")


class Answer(Protocol):
    """What becomes of a server's answer."""

    def take(self, event: Mapping[str, Any]) -> bool:
        """The next part of it (all of it, where nothing is streamed); True: no more is needed.

        Raises:
            InputError: it is not of the form that was asked for.
        """
        ...

    def complete(self) -> bool:
        """Whether its end was among what it took."""
        ...

    def again(self) -> bool:
        """Forgets what it has taken; False where it cannot, for somebody has heard it."""
        ...

    def usage(self) -> Usage | None:
        """What it cost, as far as the server said."""
        ...


class _Seen:
    """An answer that is kept as it is."""

    event: Any = None

    def take(self, event: Mapping[str, Any]) -> bool:
        self.event = event
        return True

    def complete(self) -> bool:
        return self.event is not None

    def again(self) -> bool:
        return True

    def usage(self) -> Usage | None:
        return None


class Refusal(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, headers: Mapping[str, str], said: str) -> None:
        super().__init__(said)
        self.status, self.headers, self.said = status, headers, said


@dataclass
class Patience:
    """What is left of a deadline: `left` seconds; waiting for our own pace takes none of them."""

    left: float


class Asker:
    """Asks one server under one config."""

    def __init__(self, client: Client, config: RemoteConfig, meter: Meter) -> None:
        self.client, self.config, self.meter = client, config, meter
        self.model, self.models = config.model, tuple[str, ...]()
        self._key = config.key()
        address = client.address
        if self._key and not (address.secure or address.loopback or config.plain_key):
            raise self._error(
                f"the key would travel unencrypted to {address.host}; give an https URL, or allow "
                "it (plain_key)"
            )
        self._met = False

    def patience(self) -> Patience:
        """The deadline of one completion, from now on."""
        return Patience(self.config.deadline_seconds)

    async def ask(
        self,
        path: str,
        body: Mapping[str, Any],
        answer: Answer,
        most: Usage,
        most_bytes: int,
        patience: Patience | None = None,
    ) -> None:
        """Puts `body` to the model; `answer` takes what comes.

        What is asked for one completion in several requests shares one `patience`. Backoff is
        exponential with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS 2015) and
        never shorter than the server asks for (RFC 9110, section 10.2.3).

        Raises:
            InputError: it could not be answered, in one line.
            LimitReached: asking could pass a limit.
        """
        fields = {k: v for k, v in {**body, **self.config.fields}.items() if v is not None}
        data = json.dumps(fields, allow_nan=False).encode()

        async with self.meter.admitted(most) as ticket:

            async def once() -> None:
                try:
                    await self._exchange("POST", path, data, most_bytes, answer, ticket)
                finally:
                    if (used := answer.usage()) is not None:
                        ticket.settle(used)

            await self._persist(once, ticket, patience or self.patience())

    async def look(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the server says of itself; None where it does not know what is asked.

        Raises:
            InputError: see `ask`.
        """
        data = b"" if body is None else json.dumps(body).encode()
        seen = _Seen()
        try:
            await self._persist(
                lambda: self._exchange(method, path, data, MOST_LISTED_BYTES, seen, None),
                None,
                self.patience(),
            )
        except Refusal:
            return None
        return seen.event

    async def _exchange(
        self,
        method: str,
        path: str,
        data: bytes,
        most_bytes: int,
        answer: Answer,
        ticket: Ticket | None,
    ) -> None:
        """One request and what comes of it, until `answer` has enough."""
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": "ontogeny"}
        if data:
            headers["Content-Type"] = "application/json"
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        heard = False
        try:
            async with self.client.request(method, path, headers, data) as reply:
                self._met = True
                if not 200 <= reply.status < 300:
                    said = await self._said(reply)
                    if ticket is not None:
                        ticket.settle(None)
                    raise Refusal(reply.status, reply.headers, said)
                if not reply.headers.get("content-type", "").startswith("text/event-stream"):
                    answer.take(self._checked(parsed(await reply.read(most_bytes))))
                    return
                async for event in stream(reply, most_bytes):
                    enough = answer.take(self._checked(event))
                    heard = True
                    if enough:
                        return
                if heard and not answer.complete():
                    raise Broken("the server's stream ended too early")
        except InputError as error:
            error.file = error.file or self.client.address.url
            raise
        except Broken as broken:
            if heard and not answer.again():  # whoever listens has heard its beginning
                raise self._error(f"the answer broke off ({broken}); ask again") from None
            raise
        if not heard:
            raise self._error("the server's stream holds nothing; try again later")

    async def _persist(
        self, once: Callable[[], Awaitable[T]], ticket: Ticket | None, patience: Patience
    ) -> T:
        now = self.meter.waiting.now
        for attempt in range(self.config.most_retries + 1):
            if ticket is not None:
                await ticket.attempt()
            begun = now()
            try:
                async with asyncio.timeout(patience.left):
                    return await once()
            except TimeoutError:
                raise self._late() from None
            except Broken as broken:
                if isinstance(broken, NobodyThere) and ticket is not None:
                    ticket.settle(None)
                asked, problem = 0.0, str(broken)
                if isinstance(broken, NobodyThere) and not self._met:
                    raise self._error(f"nobody answers ({problem}); {self._remedy()}") from None
            except Refusal as refusal:
                if ticket is None and refusal.status in _UNKNOWN:
                    raise
                if refusal.status not in _AGAIN and refusal.status < 500:
                    raise self._final(refusal) from None
                asked = retry_after(refusal.headers)
                problem = f"status {refusal.status}: {refusal.said}"
            finally:
                patience.left -= now() - begun
            if attempt == self.config.most_retries:
                break
            spread = min(MOST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0**attempt)
            pause = asked + spread * self.meter.waiting.draw()
            if pause > patience.left:
                raise self._late(problem)
            await self.meter.sleep(pause)
            patience.left -= pause
        tries = self.config.most_retries + 1
        raise self._error(f"asked {tries} times, no answer ({problem}); try again later")

    def _final(self, refusal: Refusal) -> InputError:
        """The one line of a status that asking again does not change."""
        status, said, variable = refusal.status, refusal.said, self.config.key_variable
        if status == 401 and not variable:
            reason = (
                "the server wants a key; put it into an environment variable and name that "
                "(key_variable)"
            )
        elif status == 401:
            reason = f"the server does not take the key in {variable}; put a valid one there"
        elif status == 403:
            reason = f"the server does not allow this ({said}); ask for access, or mend the key"
        elif status == 404:
            return self.missing(said)
        elif 300 <= status < 400:
            to = refusal.headers.get("location", "")[:_CUT].partition("?")[0]
            reason = f"the server sends on to '{to}', which is not followed; give the right URL"
        else:
            reason = f"the server refuses the request ({status}: {said}); change it"
        return self._error(reason)

    def missing(self, said: str = "not listed") -> InputError:
        """The line for a model, or a path, that the server does not have."""
        if self.model in self.models or not self.models:
            reason = f"the server has no such path or model ({said}); mend the URL or the model"
        else:
            named = ", ".join(self.models[:8]) + (", ..." if len(self.models) > 8 else "")
            reason = f"the server has no model '{self.model}'; it lists {named}"
        return self._error(reason)

    def _late(self, problem: str = "") -> InputError:
        after = f"; the last was {problem}" if problem else ""
        return self._error(
            f"no answer within deadline_seconds ({self.config.deadline_seconds:g}){after}; give "
            "more time or ask for fewer tokens"
        )

    def _remedy(self) -> str:
        proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy")]
        note = f" ({proxies[0]} is set; proxies are not used)" if proxies else ""
        return f"start the server, or mend the URL{note}"

    def _error(self, reason: str) -> InputError:
        return InputError(self._clean(reason), file=self.client.address.url)

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    async def _said(self, reply: Reply) -> str:
        """A server's own words about an error, cut short."""
        data = b""
        async for part in reply.parts(_WHATEVER):
            data += part
            if len(data) > MOST_ERROR_BYTES:
                break
        try:
            event = json.loads(data[:MOST_ERROR_BYTES])
        except (ValueError, RecursionError):
            return self._clean(data.decode("utf-8", "replace"))[:_CUT]
        return self._words(event)

    def _words(self, event: Any) -> str:
        inner = event.get("error", event) if isinstance(event, dict) else event
        if isinstance(inner, dict):
            inner = inner.get("message") or inner.get("detail") or inner
        return self._clean(str(inner))[:_CUT]

    def _checked(self, event: Any) -> Mapping[str, Any]:
        if not isinstance(event, dict):
            raise self._error("the server's answer is no JSON object; mend the URL")
        if event.get("error"):
            raise self._error(f"the server failed ({self._words(event)}); try again later")
        return event
