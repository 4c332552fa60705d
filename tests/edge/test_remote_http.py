"""A server may break, lie, hang or send us away: it is asked again, or it is one line."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import time as clock
from email.utils import format_datetime
from pathlib import Path

import pytest
from edge.remote_bench import Time, answers, asked, prompt, text_of
from support.openai_server import chat, chat_parts, hangs, raw, says, serving, streams

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_http import address_of
from ontogeny.edge.remote_policy import connect
from ontogeny.rollout.policy import Request, sample_all

GOOD = says(chat("fine"))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def refused(answer, match, **config):
    """The one line of a failure, and how often the server was asked."""
    with (
        asked(answer, **config) as (server, policy),
        pytest.raises(InputError, match=match) as caught,
    ):
        answers(policy)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(server.url)
    return len(server.posts)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_a_passing_failure_is_asked_again(status):
    with asked([says({"error": {"message": "busy"}}, status), GOOD]) as (server, policy):
        assert text_of(answers(policy)[0]) == "fine"
    assert len(server.posts) == 2
    assert (policy.spent.requests, policy.spent.retries) == (2, 1)
    assert policy.spent.completion_tokens == 5  # an error costs nothing


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_lasting_failure_is_not_asked_again(status):
    said = says({"error": {"message": "the server's own words"}}, status)
    assert refused([said, GOOD], "the server's own words") == 1


@pytest.mark.parametrize(
    "broken",
    [
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\n{",
        b"HTTP/1.1 200 O",
    ],
    ids=["shorter than it says", "half a chunk", "half a head"],
)
def test_an_answer_that_breaks_off_is_asked_for_again(broken):
    with asked([raw(broken), GOOD]) as (server, policy):
        assert text_of(answers(policy)[0]) == "fine"
    assert len(server.posts) == 2
    assert policy.spent.estimated == 1  # nobody knows what the first one cost


def test_a_connection_that_says_nothing_at_all_is_tried_again():
    with asked([raw(b""), raw(b""), GOOD]) as (server, policy):
        assert text_of(answers(policy)[0]) == "fine"
    assert len(server.posts) == 3
    assert policy.spent.retries == 1  # the first had been kept open, and is closed at any time


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (says(b"{nonsense"), "no JSON"),
        (says(b"[1]"), "no JSON object"),
        (says(b'{"choices": NaN}'), "no JSON"),
        (says(b"[" * 100_000), "no JSON"),
        (says(b"\xff"), "no JSON"),
        (says({"choices": [7]}), "no choices"),
        (says({"choices": [{"message": {"content": 7}}]}), "no text"),
        (says({"error": {"message": "all slots burnt"}}), "all slots burnt"),
        (says(chat("x", finish="tired")), "tired"),
        (says(chat("x", finish="content_filter")), "content filter"),
        (says(chat("x" * 10_000_000)), "longer than"),
        (raw(HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), "RFC 9112"),
        (raw(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), "RFC 9112"),
        (raw(HEAD + b"Content-Length: -5\r\n\r\n"), "RFC 9112"),
        (raw(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n12345"), "compresses"),
        (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), "chunks"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000), "headers"),
        (raw(b"220 mail.example ESMTP\r\n\r\n"), "does not speak HTTP"),
        (raw(b"x" * 200_000), "does not end"),
    ],
)
def test_what_is_not_an_answer_is_one_line_and_not_asked_again(answer, match):
    assert refused([answer, GOOD], match) == 1


def test_memory_stays_flat_under_an_endless_answer():
    sent = 0

    def floods(line):
        nonlocal sent
        line.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while not line.gone(0):
            line.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
        return False

    refused([floods], "longer than")
    assert sent < 20 << 20


def test_a_hang_ends_at_the_deadline_and_the_connection_is_closed():
    gone: list[float] = []
    began = clock.monotonic()
    refused([hangs(gone=gone)], "deadline_seconds", deadline_seconds=0.2)
    assert clock.monotonic() - began < 2.0
    assert gone


def test_waiting_follows_retry_after_and_full_jitter():
    time = Time(draw=0.5)
    acts = [says({}, 429, Retry_After="3"), says({}, 500), says({}, 500), GOOD]
    with asked(acts, time) as (_, policy):
        answers(policy)
    assert time.slept == [3.0 + 0.25, 0.5, 1.0]
    assert policy.spent.seconds_waited == 4.75


def test_a_retry_after_may_be_a_date():
    from datetime import UTC, datetime, timedelta

    time = Time(draw=0.0)
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    with asked([says({}, 503, Retry_After=then), GOOD], time) as (_, policy):
        answers(policy)
    assert 95 < time.slept[0] <= 100


@pytest.mark.parametrize("value", ["nan", "inf", "-3", "soon", "1e999"])
def test_a_senseless_retry_after_is_passed_over(value):
    time = Time(draw=0.5)
    with asked([says({}, 503, Retry_After=value), GOOD], time) as (_, policy):
        answers(policy)
    assert time.slept == [0.25]


def test_a_server_that_asks_for_too_long_a_wait_ends_the_request_at_once():
    time = Time()
    refused([says({}, 429, Retry_After="3600")], "deadline", time=time, deadline_seconds=60)
    assert time.slept == []


def test_after_the_last_retry_the_servers_words_are_told():
    said = says({"error": {"message": "still busy"}}, 503)
    assert refused([said], "asked 3 times.*still busy", most_retries=2) == 3


def test_connections_are_kept_also_across_event_loops():
    with asked([GOOD]) as (server, policy):
        for _ in range(3):
            answers(policy)
        answers(policy, 4)
    assert [heard.connection for heard in server.requests[:4]] == [0] * 4
    assert len({heard.connection for heard in server.requests}) <= 4


def test_a_connection_that_the_server_closed_is_opened_anew():
    acts = [says(chat("one"), Connection="close"), GOOD]
    with asked(acts) as (server, policy):
        assert [text_of(answers(policy)[0]) for _ in range(2)] == ["one", "fine"]
    assert policy.spent.retries == 0
    with asked([raw(says_bytes("one")), GOOD]) as (server, policy):
        assert [text_of(answers(policy)[0]) for _ in range(2)] == ["one", "fine"]
    assert policy.spent.retries == 0
    assert server.posts[0].connection != server.posts[1].connection


def says_bytes(text):
    """A whole answer that promises to go on, and then does not."""
    import json

    data = json.dumps(chat(text)).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(data), data)


def test_no_redirect_is_followed():
    elsewhere = []
    with serving(lambda heard: elsewhere.append(heard) or GOOD) as other:
        said = says({}, 307, Location=other.url)
        assert refused([said], f"sends on to '{other.url}'") == 1
    assert elsewhere == []


def test_a_key_is_sent_and_never_told(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")

    def echo(heard):
        return says({"error": {"message": f"bad: {heard.headers['authorization']}"}}, 400)

    with asked(echo, key_variable="SOME_KEY") as (server, policy):
        with pytest.raises(InputError) as caught:
            answers(policy)
        assert "secret" not in str(caught.value)
        assert "[key]" in str(caught.value)
        assert "secret" not in repr(vars(policy)) + repr(policy.server) + repr(policy.spent)
    assert server.requests[0].headers["authorization"] == "Bearer sk-very-secret"


def test_a_refused_key_names_its_variable(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-old")
    refused([says({}, 401)], "SOME_KEY", key_variable="SOME_KEY")
    refused([says({}, 401)], "wants a key")
    monkeypatch.delenv("SOME_KEY")
    with serving([GOOD]) as server, pytest.raises(InputError, match="SOME_KEY holds no key"):
        connect(RemoteConfig(server.url, key_variable="SOME_KEY"))
    monkeypatch.setenv("SOME_KEY", "two\nlines")
    with serving([GOOD]) as server, pytest.raises(InputError, match="odd characters"):
        connect(RemoteConfig(server.url, key_variable="SOME_KEY"))


def test_a_key_does_not_leave_this_machine_unencrypted_unless_it_is_allowed_to(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://localhost.:{listener.getsockname()[1]}/v1"  # a name as any other
        with pytest.raises(InputError, match=r"unencrypted to localhost\.; .*plain_key") as caught:
            connect(RemoteConfig(url, key_variable="SOME_KEY"))
        assert "secret" not in str(caught.value)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()  # nobody was there
    with serving([GOOD]) as server:
        url = server.url.replace("127.0.0.1", "127.1")
        allowed = RemoteConfig(url, key_variable="SOME_KEY", plain_key=True)
        with connect(allowed) as policy:
            assert policy.server.notes == ("the key travels unencrypted to 127.1",)


def test_nobody_there_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    time = Time()
    with pytest.raises(InputError, match="nobody answers") as caught:
        connect(RemoteConfig(f"http://127.0.0.1:{port}"), waiting=time.waiting())
    assert time.slept == []
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://a/v1",
        "http://",
        "http://a:b/v1",
        "http://a/v1?key=sk-secret",
        "http://me:sk-secret@a/v1",
        "http://a/v1#x",
        "http://a\r\nX: y/v1",
        "http://é/v1",
        "http://a..b/v1",
        f"http://{'a' * 70}.example/v1",
    ],
)
def test_a_url_that_is_none_is_refused_and_no_key_in_it_told(url):
    with pytest.raises(InputError) as caught:
        address_of(url)
    assert "secret" not in str(caught.value)


def test_a_url_without_a_path_gets_v1():
    assert address_of("http://a:80/").path == "/v1"
    assert address_of("https://a/openai/").path == "/openai"
    assert address_of("https://a/x/v1").root == "/x"
    assert address_of("https://[::1]").port == 443


def test_a_cancelled_request_leaves_the_server_within_a_second():
    gone: list[float] = []

    async def cancelled(policy):
        task = asyncio.create_task(policy.sample(Request(prompt(), 20)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with asked([hangs(gone=gone)]) as (_, policy):
        asyncio.run(cancelled(policy))
        for _ in range(100):
            if gone:
                break
            clock.sleep(0.01)
    assert gone[0] < 1.0
    assert policy.spent.estimated == 1


def test_a_sink_that_raises_ends_its_stream():
    left: list[int] = []

    def sink(_id, _log_prob):
        raise ZeroDivisionError

    with asked([streams(chat_parts(["a"] * 50), 0.02, gone=left)]) as (_, policy):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(policy.sample(Request(prompt(), 20), sink))
        for _ in range(100):
            if left:
                break
            clock.sleep(0.01)
    assert left[0] < 10


def test_a_stream_that_breaks_off_is_not_repeated_to_who_has_heard_it():
    heard = []
    acts = [streams(list(chat_parts(["a", "b"]))[:2], done=False), GOOD]
    with asked(acts) as (server, policy), pytest.raises(InputError, match="broke off"):
        asyncio.run(policy.sample(Request(prompt(), 20), lambda *token: heard.append(token)))
    assert [chr(id_) for id_, _ in heard] == ["a"]
    assert len(server.posts) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    files = "-keyout key.pem -out cert.pem -addext subjectAltName=DNS:localhost"
    command = ["openssl", *made.split(), *files.split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_a_certificate_is_checked_with_its_name(certificate: Path):
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with serving([GOOD], tls=theirs) as server:
        with pytest.raises(InputError, match="not trusted"):
            connect(RemoteConfig(server.url))
        ours = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        with pytest.raises(InputError, match="not trusted"):  # it is not for 127.0.0.1
            connect(RemoteConfig(server.url), context=ours)
        named = server.url.replace("127.0.0.1", "localhost")
        with connect(RemoteConfig(named), context=ours) as policy:
            requests = [Request(prompt("x" * 300_000), 20)] * 3
            assert [text_of(each) for each in sample_all(policy, requests)] == ["fine"] * 3
    assert len(server.posts) == 3
