"""Predicted and measured peak memory of gradient stages, one JSON line a setting.

    python benchmarks/memory.py [NAME ...] [--threads 1]

Each setting takes a few steps of the real loop on random weights in a process of its own, whose
largest resident size the system tells. The prediction is the one that the stage would be refused
by. Nothing else of size may run beside: a swapped page does not count.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.bridge.feed import PackedSteps, Packing
from ontogeny.bridge.fit import fit
from ontogeny.bridge.packing import Said
from ontogeny.bridge.preference import Pair, PairSteps
from ontogeny.bridge.reinforcement import RolloutSteps
from ontogeny.corpus.shards import Shard
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.loss import Objective
from ontogeny.objectives.policy_gradient import GRPO
from ontogeny.objectives.preference import DPO
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.memory import predict
from ontogeny.plan.optimization import Optimization, OverPairs, OverRollouts, OverTokens
from ontogeny.plan.plan import family
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Work
from ontogeny.text.train_tokenizer import train as train_tokenizer
from ontogeny.train.steps import Steps

SMOLLM2 = Shape(
    vocab_size=49152,
    hidden=576,
    layers=30,
    heads=9,
    kv_heads=3,
    head_dim=64,
    ff=1536,
    context=8192,
    rope_theta=100_000.0,
    norm_eps=1e-5,
    family="llama",
)
STEPS = 3
LORA = LoRA(rank=16)

Made = tuple[Steps, Objective]


@dataclass(frozen=True)
class Setting:
    """A model, a stage, and how its steps are made."""

    shape: Shape
    config: Optimization
    make: Callable[[Transformer, Optimization], Made]


def tokens(rows: int, width: int) -> Callable[[Transformer, Optimization], Made]:
    """Steps of so many packed rows; documents of 20 to 600 tokens."""

    def make(model: Transformer, config: Optimization) -> Made:
        draw = np.random.default_rng(0)
        lengths = draw.integers(20, 600, 400)
        starts = np.concatenate([[0], lengths.cumsum()])
        ids = draw.integers(0, model.shape.vocab_size, int(starts[-1])).astype(np.uint32)
        packing = Packing(width, rows * width, config.micro_rows, 0, seed=0)
        shard = Shard(ids, starts.astype(np.int64), lengths.astype(np.int64))
        return PackedSteps({"english": shard}, {"english": 1.0}, packing, STEPS), NextToken()

    return make


def pairs(longest: int) -> Callable[[Transformer, Optimization], Made]:
    """Preference pairs of random ids, a prompt of 40 and answers of up to `longest` tokens."""

    def make(model: Transformer, config: Optimization) -> Made:
        assert isinstance(config, OverPairs)
        draw = np.random.default_rng(0)

        def said(prompt: tuple[int, ...]) -> Said:
            count = int(draw.integers(longest // 2, longest))
            return Said(prompt, tuple(draw.integers(0, model.shape.vocab_size, count).tolist()))

        prompts = [tuple(draw.integers(0, 99, 40).tolist()) for _ in range(STEPS * 16)]
        known = [Pair(said(prompt), said(prompt), (-9.0, -9.0)) for prompt in prompts]
        width = min(model.shape.context, 1024)
        steps = PairSteps(known, config.pairs_a_step, STEPS, width, 0, 0, config.micro_rows)
        return steps, DPO()

    return make


def rollouts(model: Transformer, config: Optimization) -> Made:
    """Groups of answers that the model samples itself, in chance's own words."""
    assert isinstance(config, OverRollouts)
    tokenizer = train_tokenizer(["How many vowels are in the word? " * 9], model.shape.vocab_size)
    return RolloutSteps(model, tokenizer, config, 0), GRPO()


def _tokens(**settings: object) -> OverTokens:
    return OverTokens(peak_lr=1e-3, tokens=1, batch_tokens=1, **settings)  # type: ignore[arg-type]


def _preferring(**settings: object) -> OverPairs:
    return OverPairs(peak_lr=1e-4, **settings)  # type: ignore[arg-type]


