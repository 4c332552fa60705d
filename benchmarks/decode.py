"""Greedy tokens per second, prefill included, ours beside transformers' generate in one run.

    python benchmarks/decode.py [--batches 1 16 64] [--rounds 5] [--new 128] [--threads 2] [--tiny]

Both sides hold the same weights (transformers loads ours as Qwen3) and answer the same prompts;
`same_tokens` is the share of equal tokens. They alternate, with the machine's memory read and
square product measured between them, from which the limit follows: each step reads every weight
and the cache once, or computes every product, whichever is slower. One JSON line a batch size;
`other_cpu` is the share of the machine that other processes took: a high one voids the line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from ontogeny.infer.engine import Engine
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.plan.sampling import GREEDY
from ontogeny.plan.shape import Shape

try:
    import transformers
except ImportError:  # the peer is optional; its field is then empty
    transformers = None  # type: ignore[assignment]

ROW = Shape(
    vocab_size=8192, hidden=384, layers=6, heads=6, kv_heads=6, head_dim=64, ff=1024, context=512
)
TINY = Shape(
    vocab_size=4096, hidden=160, layers=5, heads=5, kv_heads=5, head_dim=32, ff=432, context=512
)
PROMPT = 32
SQUARE = 2048
READ_FLOATS = 1 << 26

Ids = list[list[int]]


def ours(model: Transformer, prompts: Ids, new: int) -> Ids:
    """Greedy continuations by the engine, in lockstep (the default admission)."""
    engine = Engine(model, len(prompts), PROMPT + new)
    handles = [engine.submit(prompt, new, GREEDY) for prompt in prompts]
    while engine.busy:
        engine.step()
    return [handle.ids for handle in handles]


def peer(model: Transformer) -> Callable[[Ids, int], Ids]:
    """The same by transformers' generate, at its best settings here: sdpa, dynamic cache."""
    shape = model.shape
    config = transformers.Qwen3Config(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.ff,
        max_position_embeddings=shape.context,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    theirs = transformers.Qwen3ForCausalLM(config).eval()
    theirs.load_state_dict(named_weights(model), strict=False)
    theirs.tie_weights()
    theirs.generation_config.eos_token_id = None
    theirs.generation_config.pad_token_id = 0

    def generate(prompts: Ids, new: int) -> Ids:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            out = theirs.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False
            )
        return out[:, PROMPT:].tolist()

    return generate


class Limits:
    """What the machine gives at best: bytes read a second and FLOP/s of a square product."""

    def __init__(self) -> None:
        self.floats = torch.ones(READ_FLOATS)
        self.square = torch.randn(SQUARE, SQUARE)
        self.bytes: list[float] = []
        self.flops: list[float] = []

    def measure(self) -> None:
        """Once more; the best of all counts."""
        self.bytes.append(4 * READ_FLOATS / seconds(lambda: self.floats.sum()))
        self.flops.append(2 * SQUARE**3 / seconds(lambda: self.square @ self.square))

    def tokens_per_second(self, shape: Shape, batch: int, new: int) -> tuple[float, str]:
        """The limit, and which resource sets it."""
        weights = shape.matmul_parameters()
        length = PROMPT + new / 2
        cached = 2 * shape.layers * shape.kv_heads * shape.head_dim * length * batch
        reading = 4 * (weights + cached) / max(self.bytes)
        computing = batch * shape.forward_flops_per_token(int(2 * length)) / max(self.flops)
        prompt_flops = batch * PROMPT * 2 * (weights - shape.head_parameters)
        whole = new * max(reading, computing) + prompt_flops / max(self.flops)
        return batch * new / whole, "bytes" if reading > computing else "FLOPs"


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


def row(model: Transformer, name: str, batch: int, new: int, rounds: int) -> dict[str, Any]:
    """One line: ours and the peer `rounds` times each, alternating, medians."""
    made = torch.Generator().manual_seed(1)
    prompts = torch.randint(model.shape.vocab_size, (batch, PROMPT), generator=made).tolist()
    generate = peer(model) if transformers is not None else None
    limits = Limits()
    mine, others = ours(model, prompts, new), generate(prompts, new) if generate else None
    own_times: list[float] = []
    peer_times: list[float] = []
    busy, used, start = busy_seconds(), time.process_time(), time.perf_counter()
    for _ in range(rounds):
        own_times.append(seconds(lambda: ours(model, prompts, new)))
        if generate is not None:
            peer_times.append(seconds(lambda: generate(prompts, new)))
        limits.measure()
    foreign = busy_seconds() - busy - (time.process_time() - used)
    available = (time.perf_counter() - start) * (os.cpu_count() or 1)
    speed = batch * new / median(own_times)
    limit, bound = limits.tokens_per_second(model.shape, batch, new)
    line: dict[str, Any] = {"bench": f"decode {name} batch {batch}", "unit": "tokens/s"}
    line["ours"] = round(speed, 1)
    line["peers"] = {}
    if others is not None:
        theirs = batch * new / median(peer_times)
        equal = [
            a == b for m, o in zip(mine, others, strict=True) for a, b in zip(m, o, strict=True)
        ]
        line["peers"] = {"transformers generate": round(theirs, 1)}
        line["ratio"] = round(speed / theirs, 2)
        line["same_tokens"] = round(sum(equal) / len(equal), 4)
    line |= {"limit": round(limit), "bound": bound, "share_of_limit": round(speed / limit, 3)}
    line["threads"] = torch.get_num_threads()
    line["other_cpu"] = round(max(foreign, 0.0) / available, 3)
    return line


def main() -> None:
    """Reads the options and prints the lines."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--new", type=int, default=128)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--tiny", action="store_true", help="the shape of a ten-minute life")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model = Transformer(TINY if given.tiny else ROW)
    initialise(model, 0)
    for batch in given.batches:
        name = "tiny" if given.tiny else "13.8M"
        print(json.dumps(row(model, name, batch, given.new, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
