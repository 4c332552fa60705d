"""A real server on a real socket: slow and rude clients, overload, failures, the stop."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from serve.running import (
    KEY,
    SAY,
    Live,
    endless,
    live,
    model,
)
from support.bench import Bench

from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.cli.app import run_app
from ontogeny.serve.gate import Keys, Limits
from ontogeny.serve.server import listening, loopback

CHAT = "/v1/chat/completions"
BODY = json.dumps(SAY).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    limits = Limits(body_seconds=0.7, header_seconds=0.7, connections=400)
    with live(limits) as found:
        yield found


def head(*lines: str, route: str = f"POST {CHAT} HTTP/1.1") -> bytes:
    kind = "content-type: application/json"
    return "\r\n".join([route, "host: localhost", kind, *lines, "", ""]).encode()


def until(holds: Callable[[], bool], seconds: float) -> float:
    """How long it took; fails where it took longer."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)
    return time.monotonic() - began


RUDE: dict[str, tuple[bytes, bytes]] = {
    "a length beyond the limit": (head("content-length: 99999999"), b" 413 "),
    "a length and chunks": (
        head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n",
        b" 400 ",
    ),
    "a negative length": (head("content-length: -5"), b" 400 "),
    "a length that is none": (head("content-length: x"), b" 400 "),
    "a length too long": (head("content-length: 500") + BODY, b" 408 "),
    "a length too short": (head("connection: close", "content-length: 5") + BODY, b" 400 "),
    "a chunk that is none": (head("transfer-encoding: chunked") + b"zz\r\n", b" 400 "),
    "chunks without end": (head("transfer-encoding: chunked") + b"1\r\na\r\n" * 50, b" 408 "),
    "chunks beyond the limit": (
        head("transfer-encoding: chunked") + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 18,
        b" 413 ",
    ),
    "gzip": (head("content-encoding: gzip", "content-length: 3") + b"\x1f\x8b\x08", b" 400 "),
    "many headers": (head(*(f"x-{n}: y" for n in range(10_000))), b" 400 "),
    "a long header": (head("x: " + "y" * (1 << 20)), b" 400 "),
    "an unknown method": (head("connection: close", route=f"BREW {CHAT} HTTP/1.1"), b" 405 "),
    "no method": (b"\x00\x01\x02\r\n\r\n", b" 400 "),
    "HTTP 0.9": (b"GET /health\r\n\r\n", b" 400 "),
    "a strange version": (b"GET /health HTTP/9.9\r\nhost: localhost\r\n\r\n", b"HTTP/1.1 "),
    "no host": (b"GET /v1/models HTTP/1.1\r\n\r\n", b" 400 "),
}


@pytest.mark.parametrize("name", RUDE)
def test_a_request_that_breaks_http_is_refused(server: Live, name: str) -> None:
    data, expected = RUDE[name]
    said = server.raw(data, seconds=3.0)
    assert expected in said.split(b"\r\n")[0], said[:200]
    assert b" 5" not in said.split(b"\r\n")[0]
    assert server.ask("/health").status == 200


def test_pipelined_requests_are_answered_in_order(server: Live) -> None:
    one = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = b"GET /none HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    statuses = re.findall(rb"HTTP/1.1 (\d+)", server.raw(one * 3 + last))
    assert statuses == [b"200"] * 3 + [b"404"]


def test_slow_clients_are_dropped_and_others_answered(server: Live) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(server.line()) for _ in range(200)]
        for number, line in enumerate(slow):
            line.sendall(b"POST / HTT" if number % 2 else head("content-length: 90") + b"{")
        began = time.monotonic()
        assert server.ask(CHAT, SAY).status == 200
        assert time.monotonic() - began < 3.0
        for line in slow:
            line.settimeout(5)
            while line.recv(4096):
                pass
    assert server.ask("/health").status == 200


def test_more_connections_than_there_may_be_are_closed() -> None:
    with live(Limits(connections=20)) as server:
        with ExitStack() as stack:
            lines = [stack.enter_context(server.line()) for _ in range(21)]
            with pytest.raises(ConnectionError):
                lines[-1].sendall(head()) or lines[-1].recv(10) or _gone()
        until(lambda: _healthy(server), 10.0)


def _gone() -> None:
    raise ConnectionResetError


def _healthy(server: Live) -> bool:
    try:
        return server.ask("/health").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_who_leaves_frees_its_slot_at_once(server: Live, stream: bool) -> None:
    body = json.dumps(endless(stream=stream)).encode()
    engine = server.policy.engine
    before = engine.counts.sampled_tokens
    with server.line() as line:
        line.sendall(head(f"content-length: {len(body)}") + body)
        until(lambda: len(engine.slots) < 4, 10.0)
        if stream:
            assert b"200 OK" in line.recv(4096)
    until(lambda: len(engine.slots) == 4 and not engine.busy, 30.0)
    # a machine may be slow: what counts is that the answer was given up and not finished
    assert engine.counts.sampled_tokens - before < 1000


