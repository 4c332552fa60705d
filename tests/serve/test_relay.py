"""Our front before another server: the same answers, and nothing of either side leaks."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from serve.relaying import PUBLIC, Gateway, gateway
from serve.running import KEY, NAME, OTHER, SAY, Live, endless, live
from support.openai_server import (
    Act,
    Heard,
    OpenAIServer,
    chat,
    chat_parts,
    hangs,
    raw,
    says,
    serving,
    streams,
    usage,
)

from ontogeny.base.errors import InputError
from ontogeny.feedback.ledger import Ledger
from ontogeny.serve.backend import Backend, Reply, Upstream
from ontogeny.serve.client_library import httpx2
from ontogeny.serve.gate import Limits
from ontogeny.serve.recording import Recorder
from ontogeny.serve.relay import Relay
from ontogeny.serve.relay_asked import Relayed

CHAT, TEXT, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
BODY: dict[str, Any] = SAY | {"model": PUBLIC, "temperature": 0}
STREAM = BODY | {"stream": True}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SECRET = "upstream-secret-key-0123456789"


@pytest.fixture(scope="module")
def backend() -> Iterator[Live]:
    """`ontogeny serve` itself, with a key of its own."""
    with live(keys={"gateway": SECRET}) as server:
        yield server


@pytest.fixture(scope="module")
def behind(backend: Live) -> Iterator[Gateway]:
    """The gateway before it; it lets nobody in without a key."""
    url = f"http://127.0.0.1:{backend.port}"
    with gateway(url, keys={"one": KEY, "two": OTHER}, key=SECRET) as server:
        yield server


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def alike(one: Any, other: Any) -> bool:
    """Equal but for ids and names; log-probs differ in the last bits with a request's company."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return all(alike(one[k], other[k]) for k in one if k not in ("id", "created", "model"))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 1e-4
    return bool(one == other)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, BODY),
        (CHAT, BODY | {"n": 2, "seed": 3, "temperature": 1, "logprobs": True, "top_logprobs": 2}),
        (CHAT, BODY | {"response_format": {"type": "json_object"}, "max_tokens": 30}),
        (TEXT, {"model": PUBLIC, "prompt": "Say", "max_tokens": 4, "seed": 1}),
        (
            TEXT,
            {"model": PUBLIC, "prompt": ["Say", [1, 2]], "echo": True, "logprobs": 1, "seed": 1},
        ),
        (CHAT, BODY | {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}),
        (VECTORS, {"model": PUBLIC, "input": ["One", "Two"], "encoding_format": "base64"}),
    ],
)
def test_an_answer_is_the_backends_under_our_names(
    backend: Live, behind: Gateway, path: str, body: dict[str, Any]
) -> None:
    through = behind.ask(path, body, **bearer(KEY))
    direct = backend.ask(path, body | {"model": NAME}, **bearer(SECRET))
    assert through.status == direct.status == 200, through.body
    assert through.json["model"] == PUBLIC
    assert through.json.get("id") != direct.json.get("id") or path == VECTORS
    assert alike(through.json, direct.json)


@pytest.mark.parametrize("asks_usage", [False, True])
def test_a_stream_is_the_backends_event_for_event(
    backend: Live, behind: Gateway, asks_usage: bool
) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks_usage else {}
    through = behind.ask(CHAT, STREAM | more, **bearer(KEY))
    direct = backend.ask(CHAT, STREAM | more | {"model": NAME}, **bearer(SECRET))
    assert alike(through.events, direct.events)
    assert {each["model"] for each in through.events} == {PUBLIC}
    assert len({each["id"] for each in through.events}) == 1


def test_events_come_when_the_backend_sends_them() -> None:
    parts = list(chat_parts(["one ", "two"]))

    def slow(line: Any) -> bool:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        line.send(head + b"".join(b"data: %b\n\n" % json.dumps(p).encode() for p in parts[:2]))
        assert seen.wait(20)
        line.send(b"".join(b"data: %b\n\n" % json.dumps(p).encode() for p in parts[2:]))
        line.send(b"data: [DONE]\n\n")
        return False

    seen = threading.Event()
    with serving([slow]) as server, gateway(server.url) as front, front.line() as line:
        line.sendall(request(STREAM))
        heard = b""
        while b"one " not in heard:
            heard += line.recv(65536)
        assert b"two" not in heard
        seen.set()
        while b"[DONE]" not in heard:
            heard += line.recv(65536)
        text = front.ask("/metrics").body.decode()
        assert "ontogeny_first_token_seconds_count 1" in text


