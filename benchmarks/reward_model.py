"""Preference pairs a second of a reward model's step beside a padded transformers loop, in one run.

    python benchmarks/reward_model.py [--rounds 9] [--threads 2]

The data are chat-like: prompts of about 60 tokens, answers of about 100, lognormal, the prompt in
both. The peer pads each step's sequences to the longest, as TRL's RewardTrainer does, around
LlamaForSequenceClassification with fused AdamW; ours packs them and reads each prompt once. Both
alternate in processes of their own, with a square matrix product between them. `limit` is what the
rate of that product would give. `cpu_ratio` compares process CPU time, which others' work disturbs
less than the clock; `other_cpu` is the share of the machine that others used.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from ontogeny.bridge.comparisons import Comparison, ComparisonSteps, joined_length
from ontogeny.bridge.reward_model import judged
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.reward import BradleyTerry
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps

sys.path.insert(0, str(Path(__file__).parent))
from pretrain import busy_seconds, square_product, timed, void

try:
    import transformers
except ImportError:  # the peer is optional; its field is then empty
    transformers = None  # type: ignore[assignment]

SHAPE = Shape(8192, 384, 6, 6, 6, 64, 1024, 1024)
PAIRS, STEPS, SQUARE, ROW = 8, 2, 2048, 1024


def drawn() -> list[list[tuple[list[int], list[int]]]]:
    """`STEPS` steps of `PAIRS` pairs: prompt and better answer, prompt and worse answer."""
    draw = random.Random(3)

    def ids(middle: int, most: int) -> list[int]:
        count = min(most, max(8, round(draw.lognormvariate(0, 0.8) * middle)))
        return [draw.randrange(300, SHAPE.vocab_size) for _ in range(count)]

    def pair() -> tuple[list[int], list[int]]:
        prompt = ids(60, 200)
        return prompt + ids(100, 250), prompt + ids(100, 250)

    return [[pair() for _ in range(PAIRS)] for _ in range(STEPS)]


def ours() -> Callable[[], None]:
    """The next step of our loop."""
    model = Transformer(SHAPE)
    initialise(model, 0)
    model.add_score()
    optimizer = Optimizer(model, OptimizerSettings(peak_lr=1e-5, matrices="adamw"), WSD(10**6))
    batches = []
    for step in drawn():
        pairs = [Comparison(judged(better, 0), judged(worse, 0)) for better, worse in step]
        steps = ComparisonSteps(pairs, PAIRS, 1, ROW, 0, 0)
        batches.append([steps.batch(pairs, "pairs")])
    given = cycle(batches)
    return lambda: void(train(model, BradleyTerry(), ListSteps([next(given)]), optimizer))


def peer() -> Callable[[], None]:
    """The next step of a padded loop around transformers' classifier."""
    config = transformers.LlamaConfig(
        vocab_size=SHAPE.vocab_size,
        hidden_size=SHAPE.hidden,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        head_dim=SHAPE.head_dim,
        intermediate_size=SHAPE.ff,
        max_position_embeddings=SHAPE.context,
        attn_implementation="sdpa",
        num_labels=1,
        pad_token_id=0,
    )
    model = transformers.LlamaForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    given = cycle(padded(step) for step in drawn())

    def step() -> None:
        ids, mask = next(given)
        rewards = model(input_ids=ids, attention_mask=mask).logits[:, 0]
        better, worse = rewards.chunk(2)
        (-F.logsigmoid(better - worse)).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def padded(step: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """ids_BT and mask_BT, the better ones first."""
    rows = [better for better, _ in step] + [worse for _, worse in step]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


class Contestant:
    """One side in a process of its own."""

    def __init__(self, side: str, threads: int) -> None:
        command = [sys.executable, __file__, "--side", side, "--threads", str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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


def play(side: str) -> None:
    """The child: one step for each line on stdin."""
    work = peer() if side == "hf_padded" else ours()
    for _ in sys.stdin:
        cpu = time.process_time()
        print(timed(work), time.process_time() - cpu, flush=True)


def row(rounds: int, threads: int) -> dict[str, Any]:
    """Medians over whole passes of the data, as one row."""
    sides = ["ours", *(["hf_padded"] if transformers is not None else [])]
    contestants = {side: Contestant(side, threads) for side in sides}
    product = square_product()
    wall: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    products: list[float] = []
    for contestant in contestants.values():
        contestant.seconds()
    busy, own, started = busy_seconds(), time.process_time(), time.perf_counter()
    for _ in range(rounds):
        for side, contestant in contestants.items():
            products.append(timed(product))
            taken = [contestant.seconds() for _ in range(STEPS)]
            wall[side].append(sum(each for each, _ in taken))
            cpu[side].append(sum(each for _, each in taken))
            own -= cpu[side][-1]
    others = busy_seconds() - busy - (time.process_time() - own)
    elapsed = time.perf_counter() - started
    for contestant in contestants.values():
        contestant.close()
    pairs, real = PAIRS * STEPS, sum(len(a) + len(b) for step in drawn() for a, b in step)
    known = [Comparison(judged(a, 0), judged(b, 0)) for step in drawn() for a, b in step]
    once = sum(map(joined_length, known))
    rates = {side: pairs / median(values) for side, values in wall.items()}
    peak = 2 * SQUARE**3 / median(products)
    per_token = SHAPE.train_flops_per_token(real // (2 * pairs)) - 6 * SHAPE.head_parameters
    limit = peak / (per_token * once / pairs)
    with_peer = len(sides) > 1
    return {
        "bench": "reward_model_pairs_per_s",
        "unit": "pairs/s",
        "ours": round(rates["ours"], 2),
        "peers": {side: round(rate, 2) for side, rate in rates.items() if side != "ours"},
        "ratio": round(rates["ours"] / rates["hf_padded"], 3) if with_peer else None,
        "cpu_ratio": round(median(cpu["hf_padded"]) / median(cpu["ours"]), 3)
        if with_peer
        else None,
        "limit": round(limit, 2),
        "limited_by": f"float32 product of {SQUARE}^2 at {peak / 1e9:.0f} GFLOP/s",
        "share_of_limit": round(rates["ours"] / limit, 3),
        "tokens_a_pair": round(real / pairs),
        "read_once": round(once / pairs),
        "parameters": SHAPE.parameters(),
        "threads": threads,
        "other_cpu": round(max(others, 0.0) / elapsed / (os.cpu_count() or 1), 3),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.side:
        play(options.side)
    else:
        print(json.dumps(row(options.rounds, options.threads)))


if __name__ == "__main__":
    main()
