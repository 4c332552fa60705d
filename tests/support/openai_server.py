"""A server on loopback that speaks OpenAI's API over a real socket, and misbehaves by script.

Each POST is answered by an *act*: a function that is given the connection and writes what it likes.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

MODEL = "small"


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    connection: int
    """Which connection it came on, counted from 0."""


class Line:
    """The server's end of one connection."""

    def __init__(self, connected: socket.socket, number: int) -> None:
        self.socket, self.number = connected, number
        self.file = connected.makefile("rb")

    def send(self, data: bytes) -> None:
        """Writes all of it."""
        self.socket.sendall(data)

    def gone(self, seconds: float) -> bool:
        """Whether the client leaves within so many seconds."""
        readable, _, _ = select.select([self.socket], [], [], seconds)
        try:
            return bool(readable) and not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def heard(self) -> Heard | None:
        """The next request; None where the client has left."""
        try:
            first = self.file.readline().decode()
            if not first:
                return None
            method, path, _ = first.split(" ")
            headers = {}
            while line := self.file.readline().decode().rstrip("\r\n"):
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            data = self.file.read(int(headers.get("content-length", 0)))
        except OSError:
            return None
        return Heard(method, path, headers, json.loads(data) if data else None, self.number)


Act = Callable[[Line], bool]
"""Answers, and says whether the connection may be used again."""


def says(body: Any, status: int = 200, **headers: str) -> Act:
    """A whole answer of JSON (bytes go out as they are); `Retry_After="1"` is a header."""

    def act(line: Line) -> bool:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        every = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        every |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in every.items())
        line.send(f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + data)
        return every.get("Connection") != "close"

    return act


def raw(data: bytes) -> Act:
    """Bytes as they stand, then the end of the connection."""

    def act(line: Line) -> bool:
        line.send(data)
        return False

    return act


def hangs(seconds: float = 10.0, gone: list[float] | None = None) -> Act:
    """Says nothing; notes in `gone` how long it took the client to leave."""

    def act(line: Line) -> bool:
        began = time.monotonic()
        if line.gone(seconds) and gone is not None:
            gone.append(time.monotonic() - began)
        return False

    return act


def streams(
    events: Iterable[Any], pause: float = 0.0, *, done: bool = True, gone: list[int] | None = None
) -> Act:
    """Server-sent events in chunks, with pauses; notes in `gone` at which one the client left."""

    def chunk(text: str) -> bytes:
        data = text.encode()
        return b"%x\r\n%b\r\n" % (len(data), data)

    def act(line: Line) -> bool:
        line.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number, event in enumerate(events):
            if line.gone(pause):
                if gone is not None:
                    gone.append(number)
                return False
            line.send(chunk(f": a comment\n\ndata: {json.dumps(event)}\n\n"))
        if not done:
            return False
        line.send(chunk("data: [DONE]\n\n") + b"0\r\n\r\n")
        return True

    return act


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """The usage of an answer."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def chat(text: str | None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """An answer of /chat/completions; `logprobs`, `usage` and fields of the message in `more`."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if "logprobs" in more:
        choice["logprobs"] = {"content": more.pop("logprobs")}
    used = more.pop("usage", usage(10, 5))
    choice["message"] = {"role": "assistant", "content": text, **more}
    return {"object": "chat.completion", "choices": [choice], "usage": used}


def chat_parts(texts: Sequence[str], finish: str = "stop") -> Iterator[dict[str, Any]]:
    """The same in the parts of a stream, usage last."""
    yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    for text in texts:
        yield {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    yield {"choices": [], "usage": usage(10, len(texts))}


@dataclass
class OpenAIServer:
    """Where it listens, and what it heard.

    Args:
        answer: the act for a POST.
        models: what GET /v1/models lists.
        tls: speaks TLS with it.
    """

    answer: Callable[[Heard], Act]
    models: Sequence[Mapping[str, Any]] = ({"id": MODEL, "owned_by": "somebody"},)
    tls: ssl.SSLContext | None = None
    requests: list[Heard] = field(default_factory=list)
    listed: Act | None = None
    """Answers GET instead of a list of the models."""
    url: str = ""

    @property
    def posts(self) -> list[Heard]:
        """The questions to the model."""
        return [each for each in self.requests if each.method == "POST"]

    def serve(self, line: Line) -> None:
        """One connection to its end."""
        with line.socket, line.file:
            while heard := line.heard():
                self.requests.append(heard)
                act = self.answer(heard) if heard.method == "POST" else self._listed(heard)
                try:
                    if not act(line):
                        return
                except OSError:  # the client left
                    return

    def _listed(self, heard: Heard) -> Act:
        if self.listed is not None:
            return self.listed
        if heard.path.endswith("/models"):
            return says({"object": "list", "data": list(self.models)})
        return says({"error": {"message": "no such path"}}, 404)


@contextmanager
def serving(
    answer: Callable[[Heard], Act] | Sequence[Act],
    models: Sequence[Mapping[str, Any]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[OpenAIServer]:
    """A server that is listening; acts in a sequence are played in turn, the last for ever."""
    if not callable(answer):
        acts, played = list(answer), iter(answer)
        answer = lambda _: next(played, acts[-1])  # noqa: E731
    server = OpenAIServer(answer, tls=tls)
    if models is not None:
        server.models = models
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if tls is None else "https"
    server.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1"
    threads: list[threading.Thread] = []
    open_: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            try:
                if tls is not None:
                    connected = tls.wrap_socket(connected, server_side=True)
            except OSError:
                connected.close()
                continue
            open_.append(connected)
            line = Line(connected, len(open_) - 1)
            threads.append(threading.Thread(target=server.serve, args=(line,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for each in open_:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