def request(body: dict[str, Any], path: str = CHAT) -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    ).encode() + data


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        (CHAT, {"temperature": 3}, "temperature"),
        (CHAT, {"n": 17}, "n"),
        (CHAT, {"best": 1}, "best"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"logit_bias": {"x": 1}}, "logit_bias.x"),
        (CHAT, {"stop": ["x"] * 17}, "stop"),
        (CHAT, {"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        (TEXT, {"messages": None, "prompt": [-1]}, "prompt"),
        (TEXT, {"messages": None, "prompt": ["x"] * 129}, "prompt"),
        (TEXT, {"messages": None, "prompt": "x", "best_of": 3}, "best_of"),
        (
            VECTORS,
            {"messages": None, "max_tokens": None, "temperature": None, "input": []},
            "input",
        ),
    ],
)
def test_a_body_is_checked_before_the_backend_hears_of_it(
    path: str, more: dict[str, Any], param: str
) -> None:
    with serving([says(chat("no"))]) as server, gateway(server.url) as front:
        reply = front.ask(path, BODY | more)
        assert reply.status == 400 and reply.json["error"]["param"] == param, reply.body
        assert front.ask(path, BODY | {"model": "../../etc/passwd"}).status == 404
        assert not server.requests


def test_no_key_and_no_name_goes_to_the_other_side() -> None:
    log = io.StringIO()
    quotes = says({"error": {"message": f"you sent {SECRET}"}}, 400, Set_Cookie="a=b", X_Who="me")
    acts = [says(chat("hi"), Set_Cookie="session=1"), quotes]
    keys = {"one": KEY}
    with serving(acts) as server, gateway(server.url, keys=keys, key=SECRET, log=log) as front:
        assert front.ask(CHAT, BODY).status == 401
        assert not server.requests
        asked = BODY | {"user": "alice", "store": False, "prompt_cache_key": "room 7"}
        first = front.ask(CHAT, asked, **bearer(KEY), cookie="mine=1")
        second = front.ask(CHAT, asked, **bearer(KEY))
    assert (first.status, second.status) == (200, 400)
    assert second.reason == "you sent [key]"
    for reply in (first, second):
        assert not {"set-cookie", "x-who", "server"} & set(reply.headers)
        assert SECRET not in reply.body.decode()
    for heard in server.posts:
        assert heard.headers["authorization"] == f"Bearer {SECRET}"
        assert "cookie" not in heard.headers
        told = json.dumps([dict(heard.headers), heard.body])
        assert KEY not in told and "alice" not in told and "room 7" not in told
        assert not {"store", "prompt_cache_key"} & set(heard.body)
    assert server.posts[0].body["user"] == server.posts[1].body["user"]
    assert SECRET not in log.getvalue() and KEY not in log.getvalue()
    assert [json.loads(row)["key"] for row in log.getvalue().splitlines()] == ["", "one", "one"]
    assert SECRET not in repr(Upstream(server.url, SECRET))


@pytest.mark.parametrize(
    "path", ["/metrics", "/openapi.json", "/v1/models", "/v1/models/x", CHAT, TEXT, VECTORS, "/x"]
)
def test_every_route_but_health_needs_a_key(behind: Gateway, path: str) -> None:
    for headers in ({}, bearer("x" * 16), bearer(SECRET)):
        assert behind.ask(path, **headers).status == 401
    assert behind.ask("/health").status == 200
    assert behind.ask(f"{path}?key={KEY}").status == 401


def test_its_document_tells_of_no_model_but_by_the_public_name(behind: Gateway) -> None:
    told = (
        behind.ask("/openapi.json", **bearer(KEY)).body
        + behind.ask("/v1/models", **bearer(KEY)).body
    )
    assert PUBLIC.encode() in told and f'"{NAME}"'.encode() not in told


def test_two_keys_whose_clients_have_one_name_are_told_apart() -> None:
    with (
        serving([says(chat("hi"))]) as server,
        gateway(server.url, keys={"one": KEY, "two": OTHER}) as front,
    ):
        for key in (KEY, OTHER, KEY):
            front.ask(CHAT, BODY | {"user": "alice"}, **bearer(key))
    one, other, again = (heard.body["user"] for heard in server.posts)
    assert one == again != other


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_who_leaves_ends_the_request_on_the_other_side(stream: bool) -> None:
    gone: list[float] = []
    with (
        serving([hangs(20.0, gone)]) as server,
        gateway(server.url) as front,
        front.line() as line,
    ):
        line.sendall(request(BODY | {"stream": stream}))
        front.until(lambda: bool(server.posts))
        began = time.monotonic()
        line.shutdown(socket.SHUT_RDWR)
        front.until(lambda: bool(gone) and front.gate.inside == 0)
        assert time.monotonic() - began < 10.0  # 1 s is the claim; a loaded machine is slow


