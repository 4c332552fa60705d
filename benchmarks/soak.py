"""A server under mixed traffic for hours: does it grow, does it fail, does it lose what was said?

    python benchmarks/soak.py [--hours 8] [--store life] [--model grpo] [--clients 8]
        [--fuzzed 100000] [--every 60]

Clients chat, stream, leave in the middle, ask for schemas and tool calls, rate, and send broken
bodies, each drawn from its own seed. The ledger is on; at the end every rating that was
acknowledged must stand in it once. Before that schemathesis sends its requests, made from the
OpenAPI document (0: none). One JSON line every --every seconds, one at the end:

rss_mb, fds, threads: of the server's process.
rss_slope_mb_per_hour: least squares over the lines after the first fifth; limit 1.
fds_grown: most of the last fifth less most of the first after warming up; limit 0.
failed: answers with a status of 500 or more, 503 of a full queue apart; limit 0.
lost, doubled: acknowledged ratings that the ledger has not, or has twice; limit 0.

Exit 1 where a limit is passed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from ontogeny.feedback.ledger import Ledger

SLOPE_MB_PER_HOUR = 1.0
SAID = ("What is 7 plus 5?", "Say hello.", "Which is the longest: a, bbb, cc?", "Tell me a story.")
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
BROKEN = (
    b"{",
    b'{"model": 1e999}',
    b"[" * 5000,
    b'{"model": "x", "messages": []}',
    b"\xff\xfe",
    b'{"messages": [{"role": "user", "content": "' + b"a" * 200_000 + b'"}]}',
)


@dataclass
class Traffic:
    """What clients did and heard, shared by their threads."""

    port: int
    model: str
    over: threading.Event = field(default_factory=threading.Event)
    heard: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, seed: int) -> None:
        """Asks until it is over."""
        draw = random.Random(seed)
        kinds = (self.plain, self.stream, self.leave, self.form, self.call, self.broken)
        while not self.over.is_set():
            kind = draw.choices(kinds, (4, 3, 1, 1, 1, 1))[0]
            try:
                kind(draw)
            except (OSError, HTTPException) as error:
                self.count(f"line: {type(error).__name__}")

    def count(self, what: str) -> None:
        """Counts one more of it."""
        with self.lock:
            self.heard[what] += 1

    def body(self, draw: random.Random, **more: Any) -> bytes:
        """A request for a few tokens."""
        said = f"{draw.choice(SAID)} ({draw.randrange(1000)})"
        fields = {"model": self.model, "messages": [{"role": "user", "content": said}]}
        user = f"user-{draw.randrange(50)}"
        return json.dumps(
            fields | {"max_tokens": draw.randrange(1, 48), "user": user} | more
        ).encode()

    def ask(self, data: bytes, path: str = "/v1/chat/completions") -> tuple[int, bytes]:
        """One request on a connection of its own."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=120)) as line:
            line.request("POST", path, data, {"content-type": "application/json"})
            reply = line.getresponse()
            found = reply.status, reply.read()
        self.count(f"status {found[0]}")
        return found

    def plain(self, draw: random.Random) -> None:
        """An answer, and what is said of it."""
        data = self.body(draw)
        status, answer = self.ask(data)
        if status != 200:
            return
        user, id_ = json.loads(data)["user"], json.loads(answer)["id"]
        rating = {"id": id_, "user": user, "score": draw.choice((-1, 1))}
        status, _ = self.ask(json.dumps(rating).encode(), "/v1/feedback")
        if status == 200:
            with self.lock:
                self.acknowledged.append(id_)

    def stream(self, draw: random.Random) -> None:
        """A stream, read to its end."""
        self.ask(self.body(draw, stream=True))

    def leave(self, draw: random.Random) -> None:
        """A stream, left after its first bytes."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=120)) as line:
            data = self.body(draw, stream=True, max_tokens=200)
            line.request("POST", "/v1/chat/completions", data, {"content-type": "application/json"})
            line.getresponse().read(10)
        self.count("left")

    def form(self, draw: random.Random) -> None:
        """An answer held to a schema."""
        form = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
        self.ask(self.body(draw, response_format=form))

    def call(self, draw: random.Random) -> None:
        """A call that must come."""
        self.ask(self.body(draw, tools=[TOOL], tool_choice="required", max_tokens=64))

    def broken(self, draw: random.Random) -> None:
        """What no client should send."""
        self.ask(draw.choice(BROKEN))


def state(pid: int) -> dict[str, float]:
    """Of the server's process."""
    process = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    return {
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "fds": len(list((process / "fd").iterdir())),
        "threads": int(status["Threads"]),
    }