def _playing(**settings: object) -> OverRollouts:
    play = {"steps": STEPS, "environments": {"vowels-3": 1.0}, "peak_lr": 1e-4}
    return OverRollouts(**play, **settings)  # type: ignore[arg-type]


SMALL, MIDDLE = family(128), family(384)
SETTINGS = {
    "small/muon/32x256": Setting(SMALL, _tokens(), tokens(32, 256)),
    "small/muon/4x8x256": Setting(SMALL, _tokens(micro_rows=8), tokens(32, 256)),
    "middle/muon/16x256": Setting(MIDDLE, _tokens(micro_rows=16), tokens(16, 256)),
    "middle/muon/2x16x256": Setting(MIDDLE, _tokens(micro_rows=16), tokens(32, 256)),
    "middle/recompute/2x16x256": Setting(
        MIDDLE, _tokens(micro_rows=16, recompute=True), tokens(32, 256)
    ),
    "middle/dpo/2x4x256": Setting(
        MIDDLE, _preferring(micro_rows=4, pairs_a_step=8), pairs(longest=64)
    ),
    "middle/grpo/32+4x256": Setting(MIDDLE, _playing(prompts=16, group=8, max_tokens=48), rollouts),
    "smollm2/muon/4x1x256": Setting(SMOLLM2, _tokens(micro_rows=1), tokens(4, 256)),
    "smollm2/adamw/4x256": Setting(
        SMOLLM2, _tokens(micro_rows=4, optimizer="adamw"), tokens(4, 256)
    ),
    "smollm2/adamw/2x4x256": Setting(
        SMOLLM2, _tokens(micro_rows=4, optimizer="adamw"), tokens(8, 256)
    ),
    "smollm2/recompute/2x1x1024": Setting(
        SMOLLM2, _tokens(micro_rows=1, recompute=True), tokens(2, 1024)
    ),
    "smollm2/lora/4x256": Setting(SMOLLM2, _tokens(micro_rows=4, adapter=LORA), tokens(4, 256)),
    "smollm2/lora/2x1x1024": Setting(SMOLLM2, _tokens(micro_rows=1, adapter=LORA), tokens(2, 1024)),
    "smollm2/lora/3x1x512": Setting(SMOLLM2, _tokens(micro_rows=1, adapter=LORA), tokens(3, 512)),
    "smollm2/lora/recompute/2x2x1024": Setting(
        SMOLLM2, _tokens(micro_rows=2, adapter=LORA, recompute=True), tokens(4, 1024)
    ),
    "smollm2/lora/dpo/2x1x1024": Setting(
        SMOLLM2, _preferring(micro_rows=1, adapter=LORA, pairs_a_step=6), pairs(longest=150)
    ),
    "smollm2/lora/grpo/4x2x256": Setting(
        SMOLLM2,
        _playing(prompts=8, group=4, max_tokens=16, micro_rows=2, adapter=LORA),
        rollouts,
    ),
}
"""Model, what learns, micro-batches of a step x rows x tokens."""


def child(name: str) -> None:
    """Trains `name` here and prints what was predicted and what this process held at most."""
    setting = SETTINGS[name]
    model = Transformer(setting.shape)
    initialise(model, seed=0)
    steps, objective = setting.make(model, setting.config)
    predicted = predict(setting.shape, setting.config, steps.load())
    with tempfile.TemporaryDirectory() as directory:
        work = Work("bench", Path(directory), 0, Events(), StopRequest())
        work.payload.mkdir()
        config = replace(setting.config, checkpoint_seconds=1e9)
        fit(work, model, objective, steps, config, STEPS)
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    parts = {each: round(size / 1e6) for each, size in vars(predicted).items()}
    row = {
        "setting": name,
        "predicted_mb": round(predicted.total / 1e6),
        "measured_mb": round(measured / 1e6),
        "ratio": round(predicted.total / measured, 3),
        "parts_mb": parts,
    }
    print(json.dumps(row), flush=True)


def main() -> None:
    """Measures the settings named, or all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="settings; all without")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        child(arguments.names[0])
        return
    for name in arguments.names or SETTINGS:
        command = [sys.executable, __file__, name, "--child", "--threads", str(arguments.threads)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
