"""Training documents that hold exam items, or held-out text, word for word.

Knows nothing of how exams are asked. Words are compared without case, punctuation and layout, so
a reformatted item is found; a paraphrased one is not. 13 words as for GPT-3 (arXiv:2005.14165,
appendix C).

Shape suffixes: N n-grams, M n-grams of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ontogeny.corpus.table import Outcome, blocks, remove
from ontogeny.corpus.words import BY_LETTERS, I64, U64, Words, cut, hash_words, ngrams

NGRAM_WORDS = 13
SHORTEST_RUN = 8  # an item of fewer words is so common a phrase that only a whole document counts


class Item(NamedTuple):
    """An exam question with its answer, or any text that must not be trained on."""

    id: str
    text: str


class Hit(NamedTuple):
    """`share` of the n-grams of `item` stand in training document `document`."""

    document: str
    item: str
    share: float
    words: str


class _Probe(NamedTuple):
    """Hashes to look for: n-grams of `n` words, sorted, and the items they come from."""

    n: int
    whole: bool
    hash_M: U64
    item_M: I64


def find_hits(train: pa.Table, items: Sequence[Item]) -> list[Hit]:
    """Every pair of training document and item with an n-gram in common.

    Items of 13 words and more: all their runs of 13 words. Of 8 to 12: the item as one run.
    Shorter: documents whose words are exactly the item's. `words` shows the first common run.
    """
    probes, sizes = _probes(items)
    hits: list[Hit] = []
    ids = train["id"].to_pylist()
    for first, texts in blocks(train):
        words = cut(texts, BY_LETTERS)
        hash_W = hash_words(words)
        common: dict[tuple[int, int], tuple[int, str]] = {}
        for probe in probes:
            _look(probe, words, hash_W, common)
        for (row, item), (count, shown) in sorted(common.items()):
            share = count / sizes[item]
            hits.append(Hit(ids[first + row], items[item].id, share, shown))
    return hits


def remove_contaminated(train: pa.Table, items: Sequence[Item], share: float = 0.5) -> Outcome:
    """Remove training documents that hold at least `share` of some item; the worst is named."""
    worst: dict[str, Hit] = {}
    for hit in find_hits(train, items):
        if hit.share >= share and hit.share > worst.get(hit.document, hit._replace(share=0)).share:
            worst[hit.document] = hit
    rows = [row for row, name in enumerate(train["id"].to_pylist()) if name in worst]
    found = [worst[train["id"][row].as_py()] for row in rows]
    details = [f"{hit.share:.0%} of {hit.item}: {hit.words}" for hit in found]
    return remove(train, rows, ["contaminated"] * len(rows), details)


def _probes(items: Sequence[Item]) -> tuple[list[_Probe], list[int]]:
    """Hashes to look for by length, and how many different n-grams each item has."""
    words = cut(pa.array([item.text for item in items], pa.string()), BY_LETTERS)
    hash_W = hash_words(words)
    counts = np.diff(words.first_D1)
    sizes = [1] * len(items)
    found: dict[int, list[tuple[int, int]]] = {}
    for row, count in enumerate(counts.tolist()):
        n = min(count, NGRAM_WORDS)
        if n:
            run = hash_W[words.first_D1[row] : words.first_D1[row + 1]]
            grams = np.unique(ngrams(run, np.array([0, len(run)]), n)[0]).tolist()
            sizes[row] = len(grams)
            found.setdefault(n, []).extend((gram, row) for gram in grams)
    probes = []
    for n, pairs in sorted(found.items()):
        pairs.sort()
        hashes = np.array([gram for gram, _ in pairs], np.uint64)
        owners = np.array([row for _, row in pairs], np.int64)
        probes.append(_Probe(n, n < SHORTEST_RUN, hashes, owners))
    return probes, sizes


def _look(
    probe: _Probe, words: Words, hash_W: U64, common: dict[tuple[int, int], tuple[int, str]]
) -> None:
    """Add to `common[document row, item]` the different n-grams they share."""
    hash_N, first_D1 = ngrams(hash_W, words.first_D1, probe.n)
    place = np.searchsorted(probe.hash_M, hash_N)
    inside = place < len(probe.hash_M)
    match = np.flatnonzero(inside & (probe.hash_M[np.where(inside, place, 0)] == hash_N))
    if not len(match):
        return
    doc_N = np.searchsorted(first_D1, match, side="right") - 1
    counts_D = np.diff(words.first_D1)
    seen: set[tuple[int, int]] = set()
    for at, doc in zip(match.tolist(), doc_N.tolist(), strict=True):
        if (probe.whole and counts_D[doc] != probe.n) or (doc, int(hash_N[at])) in seen:
            continue
        seen.add((doc, int(hash_N[at])))
        begin = int(words.first_D1[doc]) + at - int(first_D1[doc])
        shown = _words(words, begin, probe.n)
        m = int(place[at])
        while m < len(probe.hash_M) and probe.hash_M[m] == hash_N[at]:
            count, first = common.get((doc, int(probe.item_M[m])), (0, shown))
            common[doc, int(probe.item_M[m])] = (count + 1, first)
            m += 1


def _words(words: Words, begin: int, n: int) -> str:
    pieces = [
        words.text_B[words.start_W[w] : words.stop_W[w]].tobytes().decode()
        for w in range(begin, begin + n)
    ]
    return " ".join(pieces)