def fuzz(port: int, requests: int) -> None:
    """As many requests of schemathesis, in runs of about 2,000 with seeds of their own.

    Raises:
        SystemExit: a run found a mistake; its report is printed.
    """
    tool, sent, seed = Path(sys.executable).with_name("schemathesis"), 0, 0
    while sent < requests:
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "told.json"
            command = [str(tool), "run", "--max-examples", "320", "--seed", str(seed)]
            command += ["--phases", "examples,coverage,fuzzing", "--no-shrink"]
            command += ["--checks", "not_a_server_error", "--continue-on-failure"]
            command += ["--suppress-health-check", "all", "--report", "json"]
            command += ["--report-json-path", str(told), f"http://127.0.0.1:{port}/openapi.json"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stdout)
            sent, seed = sent + json.loads(told.read_text())["test_cases"]["generated"], seed + 1
        print(json.dumps({"benchmark": "soak", "fuzzed": sent, "failed": 0}), flush=True)


def soak(traffic: Traffic, pid: int, options: argparse.Namespace) -> list[dict[str, float]]:
    """Lets the clients loose and prints a line from time to time; all lines."""
    clients = [
        threading.Thread(target=traffic.client, args=(seed,)) for seed in range(options.clients)
    ]
    for each in clients:
        each.start()
    began, lines = time.monotonic(), []
    while (spent := time.monotonic() - began) < options.hours * 3600:
        time.sleep(min(options.every, max(0.0, options.hours * 3600 - spent)))
        found = {"hours": (time.monotonic() - began) / 3600} | state(pid)
        lines.append(found)
        rounded = {name: round(value, 3) for name, value in found.items()}
        requests = sum(traffic.heard.values())
        print(json.dumps({"benchmark": "soak", **rounded, "requests": requests}), flush=True)
    traffic.over.set()
    for each in clients:
        each.join()
    return lines


def verdict(traffic: Traffic, lines: list[dict[str, float]], ledger: Path) -> dict[str, Any]:
    """The last line."""
    warm = lines[len(lines) // 5 :]
    hours, rss = [each["hours"] for each in warm], [each["rss_mb"] for each in warm]
    slope = float(np.polyfit(hours, rss, 1)[0]) if len(warm) > 2 else float("nan")
    fifth = max(1, len(warm) // 5)
    fds = [each["fds"] for each in warm]
    with closing(Ledger.read(ledger)) as kept:
        rated = Counter(each.exchange for each in kept.rows()[1])
    codes = {int(name.split()[1]): n for name, n in traffic.heard.items() if "status" in name}
    return {
        "benchmark": "soak",
        "hours": round(lines[-1]["hours"], 3),
        "heard": dict(sorted(traffic.heard.items())),
        "rss_slope_mb_per_hour": round(slope, 3),
        "fds_grown": max(fds[-fifth:]) - max(fds[:fifth]),
        "failed": sum(n for code, n in codes.items() if code >= 500 and code != 503),
        "acknowledged": len(traffic.acknowledged),
        "lost": sum(not rated[id_] for id_ in traffic.acknowledged),
        "doubled": sum(n > 1 for n in rated.values()),
    }


def main() -> None:
    """Parses the options, serves, prints the lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--store", type=Path, default=Path("life"))
    parser.add_argument("--model", default="grpo")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--fuzzed", type=int, default=100_000)
    parser.add_argument("--every", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.sqlite"
        command = [sys.executable, "-m", "ontogeny", "serve", options.model, "--port", "0"]
        command += ["--store", str(options.store), "--ledger", str(ledger), "--quiet"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                found = _told(server)
                traffic = Traffic(found, options.model)
                fuzz(found, options.fuzzed)
                lines = soak(traffic, server.pid, options)
            finally:
                server.terminate()
                with suppress(subprocess.TimeoutExpired):
                    server.wait(60)
        last = verdict(traffic, lines, ledger)
    print(json.dumps(last), flush=True)
    passed = not (last["failed"] or last["lost"] or last["doubled"] or last["fds_grown"] > 0)
    if not passed or last["rss_slope_mb_per_hour"] > SLOPE_MB_PER_HOUR:
        raise SystemExit(1)


def _told(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"127\.0\.0\.1:(\d+)", line)
    if found is None:
        raise SystemExit(f"the server did not start: {line!r}")
    return int(found[1])


if __name__ == "__main__":
    main()