def test_a_client_who_leaves_a_stream_frees_the_backends_slot(
    backend: Live, behind: Gateway
) -> None:
    body = endless(model=PUBLIC, stream=True)
    data = request(body).replace(
        b"\r\n\r\n", f"\r\nauthorization: Bearer {KEY}\r\n\r\n".encode(), 1
    )
    with behind.line() as line:
        line.sendall(data)
        heard = b""
        while heard.count(b"data: ") < 4:
            heard += line.recv(65536)
        assert backend.policy.engine.busy
    behind.until(lambda: not backend.policy.engine.busy and behind.gate.inside == 0)


@pytest.mark.parametrize(
    ("status", "told", "heard"),
    [
        (400, {"error": {"message": "no", "param": "n", "code": "c"}}, (400, "no", "n", "c")),
        (404, {"error": "gone"}, (404, "gone", None, None)),
        (422, {"detail": "x"}, (422, "the backend answered 422", None, None)),
        (413, b"<html>", (413, "the backend answered 413", None, None)),
        (
            400,
            {"error": {"message": ["x"], "code": 7}},
            (400, "the backend answered 400", None, None),
        ),
    ],
)
def test_what_the_client_did_wrong_it_is_told_in_our_shape(
    status: int, told: Any, heard: tuple[Any, ...]
) -> None:
    with serving([says(told, status)]) as server, gateway(server.url) as front:
        reply = front.ask(CHAT, BODY)
        error = reply.json["error"]
        assert (reply.status, error["message"], error["param"], error["code"]) == heard
        assert front.ask("/health").json == {"status": "ok"}


def test_too_many_requests_are_passed_on_with_their_wait() -> None:
    busy = says({"error": {"message": "slow down"}}, 429, Retry_After="7")
    full = says(b"", 503, Retry_After="1.2")
    with serving([busy, full]) as server, gateway(server.url) as front:
        first, second = front.ask(CHAT, BODY), front.ask(CHAT, BODY)
        assert (first.status, first.headers["retry-after"]) == (429, "7")
        assert (second.status, second.headers["retry-after"]) == (503, "2")
        assert front.ask("/health").status == 200


LOST: dict[str, Act] = {
    "cut": raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"),
    "no HTTP": raw(b"hello\r\n\r\n"),
    "nothing": raw(b""),
}
WRONG: dict[str, Act] = {
    "500": says({"error": {"message": "secret stack"}}, 500),
    "401": says({"error": {"message": "bad key"}}, 401),
    "a redirect": says(b"", 302, Location="http://127.0.0.1:9/"),
    "no JSON": says(b"<html>"),
    "no object": says([1]),
    "no choices": says({"choices": 3}),
    "a choice of nobody's": says({"choices": [{"index": 5, "message": {"content": "x"}}]}),
    "NaN": says(b'{"choices": [], "x": NaN}'),
    "another type": says(chat("x"), Content_Type="text/html"),
    "compressed": says(chat("x"), Content_Encoding="gzip"),
}


def assert_502(front: Gateway) -> None:
    reply = front.ask(CHAT, BODY)
    assert reply.status == 502 and int(reply.headers["retry-after"]) >= 1, reply.body
    assert reply.json["error"]["type"] == "server_error"
    assert "secret" not in reply.body.decode()


def trials(server: OpenAIServer) -> int:
    return sum(each.path.endswith("/v1/models") for each in server.requests)


@pytest.mark.parametrize("act", LOST.values(), ids=LOST)
def test_a_backend_that_is_lost_is_red_until_a_trial_answers(act: Act) -> None:
    with serving([act, says(chat("hi"))]) as server, gateway(server.url) as front:
        assert_502(front)
        assert front.relay.health.failures == 1
        front.until(lambda: front.relay.health.state == "ok")
        assert trials(server) >= 1 and len(server.posts) == 1, "nothing is sent twice"
        assert front.ask(CHAT, BODY).json["choices"][0]["message"]["content"] == "hi"


