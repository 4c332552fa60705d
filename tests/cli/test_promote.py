"""`ontogeny promote`, `rollback` and `channel`: refused in one line, killed at any call, and heard
by clients of a server who notice nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from support.releases import gate_of, model_of
from support.shelf import identity, put

from ontogeny.__main__ import main
from ontogeny.base.store import Store
from ontogeny.feedback.channel import channel_file, read_channel
from ontogeny.feedback.ledger import Ledger

NAME = "released"
ONE, TWO, THREE = map(identity, (1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two models and gates: 8 lets the second follow the first, 9 does not."""
    store = Store.create(tmp_path / "life")
    for number in (1, 2, 3):
        put(store, number)
    gate_of(store, 8, TWO, ONE)
    gate_of(store, 9, THREE, ONE, promote=False)
    return store


@pytest.fixture
def said(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `ontogeny ...` on the store: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ontogeny", *arguments, "--store", str(store.root)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(str(end.value.code)), captured.out, captured.err

    return run


@pytest.mark.usefixtures("store")
def test_a_release_a_gate_a_trial_and_the_way_back(said: Any) -> None:
    code, out, _ = said("promote", ONE)
    assert (code, "without a gate: nothing was live before it" in out) == (0, True)
    assert said("channel", "--canary", TWO, "--share", "0.1")[0] == 0
    assert "answers 10.0% of those who ask" in said("channel")[1]
    code, out, _ = said("promote", identity(8))
    assert code == 0
    assert f"{NAME}: stage-2 ({TWO}) is live, the gate gate-8 ({identity(8)}) lets it" in out
    assert f"before it: stage-1 ({ONE})" in out and "canary ended: it is live now" in out
    assert "is live already" in said("promote", identity(8))[1]
    assert f"a rollback leads to stage-1 ({ONE})" in said("channel")[1]
    assert f"{NAME}: stage-1 ({ONE}) is live, rolled back" in said("rollback")[1]
    code, out, _ = said("channel", "--json")
    assert [each["why"] for each in json.loads(out)["history"]] == ["first", "promote", "rollback"]
    again = json.loads(said("promote", identity(8), "--json")[1])
    assert (again["live"], again["changed"], again["channel"]) == (TWO, True, NAME)
    assert json.loads(said("rollback", "--to", ONE, "--json")[1])["changed"]
    assert not json.loads(said("rollback", "--to", ONE, "--json")[1])["changed"]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("promote", identity(9)), 2, "gate.json:1: the gate says stay: gain kindness: 0.00"),
        (("promote", THREE), 2, "only a gate says what may follow"),
        (("promote", "nobody"), 2, "no artifact is called 'nobody'"),
        (("promote", ONE, "--channel", "a/b"), 2, "no channel can be called 'a/b'"),
        (("rollback",), 2, "no release before the live one"),
        (("rollback", "--channel", "beta"), 2, "no channel is called 'beta'"),
        (("channel", "beta"), 2, "no channel is called 'beta'"),
        (("channel", "--canary", ONE, "--share", "0.5"), 2, "try another beside it"),
        (("channel", "--canary", TWO, "--share", "1.5"), 2, "give a number above 0"),
        (("channel", "--canary", TWO), 2, "together with --share"),
        (("channel", "--canary", "", "--share", "0.5"), 2, "begin with ''"),
        (("channel", "--share", "0.5"), 2, "together with --share"),
        (("channel", "--end", "canary", "--shadow", TWO, "--share", "1"), 2, "one of --canary"),
        (("channel", "--canary", identity(8), "--share", "1"), 2, "and no model"),
        (("serve",), 2, "give ARTIFACT or --channel NAME"),
        (("serve", ONE, "--channel", NAME), 2, "give ARTIFACT or --channel NAME"),
        (("serve", "--channel", "beta"), 2, "no channel is called 'beta'"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    store: Store, said: Any, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    said("promote", ONE)
    before = channel_file(store, NAME).read_bytes()
    found, out, err = said(*arguments)
    assert (found, out, err.count("\n")) == (code, "", 1), err
    assert re.match(r"error: .+:\d+: ", err) and reason in err
    assert channel_file(store, NAME).read_bytes() == before


def test_a_damaged_candidate_or_channel_is_exit_3(store: Store, said: Any) -> None:
    said("promote", ONE)
    file = store.path(TWO) / "deep" / "bytes.bin"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    code, _, err = said("promote", identity(8))
    assert code == 3 and f"{file}:1: sha256" in err
    assert read_channel(store, NAME).live == ONE
    channel_file(store, NAME).write_text("{")
    code, _, err = said("rollback")
    assert code == 3 and err.startswith(f"error: {channel_file(store, NAME)}:1: ")


def test_a_live_model_that_is_gone_is_told_by_whoever_looks(store: Store, said: Any) -> None:
    said("promote", ONE)
    said("promote", identity(8))
    shutil.rmtree(store.path(TWO))
    assert f"{TWO} (damaged or not in the store) is live" in said("channel")[1]
    code, out, err = said("serve", "--channel", NAME)
    assert (code, out, err.count("\n")) == (2, "", 1) and "`ontogeny rollback`" in err
    assert "1 artifact" not in said("clean")[1] and "by deleting its file" in said("clean")[1]
    assert said("rollback")[0] == 0 and read_channel(store, NAME).live == ONE


CALLS = ("mkdir", "flock", "ftruncate", "pwrite64", "write", "fsync", "rename", "unlink")
"""All that change a disk."""


def changing(store: Store, *arguments: str, call: str, place: int) -> int:
    """`ontogeny ...`, killed at the `place`-th such call; its exit code."""
    killed = ["-e", f"inject={call}:signal=SIGKILL:when={place}"]
    traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", *killed]
    command = [sys.executable, "-m", "ontogeny", *arguments, "--store", str(store.root)]
    return subprocess.run([*traced, *command], capture_output=True, check=False).returncode


def places(store: Store, *arguments: str) -> list[tuple[str, int]]:
    """Every call from the lock on, as (name, place among its like), by a run nobody kills."""
    log = store.root.parent / "trace"
    command = [sys.executable, "-m", "ontogeny", *arguments, "--store", str(store.root)]
    traced = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    subprocess.run([*traced, *command], capture_output=True, check=True)
    names = re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)
    begun = names.index("flock")
    ended = len(names) - names[::-1].index("ftruncate")
    return [
        (name, names[: place + 1].count(name))
        for place, name in enumerate(names)
        if begun <= place < ended
    ]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_killed_at_any_call_one_whole_model_is_live_and_the_same_words_finish(
    store: Store, said: Any, command: str
) -> None:
    said("promote", ONE)
    words, old, new = ["promote", identity(8)], ONE, TWO
    if command == "rollback":
        said(*words)
        words, old, new = ["rollback", "--to", ONE], TWO, ONE
    file = channel_file(store, NAME)
    before = file.read_bytes()
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace here")
    points = places(store, *words)
    assert read_channel(store, NAME).live == new
    assert {"flock", "fsync", "rename", "write"} <= {name for name, _ in points}
    lives = []
    for call, place in points:
        file.write_bytes(before)
        code = changing(store, *words, call=call, place=place)
        assert code in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, place)
        lives.append(read_channel(store, NAME).live)
        store.get(lives[-1]).verify()
        said(*words)
        assert read_channel(store, NAME).live == new
        assert not list(store.channels.glob(".*"))
    assert lives == sorted(lives, key=[old, new].index), lives  # first the old one, then the new
    assert {*lives} == {old, new}