def test_health_is_told_while_the_model_works(server: Live) -> None:
    ends = threading.Event()

    def generate() -> None:
        server.ask(CHAT, endless(700, n=4))
        ends.set()

    thread = threading.Thread(target=generate)
    thread.start()
    until(lambda: len(server.policy.engine.slots) == 0, 5.0)
    times = []
    while not ends.is_set() and len(times) < 20:
        began = time.monotonic()
        assert server.ask("/health").status == 200
        times.append(time.monotonic() - began)
    thread.join()
    assert len(times) > 3
    assert sorted(times)[len(times) // 2] < 0.25


def test_overload_is_refused_at_once_and_passes() -> None:
    with live(Limits(slots=1, waiting=1)) as server:
        replies: list[Any] = []

        def ask() -> None:
            replies.append(server.ask(CHAT, endless(400)))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = sorted(reply.status for reply in replies)
        assert statuses[0] == 200 and statuses[-1] == 503
        refused = [reply for reply in replies if reply.status == 503]
        assert all(1 <= int(reply.headers["retry-after"]) <= 30 for reply in refused)
        assert server.ask(CHAT, SAY).status == 200


def test_a_stop_lets_answers_end_and_a_second_one_cuts_those_that_do_not() -> None:
    with live(Limits(slots=2, grace_seconds=600.0)) as server:
        with server.line() as short, server.line() as long:
            for line, body in ((short, endless(30, stream=True)), (long, endless(stream=True))):
                data = json.dumps(body).encode()
                line.sendall(head(f"content-length: {len(data)}") + data)
            said = [line.recv(100) for line in (short, long)]
            server.stop()
            said[0] += _all(short)
            server.stop()  # the second signal does what the end of the grace does
            said[1] += _all(long)
        assert b"data: [DONE]" in said[0]
        assert b'"code":"stopping"' in said[1] and b"[DONE]" not in said[1]
        with pytest.raises(OSError, match="refused"):
            server.line()


def _all(line: socket.socket) -> bytes:
    line.settimeout(20)
    found = b""
    while part := line.recv(65536):
        found += part
    return found


def test_an_address_that_others_reach_needs_keys() -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match="no keys; give --keys FILE"):
            listening(host, 0, keyed=False)
    listening("0.0.0.0", 0, keyed=True).close()
    bound = listening("127.0.0.1", 0, keyed=False)
    with bound, pytest.raises(InputError, match="cannot serve on"):
        listening("127.0.0.1", bound.getsockname()[1], keyed=False)
    assert loopback("::1") and loopback("127.8.8.8") and not loopback("192.168.0.1")


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "holds no key", 1),
        ("# only words\n\n", "holds no key", 1),
        ("short\n", "16 to 200", 1),
        (f"me:{KEY}\nme:{'x' * 16}\n", "stands twice", 2),
        (f"me:{KEY}\nyou:{KEY}\n", "stands twice", 2),
        ("a key with spaces in it\n", "16 to 200", 1),
        (None, "cannot be read", 1),
    ],
)
def test_a_mistake_in_the_file_of_keys_is_told_without_the_key(
    tmp_path: Path, text: str | None, reason: str, line: int
) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        Keys.read(path)
    assert (caught.value.line, caught.value.file) == (line, str(path))
    assert KEY not in str(caught.value)


def test_serve_refuses_a_public_address_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), model(), bench.tokenizer, chats=True)
    bench.store.set_name("small", bench.keep("sft", "model").id)
    words = ["serve", "small", "--store", str(bench.store.root), "--host", "0.0.0.0"]
    monkeypatch.setattr(sys, "argv", ["ontogeny", *words])
    with pytest.raises(InputError) as caught:
        run_app(words)
    assert str(caught.value).startswith("command line:5: ")
    assert caught.value.exit_code == 2


def test_sigterm_under_load_ends_streams_and_the_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), model(), bench.tokenizer, chats=True)
    bench.store.set_name("small", bench.keep("sft", "model").id)
    words = ["serve", "small", "--store", str(bench.store.root), "--port", "0", "--grace", "0.5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ontogeny", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout is not None and process.stderr is not None
        line, example = process.stdout.readline(), process.stdout.readline()
        found = re.search(r"at (http://127\.0\.0\.1:\d+)/v1: 4 slots", line)
        assert found and example.startswith("try: curl "), line
        body = json.dumps(endless(stream=True)).encode()
        kind = {"content-type": "application/json"}
        asked = urllib.request.Request(found[1] + CHAT, body, kind)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            assert reply.readline().startswith(b"data: ")
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            rest = reply.read()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 30.0
        assert b'"code":"stopping"' in rest
        rows = io.StringIO(process.stderr.read()).readlines()
    assert json.loads(rows[0])["ended"] == "stopping"
    assert rows[-1] == "stopped\n"