@pytest.mark.parametrize("act", WRONG.values(), ids=WRONG)
def test_one_request_that_a_backend_fails_at_is_looked_into_and_keeps_nobody_out(act: Act) -> None:
    with serving([act, says(chat("hi"))]) as server, gateway(server.url) as front:
        assert_502(front)
        assert front.ask(CHAT, BODY).json["choices"][0]["message"]["content"] == "hi"
        front.until(lambda: trials(server) == 1)
        assert front.relay.health.failures == 0
        assert len(server.posts) == 2, "a redirect is not followed, nothing is sent twice"


def test_a_backend_that_fails_at_the_trial_too_is_red() -> None:
    def answer(_: Heard) -> Act:
        server.listed = says(b"", 500)
        return says(b"", 500)

    with serving(answer) as server, gateway(server.url) as front:
        assert_502(front)
        front.until(lambda: front.relay.health.state == "failing")
        assert front.ask("/health").status == 503
        reply = front.ask(CHAT, BODY)
        assert reply.status == 503 and reply.headers["retry-after"] and len(server.posts) == 1
        server.listed = None
        front.until(lambda: front.relay.health.state == "ok")


def test_a_backend_that_is_not_there_is_red_until_it_is() -> None:
    with serving([says(chat("hi"))]) as server:
        url = server.url
        with gateway(url) as front:
            assert front.ask(CHAT, BODY).status == 200
    with gateway(url) as front:
        first = front.ask(CHAT, BODY)
        assert first.status == 502 and first.headers["retry-after"]
        assert front.ask("/health").status == 503
        second = front.ask(CHAT, BODY)
        assert second.status == 503 and second.headers["retry-after"], "nobody waits for it"


def test_a_backend_that_says_nothing_is_given_up() -> None:
    limits = Limits(slots=4, waiting=60, seconds=0.5)
    with serving([hangs(20.0)]) as server, gateway(server.url, limits) as front:
        for stream in (False, True):
            reply = front.ask(CHAT, BODY | {"stream": stream})
            assert reply.status == 503 and reply.json["error"]["code"] == "deadline"
            assert reply.headers["retry-after"]
            assert front.ask("/health").status == 200, "it still tells its models"


PARTS = list(chat_parts(["one ", "two"]))
STREAMS: dict[str, Act] = {
    "broken off": streams(PARTS[:3], done=False),
    "no [DONE]": raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        + b"".join(b"data: %b\n\n" % json.dumps(part).encode() for part in PARTS)
    ),
    "an error event": streams([*PARTS[:2], {"error": {"message": "secret"}}]),
    "no JSON": raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        + b"data: %b\n\ndata: {\n\n" % json.dumps(PARTS[1]).encode()
    ),
}


@pytest.mark.parametrize("act", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_breaks_ends_with_an_error_and_without_done(act: Act) -> None:
    with serving([act]) as server, gateway(server.url) as front:
        reply = front.ask(CHAT, STREAM)
        assert reply.status == 200
        *_, last, empty = reply.body.decode().split("\n\n")
        assert (
            not empty and json.loads(last.removeprefix("data: "))["error"]["code"] == "bad_gateway"
        )
        assert b"[DONE]" not in reply.body and b"one " in reply.body
        assert b"secret" not in reply.body
        front.until(lambda: front.relay.health.state == "ok" and trials(server) >= 1)


def test_what_a_backend_sends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ontogeny.serve.backend.MOST_BYTES", 10_000)
    monkeypatch.setattr("ontogeny.serve.backend.MOST_EVENT_BYTES", 5_000)
    large = raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        + b"data: "
        + b"x" * 9_000
    )
    acts = [says(chat("x" * 20_000)), streams(chat_parts(["x" * 900] * 20)), large]
    with serving(acts) as server, gateway(server.url) as front:
        assert front.ask(CHAT, BODY).status == 502
        front.until(lambda: front.relay.health.state == "ok")
        reply = front.ask(CHAT, STREAM)
        assert len(reply.body) < 20_000 and b"[DONE]" not in reply.body
        front.until(lambda: front.relay.health.state == "ok")
        assert front.ask(CHAT, STREAM).status == 502


def answers_meanwhile(front: Gateway, body: dict[str, Any]) -> tuple[list[float], bytes]:
    """Seconds that each look at /health took while `body` was answered, and that answer."""
    took: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            began = time.monotonic()
            front.ask("/health")
            took.append(time.monotonic() - began)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        return took, front.ask(CHAT, body).body
    finally:
        ended.set()
        looking.join()


