"""What was asked, answered and rated lies in the ledger before anybody hears that it does."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from serve.running import KEY, NAME, OTHER, SAY, Inside, Reply, endless, inside, model, served
from support.bench import Bench

from ontogeny.bridge.models import save_model
from ontogeny.feedback.exchange import Exchange, Rating
from ontogeny.feedback.ledger import Ledger
from ontogeny.feedback.ledger_schema import log_of
from ontogeny.serve.asked import chat_asked
from ontogeny.serve.hearing import CUT, Hearing
from ontogeny.serve.meters import Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.teller import Piece
from ontogeny.text.message import ToolCall

MARK = "zebra7731"
TESTS = Path(__file__).resolve().parents[1]
FEEDBACK, CHAT = "/v1/feedback", "/v1/chat/completions"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    made = Recorder(path)
    yield made
    assert made.close(20)


def rows(path: Path) -> tuple[list[Exchange], list[Rating]]:
    with Ledger.read(path) as ledger:
        return ledger.rows()


async def rate(server: Inside, body: Any, key: str = "", **headers: str) -> Reply:
    told = {"idempotency-key": key} if key else {}
    return await server.ask(FEEDBACK, body, headers=told | headers)


def test_an_answer_is_kept_as_the_client_heard_it(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        return await server.chat(n=2, user="ann", temperature=0.5, seed=1)

    reply = inside(play, recorder=recorder)
    [exchange], _ = rows(path)
    assert exchange.id == reply.json["id"]
    assert exchange.model == served().id and exchange.arm == "live" and exchange.chat
    assert [message.content for message in exchange.messages] == ["Say"]
    told = [(c["message"]["content"], c["finish_reason"]) for c in reply.json["choices"]]
    assert [(a.message.content, a.finish) for a in exchange.answers] == told
    assert sum(a.tokens for a in exchange.answers) == reply.json["usage"]["completion_tokens"]
    assert exchange.prompt_tokens == reply.json["usage"]["prompt_tokens"]
    assert exchange.user == recorder.pseudonym("", "ann") and "ann" not in exchange.user
    assert exchange.temperature == 0.5 and exchange.at > 1.7e9


def test_an_answer_that_says_nothing_is_kept(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> tuple[Reply, Reply]:
        reply = await server.chat(n=8, seed=0)
        return reply, await rate(server, {"id": reply.json["id"], "score": -1, "choice": 7})

    reply, rated = inside(play, recorder=recorder)
    [exchange], [rating] = rows(path)
    said = [choice["message"]["content"] for choice in reply.json["choices"]]
    assert "" in said and any(said)
    assert [answer.message.content for answer in exchange.answers] == said
    assert rated.status == 200 and rating.choice == 7


def test_a_stream_is_kept_as_it_was_told(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        return await server.chat(stream=True, n=2, seed=5)

    events = inside(play, recorder=recorder).events
    told = ["", ""]
    for event in events:
        for choice in event["choices"]:
            told[choice["index"]] += choice["delta"].get("content") or ""
    [exchange], _ = rows(path)
    assert {event["id"] for event in events} == {exchange.id}
    assert [answer.message.content for answer in exchange.answers] == told
    assert {answer.finish for answer in exchange.answers} <= {"stop", "length"}


def test_a_text_is_kept_without_its_echo(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        body = {"model": NAME, "prompt": "Say", "max_tokens": 4, "seed": 1, "echo": True}
        return await server.ask("/v1/completions", body)

    text = inside(play, recorder=recorder).json["choices"][0]["text"]
    [exchange], _ = rows(path)
    assert not exchange.chat and exchange.messages[0].content == "Say"
    assert f"Say{exchange.answers[0].message.content}" == text


def test_tools_are_kept_where_the_model_was_told_them(path: Path, recorder: Recorder) -> None:
    function = {"name": "look", "description": MARK, "parameters": {"type": "object"}}
    body = SAY | {"tools": [{"type": "function", "function": function}]}
    asked = chat_asked(body, served())
    hearing = Hearing(recorder, Meters(), asked, served(), owner="", id_="chatcmpl-1")
    hearing.hear(0, Piece("See."))
    call = ToolCall("look", '{"at": 1}')
    hearing.hear(0, Piece(calls=(call,), finish="tool_calls", tokens=9))
    asyncio.run(hearing.end())
    [exchange], _ = rows(path)
    assert [message.role for message in exchange.messages] == ["system", "user"]
    assert MARK in exchange.messages[0].content
    [answer] = exchange.answers
    assert (answer.message.content, answer.message.tool_calls) == ("See.", (call,))
    assert (answer.finish, answer.tokens) == ("tool_calls", 9)


@pytest.mark.parametrize(
    "more",
    [{"store": False}, {"prompt": ["a", "b"]}, {"prompt": ""}],
)
def test_what_is_not_to_be_kept_is_answered_and_counted(
    path: Path, recorder: Recorder, more: dict[str, Any]
) -> None:
    async def play(server: Inside) -> tuple[Reply, Reply]:
        body = {"model": NAME, "prompt": MARK, "max_tokens": 2} | more
        reply = await server.ask("/v1/completions", body)
        return reply, await server.ask("/metrics", method="GET")

    reply, metrics = inside(play, recorder=recorder)
    assert reply.status == 200 and rows(path) == ([], [])
    assert b'exchanges_total{kept="no"} 1' in metrics.body


def test_to_keep_what_cannot_be_kept_is_refused_by_name(recorder: Recorder) -> None:
    async def play(server: Inside) -> list[Reply]:
        many = {"model": NAME, "prompt": ["a", "b"], "store": True, "max_tokens": 1}
        replies = [await server.ask("/v1/completions", many), await server.chat(store="yes")]
        return [*replies, await server.chat(store=True)]

    replies = inside(play, recorder=recorder)
    assert [reply.status for reply in replies] == [400, 400, 200]
    replies = inside(play)
    assert [reply.status for reply in replies] == [400, 400, 400]
    assert {reply.json["error"]["param"] for reply in replies} == {"store"}
    assert "keeps no ledger" in replies[2].reason


def test_a_rating_lies_there_before_it_is_acknowledged(path: Path, recorder: Recorder) -> None:
    said: list[dict[str, Any]] = [
        {"score": 0.5, "choice": 1, "comment": "fine"},
        {"preferred": 1},
        {"correction": "Better.", "choice": 1},
        {"score": -1},
    ]

    async def play(server: Inside) -> list[tuple[Reply, int]]:
        id_ = (await server.chat(n=2)).json["id"]
        told = []
        for each in said:
            reply = await rate(server, {"id": id_} | each)
            told.append((reply, len(rows(path)[1])))
        return told

    told = inside(play, recorder=recorder)
    assert [count for _, count in told] == [1, 2, 3, 4]
    [exchange], ratings = rows(path)
    for (reply, _), rating, each in zip(told, ratings, said, strict=True):
        assert reply.status == 200
        assert reply.json["object"] == "feedback" and reply.json["exchange"] == exchange.id
        assert reply.json["duplicate"] is False
        assert {name: getattr(rating, name) for name in each} == each
        assert rating.user == exchange.user and rating.at > 1.7e9
    assert len({reply.json["id"] for reply, _ in told}) == 4


def test_the_same_rating_sent_a_hundred_times_is_one(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> tuple[list[Reply], Reply]:
        id_ = (await server.chat()).json["id"]
        body = {"id": id_, "score": 1}
        replies = await asyncio.gather(
            *(rate(server, body, key="k" if n % 2 else "") for n in range(100))
        )
        return list(replies), await server.ask("/metrics", method="GET")

    replies, metrics = inside(play, recorder=recorder)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["id"] for reply in replies}) == 2
    assert sum(not reply.json["duplicate"] for reply in replies) == 2
    assert len(rows(path)[1]) == 2
    assert b'feedback_total{duplicate="true"} 98' in metrics.body


def test_who_changes_his_mind_back_is_heard(path: Path, recorder: Recorder) -> None:
    """Good, bad, good again, without keys: the last word is good, and sent twice it is one."""

    async def play(server: Inside) -> list[Reply]:
        id_ = (await server.chat()).json["id"]
        said = (1, 1, -1, 1, 1, -1, -1)
        return [await rate(server, {"id": id_, "score": score}) for score in said]

    replies = inside(play, recorder=recorder)
    ids = [reply.json["id"] for reply in replies]
    again = [reply.json["duplicate"] for reply in replies]
    assert again == [False, True, False, False, True, False, True]
    assert ids[0] == ids[1] and ids[3] == ids[4] and ids[5] == ids[6] and len({*ids}) == 4
    assert [each.score for each in rows(path)[1]] == [1, -1, 1, -1]


def test_a_key_with_another_rating_is_refused(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> list[Reply]:
        id_ = (await server.chat()).json["id"]
        first = await rate(server, {"id": id_, "score": 1}, key="k")
        other = await rate(server, {"id": id_, "score": -1}, key="k")
        return [first, other, await rate(server, {"id": id_, "score": -1}, key="k2")]

    replies = inside(play, recorder=recorder)
    assert [reply.status for reply in replies] == [200, 422, 200]
    assert replies[1].json["error"]["code"] == "idempotency_key_reused"
    assert [each.score for each in rows(path)[1]] == [1, -1]


def test_nobody_rates_or_finds_what_another_asked(path: Path, recorder: Recorder) -> None:
    """By key, by user, by both: the same 404 as for what was never there."""
    mine, theirs = (f"Bearer {key}" for key in (KEY, OTHER))

    async def play(server: Inside) -> list[Reply]:
        ask = await server.ask(CHAT, SAY | {"user": "ann"}, headers={"authorization": mine})
        body = {"id": ask.json["id"], "score": 1}
        replies = []
        for user, key in (("ann", mine), ("bob", mine), ("ann", theirs), ("", mine)):
            told = body | ({"user": user} if user else {})
            replies.append(await rate(server, told, key="k", authorization=key))
        never = body | {"id": "chatcmpl-none", "user": "ann"}
        return [*replies, await rate(server, never, authorization=mine)]

    replies = inside(play, recorder=recorder, keys={"mine": KEY, "theirs": OTHER})
    assert [reply.status for reply in replies] == [200, 404, 404, 404, 404]
    assert len({reply.body for reply in replies[1:]}) == 1
    assert len(rows(path)[1]) == 1


def test_a_safety_identifier_names_a_user_and_a_cache_key_none(recorder: Recorder) -> None:
    async def play(server: Inside) -> list[int]:
        id_ = (await server.chat(safety_identifier="s", prompt_cache_key="c")).json["id"]
        body = {"id": id_, "score": 1}
        told = [{"safety_identifier": "s"}, {"user": "s"}, {"prompt_cache_key": "c"}, {}]
        return [(await rate(server, body | each)).status for each in told]

    assert inside(play, recorder=recorder) == [200, 200, 400, 404]


WRONG: dict[str, tuple[Any, str]] = {
    "none": ({"score": 1}, "id"),
    "a number as id": ({"id": 3, "score": 1}, "id"),
    "a long id": ({"id": "x" * 300, "score": 1}, "id"),
    "nothing said": ({}, ""),
    "two things": ({"score": 1, "correction": "x"}, ""),
    "too much": ({"score": 1.5}, "score"),
    "no number": ({"score": "1"}, "score"),
    "a flag": ({"score": True}, "score"),
    "no such answer": ({"preferred": 2}, "preferred"),
    "a negative one": ({"preferred": -1}, "preferred"),
    "a choice too far": ({"score": 1, "choice": 2}, "choice"),
    "a choice of a preference": ({"preferred": 1, "choice": 1}, "choice"),
    "a long comment": ({"score": 1, "comment": "x" * 2001}, "comment"),
    "a long correction": ({"correction": "x" * 32_001}, "correction"),
    "an unknown field": ({"score": 1, "stars": 5}, "stars"),
    "a list": ([], "body"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rating_is_refused_by_field(path: Path, recorder: Recorder, case: str) -> None:
    body, param = WRONG[case]

    async def play(server: Inside) -> Reply:
        id_ = (await server.chat(n=2)).json["id"]
        whole = body if not isinstance(body, dict) or case == "none" else {"id": id_} | body
        return await rate(server, whole)

    reply = inside(play, recorder=recorder)
    assert reply.status == 400, reply.body
    assert (reply.json["error"]["param"] or "") == param or param == "body"
    assert rows(path)[1] == []


@pytest.mark.parametrize("key", ["x" * 201, "ä", "a\tb"])
def test_a_key_is_short_and_printable(recorder: Recorder, key: str) -> None:
    async def play(server: Inside) -> Reply:
        id_ = (await server.chat()).json["id"]
        return await rate(server, {"id": id_, "score": 1}, key=key)

    assert inside(play, recorder=recorder).status == 400


def test_one_answer_cannot_be_preferred(recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        return await rate(server, {"id": (await server.chat()).json["id"], "preferred": 0})

    assert inside(play, recorder=recorder).json["error"]["param"] == "preferred"


def test_without_a_ledger_there_is_nothing_to_rate() -> None:
    async def play(server: Inside) -> tuple[Reply, Reply, Reply]:
        document = await server.ask("/openapi.json", method="GET")
        health = await server.ask("/health", method="GET")
        return await rate(server, {"id": "x", "score": 1}), document, health

    reply, document, health = inside(play)
    assert reply.status == 404 and "keeps no ledger" in reply.reason
    assert FEEDBACK not in document.json["paths"] and health.status == 200


def test_the_document_tells_the_route_where_there_is_one(recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        return await server.ask("/openapi.json", method="GET")

    found = inside(play, recorder=recorder).json["paths"][FEEDBACK]["post"]
    body = found["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) >= {"id", "score", "preferred", "correction", "comment"}
    assert found["parameters"][0]["name"] == "Idempotency-Key"


async def told_something(server: Inside) -> None:
    """Until the first piece of some answer came."""
    while True:
        metrics = (await server.ask("/metrics", method="GET")).body
        if b"first_token_seconds_count 0" not in metrics:
            return
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("streams", [True, False])
def test_what_a_client_heard_before_it_left_is_kept(
    path: Path, recorder: Recorder, streams: bool
) -> None:
    """Of an answer that is no stream it heard nothing, its id neither."""

    async def play(server: Inside) -> Reply:
        leaves = asyncio.Event()
        asking = asyncio.create_task(server.ask(CHAT, endless(stream=streams), leaves=leaves))
        await told_something(server)
        leaves.set()
        await asking
        return await server.ask("/metrics", method="GET")

    metrics = inside(play, recorder=recorder)
    assert recorder.close(20)
    exchanges, _ = rows(path)
    assert len(exchanges) == streams
    assert (b'exchanges_total{kept="yes"} 1' in metrics.body) is streams
    for exchange in exchanges:
        assert exchange.answers[0].finish == CUT and exchange.answers[0].message.content


def test_a_stream_that_cannot_be_kept_does_not_end_as_if_it_were(
    path: Path, recorder: Recorder
) -> None:
    async def play(server: Inside) -> tuple[Reply, Reply, Reply]:
        asking = asyncio.create_task(server.chat(stream=True, n=2, seed=1))
        path.rename(path.with_name("away.db"))
        stream = await asking
        whole = await server.chat()
        health = await server.ask("/health", method="GET")
        return stream, whole, health

    stream, whole, health = inside(play, recorder=recorder)
    assert b"[DONE]" not in stream.body and b'"code":"ledger"' in stream.body
    assert whole.status == 503 and whole.json["error"]["code"] == "ledger"
    assert whole.headers["retry-after"] == "1"
    assert health.status == 503 and "moved or deleted" in health.json["note"]
    path.with_name("away.db").rename(path)


def test_a_ledger_that_is_back_is_written_again(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        path.rename(path.with_name("away.db"))
        assert (await server.chat()).status == 503
        path.with_name("away.db").rename(path)
        while (await server.ask("/health", method="GET")).status != 200:
            await asyncio.sleep(0.02)
        return await server.chat()

    assert inside(play, recorder=recorder).status == 200
    assert len(rows(path)[0]) == 1


def test_a_log_that_is_deleted_is_written_into_the_ledger_first(
    path: Path, recorder: Recorder
) -> None:
    async def play(server: Inside) -> list[Reply]:
        replies = [await server.chat()]
        log_of(path).unlink()
        while recorder.reason == "":  # looked at with every row, and from time to time
            replies.append(await server.chat())
        while recorder.reason:
            await asyncio.sleep(0.02)
        return [*replies, await server.chat()]

    heard = [reply.json["id"] for reply in inside(play, recorder=recorder) if reply.status == 200]
    assert len(heard) >= 2
    connection = sqlite3.connect(path)  # as after a crash: the recorder still has it open
    kept = {id_ for (id_,) in connection.execute("SELECT id FROM exchanges")}
    connection.close()
    assert kept >= set(heard)


def test_another_ledger_in_its_place_takes_nothing(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> tuple[Reply, Reply]:
        assert (await server.chat()).status == 200
        path.rename(path.with_name("away.db"))
        first = await server.chat()
        other.rename(path)
        return first, await server.chat()

    other = path.with_name("other.db")
    Ledger.open(other).close()
    before = other.read_bytes()
    replies = inside(play, recorder=recorder)
    assert [reply.status for reply in replies] == [503, 503]
    assert recorder.close(20) and "moved or deleted" in recorder.reason
    assert path.read_bytes() == before


FULL = """
import asyncio, json, resource, sys
from pathlib import Path
from serve.running import inside
from ontogeny.serve.recording import Recorder

