"""Likelihood of multiple-choice answers under one model: ours and stock transformers, interleaved.

    python benchmarks/choices.py MODEL ITEMS.jsonl[.gz] [--store life] [--count 500]

A line of ITEMS has "query", "choices" and "gold" (the place of the right one). A choice is
likeliest by the sum of its tokens' log-probs after the query and one space. Prints one JSON line:
the largest difference of a log-prob between the two, how often each is right, and seconds of both.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from ontogeny.base.store import Store
from ontogeny.bridge.models import load_model
from ontogeny.infer.scoring import score

Pair = tuple[list[int], list[int]]
GROUP = 25
"""Items scored by one side before the other has its turn."""


def items(path: Path, count: int) -> list[dict[str, Any]]:
    """The first `count` items."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for _, line in zip(range(count), file, strict=False)]


def theirs(model: Any, pairs: Sequence[Pair]) -> list[float]:
    """Sum of the target's log-probs, pairs of like length padded together."""
    order = sorted(range(len(pairs)), key=lambda n: len(pairs[n][0]) + len(pairs[n][1]))
    sums = [0.0] * len(pairs)
    for start in range(0, len(order), 16):
        group = order[start : start + 16]
        rows = [[*pairs[n][0], *pairs[n][1]] for n in group]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
        for row, n in enumerate(group):
            first, target = len(pairs[n][0]), torch.tensor(pairs[n][1])
            part = logits[row, first - 1 : first - 1 + len(target)].log_softmax(-1)
            sums[n] = float(part.gather(1, target[:, None]).sum())
    return sums


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("items", type=Path)
    parser.add_argument("--store", type=Path, default=Path("life"))
    parser.add_argument("--count", type=int, default=500)
    given = parser.parse_args()
    artifact = Store.open(given.store).resolve(given.model)
    model, tokenizer = load_model(artifact)
    other = transformers.AutoModelForCausalLM.from_pretrained(artifact.path).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(artifact.path)
    right, seconds, largest, scored = [0, 0], [0.0, 0.0], 0.0, 0
    asked = items(given.items, given.count)
    for start in range(0, len(asked), GROUP):
        group = asked[start : start + GROUP]
        pairs: list[Pair] = []
        for item in group:
            query = tokenizer.encode(item["query"])
            assert query == their_tokenizer(item["query"], add_special_tokens=False)["input_ids"]
            pairs += [(query, tokenizer.encode(f" {choice}")) for choice in item["choices"]]
        began = time.perf_counter()
        ours = [sum(log_probs) for log_probs, _ in score(model, pairs)]
        seconds[0] += time.perf_counter() - began
        began = time.perf_counter()
        its = theirs(other, pairs)
        seconds[1] += time.perf_counter() - began
        largest = max(largest, *(abs(a - b) for a, b in zip(ours, its, strict=True)))
        place = 0
        for item in group:
            stop = place + len(item["choices"])
            for side, sums in enumerate((ours, its)):
                part = sums[place:stop]
                right[side] += part.index(max(part)) == item["gold"]
            place = stop
        scored += len(pairs)
    row = {
        "bench": "choices",
        "items": len(asked),
        "choices": scored,
        "largest_difference": largest,
        "right": {"ours": right[0] / len(asked), "transformers": right[1] / len(asked)},
        "seconds": {"ours": round(seconds[0], 1), "transformers": round(seconds[1], 1)},
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
