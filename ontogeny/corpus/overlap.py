"""Which documents share so much text that they must not stand on two sides of a split.

Knows nothing of sides or exams. Jaccard similarity misses a speech that is quoted whole in a
longer one; here the share is of the smaller document's shingles.

Shape suffixes: D documents, N shingles, P pairs.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ontogeny.corpus.minhash import shingles
from ontogeny.corpus.table import blocks
from ontogeny.corpus.words import I64, U64

SHARE = 0.2
MAX_HOLDERS = 16  # a shingle that more documents hold is a common phrase, no sign of copying


def overlap_groups(table: pa.Table, share: float = SHARE) -> I64:
    """Smallest row of each document's group, shape (D,).

    Two documents are in one group when at least `share` of the smaller's 5-word shingles (those
    that at most `MAX_HOLDERS` documents hold) stand in the other, directly or over others.
    Memory: 16 bytes a shingle.
    """
    hash_N, doc_N = _distinct_shingles(table)
    total_D = np.bincount(doc_N, minlength=table.num_rows)
    order = np.argsort(hash_N, kind="stable")
    hash_N, doc_N = hash_N[order], doc_N[order]
    begins = np.flatnonzero(np.concatenate([[True], hash_N[1:] != hash_N[:-1]]))
    holders = np.diff(np.append(begins, len(hash_N)))
    shared: dict[int, int] = {}
    for count in range(2, MAX_HOLDERS + 1):
        at = begins[holders == count]
        for near in range(count):
            for far in range(near + 1, count):
                pair_P = doc_N[at + near] * table.num_rows + doc_N[at + far]
                for pair, times in zip(*np.unique(pair_P, return_counts=True), strict=True):
                    shared[int(pair)] = shared.get(int(pair), 0) + int(times)
    parent = list(range(table.num_rows))
    for pair, times in shared.items():
        a, b = divmod(pair, table.num_rows)
        if times >= share * min(total_D[a], total_D[b]):
            low, high = sorted((_root(parent, a), _root(parent, b)))
            parent[high] = low
    return np.array([_root(parent, row) for row in range(table.num_rows)], np.int64)


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


def _distinct_shingles(table: pa.Table) -> tuple[U64, I64]:
    """(hash_N, doc_N): each document's shingles once, documents in order."""
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for first, texts in blocks(table):
        hash_N, first_D1 = shingles(texts)
        for d in range(len(texts)):
            own = np.unique(hash_N[first_D1[d] : first_D1[d + 1]])
            hashes.append(own)
            owners.append(np.full(len(own), first + d))
    return np.concatenate(hashes), np.concatenate(owners)
