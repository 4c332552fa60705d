"""Documents a second of the corpus steps, one JSON line a row, on one thread.

Knows no peers; it makes its own documents of about 2 kB from the installed standard library,
a tenth of them near duplicates, so it runs anywhere.

    python benchmarks/corpus.py [--documents 5000] [--jsonl FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import pyarrow as pa

from ontogeny.corpus.exact import remove_exact
from ontogeny.corpus.minhash import remove_near
from ontogeny.corpus.prose import filter_prose
from ontogeny.corpus.sources import read
from ontogeny.corpus.table import Outcome, byte_lengths, documents_table
from ontogeny.corpus.unicode_policy import clean
from ontogeny.text.document import Document


def made_documents(count: int, seed: int = 7) -> pa.Table:
    """Pieces of 1,200 to 3,000 characters of the standard library, a tenth nearly copies.

    Fewer than `count` when the library has no more text: no two pieces overlap.
    """
    source = random.Random(seed)
    whole = "\n".join(read("code=stdlib").kept["text"].to_pylist())
    texts: list[str] = []
    at = 0
    while len(texts) < count and at < len(whole):
        if texts and source.random() < 0.1:
            words = source.choice(texts).split(" ")
            for _ in range(max(1, len(words) // 50)):
                words[source.randrange(len(words))] = f"changed{source.randrange(1000)}"
            texts.append(" ".join(words))
        else:
            size = source.choice((1200, 2000, 3000))
            texts.append(whole[at : at + size])
            at += size
    return documents_table(Document(str(n), "english", "made", t) for n, t in enumerate(texts))


def jsonl_documents(path: str, count: int) -> pa.Table:
    """The first `count` documents of a JSONL file."""
    return read(f"english=path:{path}").kept.slice(0, count)


def clean_step(table: pa.Table) -> Outcome:
    """The Unicode policy, in the shape of a step."""
    return Outcome(clean(table, prose=True).table, table.slice(0, 0))


STEPS: dict[str, Callable[[pa.Table], Outcome]] = {
    "unicode_policy": clean_step,
    "quality_and_repetition_filters": filter_prose,
    "exact_dedup": remove_exact,
    "minhash_14x8_dedup": remove_near,
}


def main() -> None:
    """Time each step three times and print its median."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=5_000)
    arguments.add_argument("--jsonl")
    options = arguments.parse_args()
    if options.jsonl:
        table = jsonl_documents(options.jsonl, options.documents)
    else:
        table = made_documents(options.documents)
    megabytes = byte_lengths(table).sum() / 1e6
    for name, step in STEPS.items():
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            outcome = step(table)
            seconds.append(time.perf_counter() - start)
        taken = statistics.median(seconds)
        row = {
            "bench": name,
            "unit": "documents/s",
            "ours": round(table.num_rows / taken),
            "megabytes_per_second": round(megabytes / taken, 1),
            "documents": table.num_rows,
            "mean_bytes": round(1e6 * megabytes / table.num_rows),
            "kept": outcome.kept.num_rows,
            "threads": 1,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