path = Path(sys.argv[1])
recorder = Recorder(path)

async def play(server):
    told = []
    async def ask():
        reply = await server.chat()
        told.append((reply.status, reply.json.get("id") or reply.json["error"]["type"]))
    await ask()
    size = Path(f"{path}-wal").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    await asyncio.gather(ask(), ask())
    health = await server.ask("/health", method="GET")
    told.append((health.status, health.json["note"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    while (await server.ask("/health", method="GET")).status != 200:
        await asyncio.sleep(0.02)
    await ask()
    return told

print(json.dumps(inside(play, recorder=recorder)))
assert recorder.close(20)
"""


def environment() -> dict[str, str]:
    places = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}


def test_a_full_disk_is_told_to_who_waits_and_by_health(path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, one, two, health, last = json.loads(done.stdout)
    assert [first[0], one[0], health[0], last[0]] == [200, 507, 503, 200]
    assert one[1] == "server_error"
    assert two[0] in (507, 503)  # the latter where it came after the other had failed
    assert "free some space" in health[1]
    assert [each.id for each in rows(path)[0]] == [first[1], last[1]]


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process writes for a while."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def test_a_ledger_that_another_holds_lets_wait_and_no_more_than_fit(path: Path) -> None:
    recorder = Recorder(path, most=3)

    async def play(server: Inside) -> tuple[list[Reply], list[Reply]]:
        id_ = (await server.chat()).json["id"]
        refused: list[Reply] = []
        tasks: set[asyncio.Task[Reply]] = set()
        with held(path):
            number = 0
            while len(refused) < 5:
                number += 1
                body = {"id": id_, "score": number / 2000}
                tasks.add(asyncio.create_task(rate(server, body)))
                done, tasks = await asyncio.wait(tasks, timeout=0.001)
                refused += [each.result() for each in done]
        return refused, [await each for each in tasks]

    refused, kept = inside(play, recorder=recorder)
    assert {reply.status for reply in refused} == {503}
    assert {reply.json["error"]["code"] for reply in refused} == {"overloaded"}
    acknowledged = [reply for reply in kept if reply.status == 200]
    assert len(acknowledged) >= 3
    assert len(rows(path)[1]) == len(acknowledged)
    assert recorder.close(20)


def test_closing_writes_what_waits_and_takes_nothing_more(path: Path) -> None:
    recorder = Recorder(path)

    async def play(server: Inside) -> tuple[Reply, Reply]:
        id_ = (await server.chat()).json["id"]
        with held(path):
            rating = asyncio.create_task(rate(server, {"id": id_, "score": 1}))
            await asyncio.sleep(0)
            while not recorder.waiting:
                await asyncio.sleep(0.005)
            closing_ = asyncio.get_running_loop().run_in_executor(None, recorder.close, 30.0)
        assert await closing_
        return await rating, await server.chat()

    rated, late = inside(play, recorder=recorder)
    assert (rated.status, late.status) == (200, 503)
    assert len(rows(path)[1]) == 1


def test_no_log_and_no_error_tells_what_was_said(path: Path, recorder: Recorder) -> None:
    log = io.StringIO()

    async def play(server: Inside) -> list[Reply]:
        said = [{"role": "user", "content": MARK}]
        id_ = (await server.chat(messages=said, user=MARK)).json["id"]
        about = {"id": id_, "user": MARK}
        replies = [await rate(server, about | {"correction": MARK}, key=MARK)]
        replies.append(await rate(server, about | {"comment": MARK, "score": 1}, key=MARK))
        replies.append(await rate(server, about | {"id": "none", "comment": MARK, "score": 1}))
        path.rename(path.with_name("away.db"))
        replies.append(await server.chat(messages=said))
        path.with_name("away.db").rename(path)
        return replies

    replies = inside(play, recorder=recorder, log=log)
    assert [reply.status for reply in replies] == [200, 422, 404, 503]
    assert not any(MARK.encode() in reply.body for reply in replies)
    assert MARK not in log.getvalue() and log.getvalue().count("\n") == 5
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["ended"] for line in lines[1:2]] == ["rated"]


def test_no_name_of_a_user_lies_in_the_file(path: Path, recorder: Recorder) -> None:
    async def play(server: Inside) -> Reply:
        id_ = (await server.chat(user=MARK)).json["id"]
        return await rate(server, {"id": id_, "user": MARK, "score": 1})

    assert inside(play, recorder=recorder).status == 200
    files = path.parent.glob("ledger.db*")
    assert not any(MARK.encode() in each.read_bytes() for each in files)


def test_who_is_forgotten_is_forgotten_by_the_kept_prompts_too(
    path: Path, recorder: Recorder
) -> None:
    told = threading.Event()
    recorder.on_forgotten = told.set

    async def play(server: Inside) -> Reply:
        return await server.chat(user="ann")

    inside(play, recorder=recorder)
    with Ledger.open(path, make=False) as ledger:
        assert ledger.forget(recorder.pseudonym("", "ann")).exchanges == 1
    assert told.wait(20)


class Clients:
    """Clients of one server in threads, and what each was told was kept."""

    def __init__(self, port: int, round_: int) -> None:
        self.port, self.round = port, round_
        self.exchanges: set[str] = set()
        self.ratings: dict[str, dict[str, Any]] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.enough = threading.Event()
        self._threads = [threading.Thread(target=self._use, args=(n,)) for n in range(4)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _use(self, number: int) -> None:
        try:
            for turn in range(10_000):
                with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
                    id_ = told(line, CHAT, SAY | {"n": 2, "user": f"u{number}"})["id"]
                    self.exchanges.add(id_)
                    key = f"r{self.round}-{number}-{turn}"
                    body = {"id": id_, "preferred": turn % 2, "user": f"u{number}"}
                    self.sent[key] = body
                    self.ratings[key] = told(line, FEEDBACK, body, key)
                if len(self.ratings) >= 5:
                    self.enough.set()
        except (OSError, HTTPException, ValueError):  # the server is gone
            pass


def told(line: HTTPConnection, path: str, body: Any, key: str = "") -> dict[str, Any]:
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
    line.request("POST", path, json.dumps(body), headers)
    reply = line.getresponse()
    data = reply.read()
    if reply.status != 200:
        raise ValueError(data)
    found: dict[str, Any] = json.loads(data)
    return found


@contextmanager
def process(path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "serve.rated_server", str(path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as found:
        assert found.stdout is not None
        try:
            yield found, int(found.stdout.readline())
        finally:
            found.kill()


def test_a_server_killed_at_any_moment_keeps_every_rating_once(path: Path) -> None:
    """And sending those again that nobody acknowledged makes each of them one."""
    chance = random.Random(5)
    exchanges: set[str] = set()
    sent: dict[str, dict[str, Any]] = {}
    ended = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]
    for round_, number in enumerate(ended):
        with process(path) as (server, port):
            with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as line:
                for key, body in sent.items():  # all of them again
                    assert told(line, FEEDBACK, body, key)["exchange"] == body["id"]
            with Clients(port, round_) as clients:
                assert clients.enough.wait(60)
                threading.Event().wait(chance.random() * 0.3)
                server.send_signal(number)
            assert server.wait(60) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        kept, ratings = rows(path)
        keys = [each.key.removeprefix("sent:") for each in ratings]
        assert len(set(keys)) == len(keys) and len({each.id for each in kept}) == len(kept)
        exchanges |= clients.exchanges
        assert exchanges <= {each.id for each in kept}
        assert set(sent) | set(clients.ratings) <= set(keys) <= set(sent) | set(clients.sent)
        sent |= clients.sent
        with closing(sqlite3.connect(path)) as line:
            assert line.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_serve_stopped_in_the_middle_of_a_stream_keeps_what_it_told(
    path: Path, tmp_path: Path
) -> None:
    bench = Bench(tmp_path)
    save_model(bench.payload(), model(), bench.tokenizer, chats=True)
    bench.store.set_name("small", bench.keep("sft", "model").id)
    words = ["serve", "small", "--store", str(bench.store.root), "--port", "0", "--grace", "0.2"]
    command = [sys.executable, "-m", "ontogeny", *words, "--ledger", str(path), "--quiet"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            found = re.search(r"127\.0\.0\.1:(\d+)/v1", server.stdout.readline())
            assert found
            with closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as line:
                id_ = told(line, CHAT, SAY | {"store": True})["id"]
                assert not told(line, FEEDBACK, {"id": id_, "score": 1})["duplicate"]
                body = json.dumps(endless(stream=True))
                line.request("POST", CHAT, body, {"content-type": "application/json"})
                reply = line.getresponse()
                first = json.loads(reply.readline().removeprefix(b"data: "))
                server.send_signal(signal.SIGTERM)
                assert b'"code":"stopping"' in reply.read()
            assert server.wait(60) == 0
        finally:
            server.kill()
    exchanges, ratings = rows(path)
    assert [each.id for each in exchanges] == [id_, first["id"]]
    assert exchanges[1].answers[0].finish == CUT and len(ratings) == 1