def test_an_event_in_many_small_parts_is_read_in_linear_time() -> None:
    """A copy of all that waits at each part would take minutes."""
    text = b'data: {"x": "' + b"y" * 1_000_000 + b'"}\n\ndata: [DONE]\n\n'

    async def parts() -> AsyncIterator[bytes]:
        for byte in text:
            yield bytes([byte])

    async def read() -> list[Any]:
        return [each async for each in Reply(httpx2.Response(200, content=parts())).events()]

    began = time.monotonic()
    (event,) = asyncio.run(read())
    assert len(event["x"]) == 1_000_000 and time.monotonic() - began < 30


def test_an_event_of_nothing_but_empty_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ontogeny.serve.backend.MOST_EVENT_BYTES", 5_000)
    sse = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    tail = b'\ndata: {"choices": []}\n\ndata: [DONE]\n\n'
    with serving([raw(sse + b"data:\n" * 2_000 + tail)]) as server, gateway(server.url) as front:
        assert front.ask(CHAT, STREAM).status == 502


def test_while_a_large_event_is_read_others_are_answered() -> None:
    sse = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    large = b'data: {"choices": [], "x": [' + b"1.5," * 900_000 + b"1]}\n\ndata: [DONE]\n\n"
    with serving([raw(sse + large)]) as server, gateway(server.url) as front:
        took, body = answers_meanwhile(front, STREAM)
        assert body == b"data: [DONE]\n\n"
        assert max(took) < sum(took) / 2, "nobody waits for all of it"


@pytest.mark.parametrize("name", ["message", "param", "code"])
def test_a_backend_that_quotes_its_key_tells_our_clients_nothing(name: str) -> None:
    error = {"message": "no", name: f"not {SECRET}"}
    with serving([says({"error": error}, 400)]) as server, gateway(server.url, key=SECRET) as front:
        reply = front.ask(CHAT, BODY)
        assert reply.status == 400 and SECRET not in reply.body.decode()
        assert reply.json["error"][name] == "not [key]"


def test_no_text_of_the_backends_is_logged_and_no_count_that_is_none() -> None:
    log, odd = io.StringIO(), chat("hi", "secret " * 1000)
    odd["usage"] = {"prompt_tokens": 10**39, "completion_tokens": 3}
    with serving([says(odd)]) as server, gateway(server.url, log=log) as front:
        assert front.ask(CHAT, BODY).json["choices"][0]["finish_reason"].startswith("secret")
        told = front.ask("/metrics").body.decode()
    assert "ontogeny_prompt_tokens_total 0\n" in told
    assert "secret" not in log.getvalue() and '"ended": "other"' in log.getvalue()


def test_half_a_character_of_a_backends_is_kept_as_one_that_can_be_read(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger.sqlite")
    with serving([says(chat("a\ud800b"))]) as server:
        with gateway(server.url, recorder=recorder) as front:
            assert front.ask(CHAT, BODY).status == 200
        recorder.close()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        (kept,), _ = ledger.rows()
        assert kept.answers[0].message.content == "a\ufffdb"


def test_a_cut_ends_all_others_where_one_is_ending_already() -> None:
    relay = Relay(Backend(Upstream("http://127.0.0.1:9")), Relayed(PUBLIC, NAME, 1), 600.0)

    async def cut_while_one_ends() -> None:
        async with asyncio.timeout(0) as ending:
            try:
                await asyncio.sleep(60)
            finally:
                assert ending.expired()
                relay._under_way.add(ending)
                relay.cut()

    async def main() -> bool:
        async with asyncio.timeout(600) as later:
            relay._under_way.add(later)
            with pytest.raises(TimeoutError):
                await cut_while_one_ends()
            when = later.when()
            later.reschedule(None)
        await relay.close()
        return when is not None and when <= asyncio.get_running_loop().time()

    assert asyncio.run(main())


def test_limits_and_rates_are_ours() -> None:
    limits = Limits(slots=1, waiting=0, requests_a_minute=60.0, body_bytes=4000)
    with serving([says(chat("hi"))]) as server, gateway(server.url, limits) as front:
        assert front.ask(CHAT, BODY | {"n": 2}).status == 400
        assert front.ask(CHAT, BODY | {"user": "x" * 4000}).status == 413
        statuses = [front.ask(CHAT, BODY).status for _ in range(60)]
        assert set(statuses) == {200, 429}


def test_a_stop_ends_streams_with_an_error_event() -> None:
    with (
        serving([streams(chat_parts(["x"] * 1000), pause=0.05)]) as server,
        gateway(server.url, Limits(slots=4, waiting=60, grace_seconds=0.2)) as front,
        front.line() as line,
    ):
        line.settimeout(20)
        line.sendall(request(STREAM))
        heard = b""
        while heard.count(b"data: ") < 2:
            heard += line.recv(65536)
        front.stop()
        while part := line.recv(65536):
            heard += part
    assert b'"code":"stopping"' in heard and b"[DONE]" not in heard


def kept(path: Path) -> list[Any]:
    ledger = Ledger.open(path)
    try:
        exchanges, _ = ledger.rows()
        return list(exchanges)
    finally:
        ledger.close()


CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}


