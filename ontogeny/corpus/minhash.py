"""Near duplicates by MinHash with banding (Broder 1997; 14 x 8 as in FineWeb, arXiv:2406.17557).

Knows nothing of domains or splits. Documents are sets of 5-word shingles; two of Jaccard
similarity s share a band with probability 1 - (1 - s^8)^14: 0.05 at 0.5, 0.57 at 0.7, 0.92 at 0.8.

Shape suffixes: D documents, N shingles, H hashes (bands x rows), K bands, E edges.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ontogeny.corpus.table import Outcome, blocks, remove
from ontogeny.corpus.words import BY_LETTERS, I64, U64, cut, hash_words, mix, ngrams

BANDS = 14
ROWS = 8
SHINGLE_WORDS = 5
BLOCK_BYTES = 256 << 10  # the shingles of a block and one permutation of them stay in the cache

U32 = npt.NDArray[np.uint32]


def probability_found(similarity: float, bands: int = BANDS, rows: int = ROWS) -> float:
    """Probability that two documents of this Jaccard similarity share a band."""
    return 1.0 - (1.0 - similarity**rows) ** bands


def shingles(texts: pa.Array) -> tuple[U64, I64]:
    """(hash_N, first_D1): the 5-word shingles of each text, at least one a text.

    A text of fewer words has one shingle of all its words; a text without words, one of its
    bytes. Case and punctuation do not matter.
    """
    words = cut(texts, BY_LETTERS)
    hash_W = hash_words(words)
    hash_N, first_D1 = ngrams(hash_W, words.first_D1, SHINGLE_WORDS)
    counts_D = np.diff(first_D1)
    short_D = np.flatnonzero(counts_D == 0)
    if not len(short_D):
        return hash_N, first_D1
    whole = np.zeros(len(short_D), np.uint64)
    for place, d in enumerate(short_D):
        run = hash_W[words.first_D1[d] : words.first_D1[d + 1]]
        if len(run):
            whole[place] = ngrams(run, np.array([0, len(run)]), len(run))[0][0]
        else:
            raw = hashlib.blake2b(texts[int(d)].as_py().encode(), digest_size=8).digest()
            whole[place] = int.from_bytes(raw, "little")
    hash_N = np.insert(hash_N, first_D1[short_D], whole)
    counts_D[short_D] = 1
    return hash_N, np.concatenate([[0], np.cumsum(counts_D)])


def signatures(table: pa.Table) -> U32:
    """MinHash signatures, shape (D, BANDS * ROWS), the same on every machine."""
    hashes = BANDS * ROWS
    draws = mix(np.arange(1, 2 * hashes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    salt_H = draws[:hashes].astype(np.uint32)
    factor_H = draws[hashes:].astype(np.uint32) | np.uint32(1)
    out_DH = np.empty((table.num_rows, hashes), np.uint32)
    for first, texts in blocks(table, BLOCK_BYTES):
        hash_N, first_D1 = shingles(texts)
        low_N = hash_N.astype(np.uint32)
        begin_D = first_D1[:-1]
        for h in range(hashes):
            permuted_N = (low_N ^ salt_H[h]) * factor_H[h]
            out_DH[first : first + len(texts), h] = np.minimum.reduceat(permuted_N, begin_D)
    return out_DH


def clusters(signature_DH: U32) -> I64:
    """Smallest row of each document's cluster, shape (D,): documents joined by equal bands."""
    documents = len(signature_DH)
    label_D = np.arange(documents)
    if documents < 2:
        return label_D
    left, right = [], []
    for band in range(BANDS):
        rows = signature_DH[:, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        key_D = np.zeros(documents, np.uint64)
        for row in range(ROWS):
            key_D = mix((key_D ^ rows[:, row]) * np.uint64(0x9E3779B97F4A7C15))
        order = np.argsort(key_D, kind="stable")
        equal = np.flatnonzero(key_D[order[1:]] == key_D[order[:-1]])
        left.append(order[equal])
        right.append(order[equal + 1])
    left_E, right_E = np.concatenate(left), np.concatenate(right)
    while True:  # each round at least halves the way to the smallest row
        low_E = np.minimum(label_D[left_E], label_D[right_E])
        fresh_D = label_D.copy()
        np.minimum.at(fresh_D, left_E, low_E)
        np.minimum.at(fresh_D, right_E, low_E)
        np.minimum.at(fresh_D, label_D[left_E], low_E)
        np.minimum.at(fresh_D, label_D[right_E], low_E)
        fresh_D = fresh_D[fresh_D]
        if np.array_equal(fresh_D, label_D):
            return label_D
        label_D = fresh_D


def remove_near(table: pa.Table) -> Outcome:
    """Remove all but the first by id of each cluster of near duplicates.

    `detail` names the document that stays and the estimated similarity to it (the share of equal
    hashes); in a chain of near duplicates that may be below any pair's.
    """
    ids = table["id"].to_pylist()
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    signature_DH = signatures(table)
    first_D = np.empty(len(ids), np.int64)
    first_D[by_id] = by_id[clusters(signature_DH[by_id])]
    rows = np.flatnonzero(first_D != np.arange(len(ids)))
    similarity = (signature_DH[rows] == signature_DH[first_D[rows]]).mean(axis=1)
    details = [
        f"near {ids[first_D[row]]}, similarity about {share:.2f}"
        for row, share in zip(rows.tolist(), similarity.tolist(), strict=True)
    ]
    return remove(table, rows.tolist(), ["near_duplicate"] * len(rows), details)
