"""Tokens per second of a pretraining step beside a plain transformers loop, in one run.

    python benchmarks/pretrain.py [--small] [--rounds 9] [--threads 2]

Ours and the peer, each in its own process, alternate, with a square matrix product between them
whose rate is the limit. The optimizer is AdamW on both sides of the compared row; what Muon costs
is its own field. One JSON line a row; `other_cpu` is the share of the machine that others used: a
high one voids the line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

try:
    import transformers
except ImportError:  # the peer is optional; its field is then empty
    transformers = None  # type: ignore[assignment]

SQUARE = 2048
SIDES: dict[str, Literal["muon", "adamw"]] = {"ours": "adamw", "muon": "muon"}
LARGE = {"pretrain_tokens_per_s": (Shape(8192, 384, 6, 6, 6, 64, 1024, 512), 4)}
SMALL = {
    "pretrain_tokens_per_s/h128": (Shape(4096, 128, 4, 4, 2, 32, 384, 256), 64),
    "pretrain_tokens_per_s/h128_wide_heads": (Shape(4096, 128, 4, 2, 1, 64, 384, 256), 64),
    "pretrain_tokens_per_s/h192": (Shape(4096, 192, 6, 3, 3, 64, 512, 256), 16),
}


def tokens(shape: Shape, rows: int) -> torch.Tensor:
    """(rows, context + 1) random ids."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape.vocab_size, (rows, shape.context + 1), generator=generator)


def ours(shape: Shape, rows: int, matrices: Literal["muon", "adamw"]) -> Callable[[], None]:
    """One step of our loop."""
    ids = tokens(shape, rows)
    batch = Batch(
        ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), torch.ones(rows, ids[0].numel() - 1)
    )
    model = Transformer(shape)
    initialise(model, 0)
    settings = OptimizerSettings(peak_lr=1e-4, matrices=matrices)
    optimizer = Optimizer(model, settings, WSD(10**6))
    return lambda: void(train(model, NextToken(), ListSteps([[batch]]), optimizer))


def peer(shape: Shape, rows: int) -> Callable[[], None]:
    """One step of a plain loop around transformers' Llama with fused AdamW and clipping."""
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.ff,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )
    model = transformers.LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = tokens(shape, rows)[:, :-1]

    def step() -> None:
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def void(_: object) -> None:
    """Drops a result."""


def square_product() -> Callable[[], None]:
    """The product whose rate is the limit."""
    a, b, out = (torch.randn(SQUARE, SQUARE) for _ in range(3))
    return lambda: void(torch.mm(a, b, out=out))


def timed(work: Callable[[], None]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def busy_seconds() -> float:
    """CPU seconds that the whole machine has worked, all cores; 0 where it does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Contestant:
    """One side in a process of its own: what one does to its memory must not help the other."""

    def __init__(self, side: str, name: str, threads: int) -> None:
        command = [sys.executable, __file__, "--side", side, "--row", name]
        self.process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self) -> tuple[float, float]:
        """(wall, CPU) seconds of one step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("go", file=self.process.stdin, flush=True)
        wall, cpu = self.process.stdout.readline().split()
        return float(wall), float(cpu)

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def play(side: str, name: str) -> None:
    """The child: one step for each line on stdin."""
    shape, rows = (LARGE | SMALL)[name]
    work = peer(shape, rows) if side == "hf_loop" else ours(shape, rows, SIDES[side])
    for _ in sys.stdin:
        cpu = time.process_time()
        print(timed(work), time.process_time() - cpu, flush=True)


def row(name: str, shape: Shape, rows: int, rounds: int, threads: int) -> dict[str, Any]:
    """Medians over interleaved rounds, as one row."""
    sides = [*SIDES, *(["hf_loop"] if transformers is not None else [])]
    contestants = {side: Contestant(side, name, threads) for side in sides}
    product = square_product()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    products: list[float] = []
    for _ in range(2):
        product()
        for contestant in contestants.values():
            contestant.seconds()
    busy, own, started = busy_seconds(), time.process_time(), time.perf_counter()
    for _ in range(rounds):
        for side, contestant in contestants.items():
            products += [timed(product) for _ in range(2)]
            wall, cpu = contestant.seconds()
            seconds[side].append(wall)
            own -= cpu
    others = busy_seconds() - busy - (time.process_time() - own)
    elapsed = time.perf_counter() - started
    for contestant in contestants.values():
        contestant.close()
    per_step = rows * shape.context
    rates = {side: per_step / median(values) for side, values in seconds.items()}
    peak = 2 * SQUARE**3 / median(products)
    limit = peak / shape.train_flops_per_token()
    peers = {side: round(rate) for side, rate in rates.items() if side not in SIDES}
    return {
        "bench": name,
        "unit": "tokens/s",
        "ours": round(rates["ours"]),
        "peers": peers,
        "ratio": round(rates["ours"] / rates["hf_loop"], 3) if peers else None,
        "limit": round(limit),
        "limited_by": f"float32 product of {SQUARE}^2 at {peak / 1e9:.0f} GFLOP/s",
        "share_of_limit": round(rates["ours"] / limit, 3),
        "with_muon": round(rates["muon"]),
        "parameters": shape.parameters(),
        "tokens_a_step": per_step,
        "other_cpu": round(max(others, 0.0) / elapsed / (os.cpu_count() or 1), 3),
    }


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="also the shapes of the quickstart")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        play(arguments.side, arguments.row)
        return
    for name, (shape, rows) in (LARGE | (SMALL if arguments.small else {})).items():
        found = row(name, shape, rows, arguments.rounds, arguments.threads)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