class Client(threading.Thread):
    """Asks again and again; keeps (status, artifact, id, when) of each answer."""

    def __init__(self, port: int, user: str) -> None:
        super().__init__()
        self.port, self.user = port, user
        self.heard: list[tuple[int, str, str, float]] = []
        self.stops = False
        self.lost: Exception | None = None

    def run(self) -> None:
        line = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            while not self.stops:
                status, told = ask(line, f"I am {self.user}", self.user, 20)
                about = str(told.get("system_fingerprint", told))
                self.heard.append((status, about, str(told.get("id")), time.monotonic()))
        except OSError as error:  # the server has stopped
            self.lost = error
        finally:
            line.close()


def ask(line: HTTPConnection, text: str, user: str, tokens: int) -> tuple[int, dict[str, Any]]:
    said_ = [{"role": "user", "content": text}]
    body = {"model": NAME, "messages": said_, "user": user, "max_tokens": tokens}
    body |= {"temperature": 0.0, "logprobs": True}
    line.request("POST", "/v1/chat/completions", json.dumps(body), JSON)
    reply = line.getresponse()
    return reply.status, json.loads(reply.read())


JSON = {"content-type": "application/json"}


@contextmanager
def following(store: Store, ledger: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`ontogeny serve --channel` in a process of its own; its port."""
    words = ["serve", "--channel", NAME, "--port", "0", "--store", str(store.root), "--quiet"]
    command = [sys.executable, "-m", "ontogeny", *words, "--ledger", str(ledger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://127.0.0.1:(\d+)/v1", server.stdout.readline())
            assert found, "it does not serve"
            yield server, int(found[1])
        finally:
            server.kill()


def wait_for(client: Client, artifact: str, since: float) -> float:
    """When this artifact first answered after `since`."""
    for _ in range(1200):
        for status, about, _, when in list(client.heard):
            assert status == 200, about
            if about == f"fp_{artifact}" and when > since:
                return when
        time.sleep(0.05)
    raise AssertionError(f"{artifact} never answered: {client.heard[-3:]}")


def digests(store: Store) -> dict[str, str]:
    """Every byte of every artifact."""
    return {
        str(path.relative_to(store.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.artifacts.rglob("*"))
        if path.is_file()
    }


def test_clients_of_a_server_hear_every_switch_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.create(tmp_path / "life")
    for number, says in ((1, "A"), (2, "B")):
        model_of(store, number, says)
    gate_of(store, 8, TWO, ONE)

    def change(*words: str) -> float:
        begun = time.monotonic()
        command = [sys.executable, "-m", "ontogeny", *words, "--store", str(store.root)]
        subprocess.run(command, check=True, capture_output=True)
        return begun

    def answers(port: int) -> list[Any]:
        line = HTTPConnection("127.0.0.1", port, timeout=60)
        told = [ask(line, text, "reader", 40)[1] for text in ("Say", "What is it?", "xyz")]
        line.close()
        return [each["choices"] for each in told]

    change("promote", ONE)
    before = digests(store)
    ledger = tmp_path / "ledger"
    with following(store, ledger) as (server, port):
        first = answers(port)
        clients = [Client(port, f"client-{number}") for number in range(3)]
        for client in clients:
            client.start()
        wait_for(clients[0], ONE, 0.0)
        begun = change("promote", identity(8))
        for client in clients:
            wait_for(client, TWO, begun)
        second = answers(port)
        begun = change("rollback")
        back = max(wait_for(client, ONE, begun) for client in clients) - begun
        # the others would change the last bits of log-probs by the company that they are
        for client in clients:
            client.stops = True
            client.join(60)
        assert answers(port) == first != second
        late = [Client(port, f"late-{number}") for number in range(3)]
        for client in late:
            client.start()
        for client in late:
            wait_for(client, ONE, 0.0)
        asked_to_stop = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        stopped = time.monotonic() - asked_to_stop
        for client in late:
            client.join(60)
    heard = [each for client in (*clients, *late) for each in client.heard]
    assert {status for status, *_ in heard[: sum(len(client.heard) for client in clients)]} == {200}
    for client in clients:
        assert turns(client) == [f"fp_{ONE}", f"fp_{TWO}", f"fp_{ONE}"]
    assert {status for status, *_ in heard} <= {200, 503}  # 503 only to those who came too late
    kept = Ledger.open(ledger, make=False)
    try:
        rows = {each.id for each in kept.rows()[0]}
    finally:
        kept.close()
    assert {id_ for status, _, id_, _ in heard if status == 200} <= rows
    assert digests(store) == before
    assert back < 30.0 and stopped < 10.0 + 2.0 + 20.0
    with capsys.disabled():
        print(f"\n{len(heard)} answers, rolled back after {back:.1f} s, stopped in {stopped:.1f} s")


def turns(client: Client) -> list[str]:
    """Who answered, repetitions left out."""
    found: list[str] = []
    for _, about, *_ in client.heard:
        if found[-1:] != [about]:
            found.append(about)
    return found
