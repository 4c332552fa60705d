"""Jobs a second and CPU a job of the sandbox, beside starting a process for each program.

    python benchmarks/sandbox.py [--jobs 300] [--rounds 3] [--workers 1 2]

Every job prints one number. The peers run the same program by `python -I -S` without any wall, and
by bubblewrap around a fresh interpreter with bubblewrap's walls alone; all alternate, round by
round. One JSON line for each number of workers; CPU is what the kernel charges to the processes
concerned, in milliseconds, `host_ms` of it to this one (taking namespaces down happens in kernel
threads and is in none of them; bubblewrap does not wait for what it started, so that the CPU of
the last peer is not known). `other_cpu` is the share of the machine that other processes took: a
high one voids wall times, not CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from ontogeny.rollout.policy import together
from ontogeny.rollout.sandbox.jail import Jail, find_bwrap
from ontogeny.rollout.sandbox.job import Job
from ontogeny.rollout.sandbox.pool import Sandbox

PROGRAM = "print(6 * 7)"
EXPECTED = b"42\n"
COLD_JOBS = 20
"""Of a peer in a round: they are slow, and their spread is small."""


@dataclass
class Side:
    """What one way of running programs took: seconds of each job, and of CPU and wall in all."""

    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)

    def line(self, *, cpu: bool = True) -> dict[str, float]:
        """In milliseconds, but for the rate."""
        cuts = quantiles(self.latencies, n=100)
        line = {"jobs_per_second": round(median(self.rates), 1)}
        if cpu:
            line["cpu_ms"] = round(1e3 * median(self.cpu), 2)
        return line | {"p50_ms": round(1e3 * cuts[49], 2), "p99_ms": round(1e3 * cuts[98], 2)}


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have taken."""
    with open("/proc/stat") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def below(host: int) -> float:
    """CPU seconds of all that descend from `host` and of what they waited for."""
    parents, taken = {}, {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(name)] = int(words[1])
        taken[int(name)] = sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    reached = {host}
    while more := {child for child, parent in parents.items() if parent in reached} - reached:
        reached |= more
    return sum(taken[pid] for pid in reached - {host})


def used() -> float:
    """CPU seconds of this process, of its children that ended and of those that have not."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts) + below(os.getpid())


async def timed(side: Side, jobs: int, run: Callable[[], Awaitable[bytes]], at_once: int) -> None:
    """Runs `jobs` of them, `at_once` in parallel."""

    async def some(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            output = await run()
            side.latencies.append(time.perf_counter() - began)
            assert output == EXPECTED, output

    cpu, host, start = used(), time.process_time(), time.perf_counter()
    await together(some(jobs // at_once) for _ in range(at_once))
    done = jobs // at_once * at_once
    side.rates.append(done / (time.perf_counter() - start))
    side.host.append((time.process_time() - host) / done)
    side.cpu.append((used() - cpu) / done)


def process(command: list[str]) -> Callable[[], Awaitable[bytes]]:
    """A peer: one process for each program."""

    async def run() -> bytes:
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout

    return run


def cold() -> list[str]:
    """bubblewrap around a fresh interpreter that sees what ours sees."""
    order: Any = Jail(find_bwrap()).order(0, 0)
    shown = [word for bind in order["binds"] for word in ("--ro-bind", *bind)]
    python = f"/python/bin/python3.{sys.version_info.minor}"
    links = ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]
    walls = ["--unshare-all", "--die-with-parent", "--clearenv", "--proc", "/proc", "--dev", "/dev"]
    walls += ["--setenv", "LD_LIBRARY_PATH", "/python/lib", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    return [find_bwrap(), *walls, *shown, *links, python, "-I", "-S", "-c", PROGRAM]


async def row(workers: int, jobs: int, rounds: int) -> dict[str, Any]:
    """One line."""
    bare = process([sys.executable, "-I", "-S", "-c", PROGRAM])
    jailed = process(cold())
    ours, no_walls, one_each = Side(), Side(), Side()
    began = time.perf_counter()
    async with Sandbox(workers=workers, recycle_jobs=jobs * rounds + 100) as sandbox:
        started = time.perf_counter() - began

        async def run() -> bytes:
            return (await sandbox.run(Job(PROGRAM))).stdout

        await timed(Side(), 10 * workers, run, workers)
        busy, own, start = busy_seconds(), used(), time.perf_counter()
        for _ in range(rounds):
            await timed(ours, jobs, run, workers)
            await timed(no_walls, COLD_JOBS, bare, 1)
            await timed(one_each, COLD_JOBS, jailed, 1)
        foreign = busy_seconds() - busy - (used() - own)
        available = (time.perf_counter() - start) * (os.cpu_count() or 1)
        line = {"bench": f"sandbox, {workers} at once", "unit": "jobs/s, ms", **ours.line()}
        line |= {"tier": sandbox.tier, "start_ms": round(1e3 * started, 1)}
    line["host_ms"] = round(1e3 * median(ours.host), 2)
    line["peers"] = {
        "python without walls": no_walls.line(),
        "bwrap for each": one_each.line(cpu=False),
    }
    return line | {"other_cpu": round(max(foreign, 0.0) / available, 3)}


def main() -> None:
    """Prints a line for each number of workers."""
    parser = argparse.ArgumentParser(description="The sandbox's speed.")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    for workers in given.workers:
        print(json.dumps(asyncio.run(row(workers, given.jobs, given.rounds))), flush=True)


if __name__ == "__main__":
    main()