def call_parts() -> Iterator[dict[str, Any]]:
    """A call whose arguments come in three parts."""
    first = CALL | {"function": {"name": "weather", "arguments": ""}}
    yield {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [first]}}]}
    for part in ('{"city"', ': "Rome"}'):
        told = {"index": 0, "function": {"arguments": part}}
        yield {"choices": [{"index": 0, "delta": {"tool_calls": [told]}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    yield {"choices": [], "usage": usage(10, 7)}


def test_exchanges_go_to_the_ledger_and_can_be_rated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    acts = [
        says(chat("hi")),
        streams(chat_parts(["one ", "two"])),
        streams(call_parts()),
        says({"choices": [{"index": 0, "text": "Say more", "finish_reason": "stop"}]}),
        says(chat("secret")),
    ]
    try:
        with serving(acts) as server, gateway(server.url, recorder=recorder) as front:
            first = front.ask(CHAT, BODY | {"user": "alice"})
            second = front.ask(CHAT, STREAM | {"user": "alice"})
            front.ask(CHAT, STREAM | {"user": "bob"})
            front.ask(TEXT, {"model": PUBLIC, "prompt": "Say", "echo": True})
            front.ask(CHAT, BODY | {"store": False})
            rating = {"id": second.events[0]["id"], "score": 1, "user": "alice"}
            assert front.ask("/v1/feedback", rating).status == 200
            assert front.ask("/v1/feedback", rating | {"user": "bob"}).status == 404
    finally:
        recorder.close()
    whole, streamed, called, text = kept(path)
    assert whole.id == first.json["id"] and whole.model == NAME
    assert [each.message.content for each in whole.answers] == ["hi"]
    assert (whole.prompt_tokens, whole.answers[0].tokens, whole.answers[0].finish) == (
        10,
        5,
        "stop",
    )
    assert [m.content for m in whole.messages] == ["Say"]
    assert streamed.answers[0].message.content == "one two"
    assert streamed.answers[0].tokens == 2
    assert whole.user == streamed.user != called.user
    (call,) = called.answers[0].message.tool_calls
    assert (call.name, call.arguments, call.id) == ("weather", '{"city": "Rome"}', "call_1")
    assert text.answers[0].message.content == " more" and not text.chat


def test_the_openai_client_streams_and_calls_tools_through_it() -> None:
    openai = pytest.importorskip("openai")
    with (
        serving([streams(chat_parts(["one ", "two"])), streams(call_parts())]) as server,
        gateway(server.url, keys={"one": KEY}) as front,
        openai.OpenAI(
            base_url=f"http://127.0.0.1:{front.port}/v1", api_key=KEY, max_retries=0
        ) as client,
    ):
        assert [each.id for each in client.models.list()] == [PUBLIC]
        asked = {"model": PUBLIC, "messages": SAY["messages"], "stream": True}
        parts = client.chat.completions.create(**asked)
        assert "".join(each.choices[0].delta.content or "" for each in parts) == "one two"
        tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
        said = ""
        for each in client.chat.completions.create(**asked, tools=[tool]):
            for call in each.choices[0].delta.tool_calls or ():
                said += call.function.arguments or ""
        assert json.loads(said) == {"city": "Rome"}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/v1",
        "http://",
        "http://me:secret@host/v1",
        "http://host/v1?key=x",
        "http://host/v1?",
        "http://host/v1#",
        "http://[::1",
        "http://host:99999/v1",
        "http://host:x/v1",
        "http://host:0/v1",
        "host:80",
    ],
)
def test_a_url_that_is_none_is_refused_and_its_password_not_told(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Upstream(url)
    assert "secret" not in str(caught.value)


def test_v1_is_put_behind_a_bare_address() -> None:
    assert Upstream("http://host:1").root == Upstream("http://host:1/v1/").root
