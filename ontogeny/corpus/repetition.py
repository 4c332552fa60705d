"""How much a text repeats itself: lines, paragraphs and n-grams (Gopher, arXiv:2112.11446, A1.1).

Knows only cut words; decides nothing. Shares are of the document's bytes. Only repeats after the
first occurrence count, and a byte is counted once however many repeated n-grams it lies in.

Shape suffixes: W words, D documents, S segments (lines or paragraphs), N n-grams.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ontogeny.corpus.words import I64, U64, Words, mix, ngrams

F64 = npt.NDArray[np.float64]
Measures = dict[str, F64]

TOP_LIMITS = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED_LIMITS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

_POSITION_BITS = 26  # words in a block; one document of 16 MiB has at most 2**23
_ODD = np.uint64(0xD6E8FEB86659FD93)


def measure_repetition(
    words: Words, hash_W: U64, begins_line_W: I64, begins_block_W: I64
) -> Measures:
    """Every repetition measure, each of shape (D,), 0 for a document without words.

    Args:
        words: texts cut by white space.
        hash_W: their hashes.
        begins_line_W: indices of the words that begin a line, ascending.
        begins_block_W: indices of the words that begin a paragraph, ascending.
    """
    bytes_D = np.maximum(np.diff(words.edge_D1), 1).astype(np.float64)
    measures: Measures = {}
    for name, begins in (("lines", begins_line_W), ("paragraphs", begins_block_W)):
        count_D, byte_D = _repeated_segments(words, hash_W, begins)
        measures[f"repeated_{name}"] = count_D
        measures[f"repeated_{name}_bytes"] = byte_D / bytes_D
    doc_W = np.repeat(np.arange(len(bytes_D)), np.diff(words.first_D1))
    measures.update(_top_ngrams(words, hash_W, doc_W, bytes_D))
    measures.update(_repeated_ngrams(words, hash_W, doc_W, bytes_D))
    return measures


def _repeated_segments(words: Words, hash_W: U64, begin_S: I64) -> tuple[F64, F64]:
    """Per document: share of its segments that stood before, and the bytes in them."""
    documents = len(words.first_D1) - 1
    if not len(begin_S):
        return np.zeros(documents), np.zeros(documents)
    stop_S = np.append(begin_S[1:], len(hash_W))
    place_W = np.arange(len(hash_W)) - np.repeat(begin_S, stop_S - begin_S)
    ordered_W = mix(hash_W + (place_W.astype(np.uint64) + np.uint64(1)) * _ODD)
    hash_S = np.add.reduceat(ordered_W, begin_S)
    doc_S = np.searchsorted(words.first_D1, begin_S, side="right") - 1
    again_S = _again(hash_S, doc_S)
    length_S = words.stop_W[stop_S - 1] - words.start_W[begin_S]
    total_D = np.maximum(np.bincount(doc_S, minlength=documents), 1)
    again_D = np.bincount(doc_S[again_S], minlength=documents)
    byte_D = np.bincount(doc_S[again_S], length_S[again_S], minlength=documents)
    return again_D / total_D, byte_D.astype(np.float64)


def _runs(hash_N: U64, doc_N: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
    """(order_N, same_N): occurrences sorted so that equal n-grams of a document stand together.

    `same_N[i]` says that `order_N[i]` is the same n-gram in the same document as
    `order_N[i - 1]`. Within equals the order is by position.
    """
    assert len(hash_N) < 1 << _POSITION_BITS, "a block of words is too long to sort"
    salted = mix(hash_N ^ (doc_N.astype(np.uint64) * _ODD))
    # One sort of plain integers, high bits hash and low bits position, is many times faster
    # than an argsort; two n-grams that share the high bits are told apart below.
    low = np.uint64((1 << _POSITION_BITS) - 1)
    keys = np.sort((salted & ~low) | np.arange(len(salted), dtype=np.uint64))
    order_N = (keys & low).astype(np.int64)
    same_N = np.zeros(len(order_N), bool)
    candidates = np.flatnonzero((keys[1:] ^ keys[:-1]) <= low) + 1
    here, before = order_N[candidates], order_N[candidates - 1]
    same_N[candidates] = (salted[here] == salted[before]) & (doc_N[here] == doc_N[before])
    return order_N, same_N


def _again(hash_N: U64, doc_N: I64) -> npt.NDArray[np.bool_]:
    """Whether each occurrence has an equal one before it in its document, shape (N,)."""
    order_N, same_N = _runs(hash_N, doc_N)
    again_N = np.zeros(len(hash_N), bool)
    again_N[order_N[same_N]] = True
    return again_N


def _occurrences(hash_W: U64, first_D1: I64, n: int) -> tuple[U64, I64, I64]:
    """(hash_N, doc_N, word_N): n-grams, their documents, and the word each begins at."""
    hash_N, begin_D1 = ngrams(hash_W, first_D1, n)
    doc_N = np.repeat(np.arange(len(first_D1) - 1), np.diff(begin_D1))
    return hash_N, doc_N, np.arange(len(hash_N)) + (first_D1[:-1] - begin_D1[:-1])[doc_N]


def _top_ngrams(words: Words, hash_W: U64, doc_W: I64, bytes_D: F64) -> Measures:
    """Share of bytes in the most frequent n-gram, n of `TOP_LIMITS`; ties go to the longest."""
    documents = len(bytes_D)
    measures = {f"top_{n}gram": np.zeros(documents) for n in TOP_LIMITS}
    count_D, _ = _top(words, hash_W, words.first_D1, 2)
    # A 4-gram is no more frequent than a pair in it, so a rare pair clears all three rules.
    longest_D = _longest(words, doc_W, 4)
    limit = min(TOP_LIMITS.values())
    suspects = np.flatnonzero((count_D > 1) & (count_D * longest_D > limit * bytes_D))
    if len(suspects):
        some, hashes = _only(words, hash_W, doc_W, suspects)
        for n in TOP_LIMITS:
            count_S, length_S = _top(some, hashes, some.first_D1, n)
            repeated = np.where(count_S > 1, count_S * length_S, 0)
            measures[f"top_{n}gram"][suspects] = repeated / bytes_D[suspects]
    return measures


def _top(words: Words, hash_W: U64, first_D1: I64, n: int) -> tuple[I64, I64]:
    """Per document: how often its most frequent n-gram stands, and that n-gram's bytes."""
    documents = len(first_D1) - 1
    count_D, length_D = np.zeros(documents, np.int64), np.zeros(documents, np.int64)
    hash_N, doc_N, word_N = _occurrences(hash_W, first_D1, n)
    if len(hash_N):
        order_N, same_N = _runs(hash_N, doc_N)
        begins = np.flatnonzero(~same_N)
        count_R = np.diff(np.append(begins, len(order_N)))
        word_R = word_N[order_N[begins]]
        length_R = words.stop_W[word_R + n - 1] - words.start_W[word_R]
        doc_R = doc_N[order_N[begins]]
        best_D = np.zeros(documents, np.int64)
        np.maximum.at(best_D, doc_R, (count_R << 32) + np.minimum(length_R, (1 << 32) - 1))
        count_D, length_D = best_D >> 32, best_D & ((1 << 32) - 1)
    return count_D, length_D


def _longest(words: Words, doc_W: I64, n: int) -> I64:
    """Bytes of the longest n-gram of each document (of the document, if it has fewer words)."""
    documents = len(words.first_D1) - 1
    longest_D = np.zeros(documents, np.int64)
    last = np.minimum(np.arange(len(doc_W)) + n, words.first_D1[1:][doc_W]) - 1
    np.maximum.at(longest_D, doc_W, words.stop_W[last] - words.start_W)
    return longest_D


def _repeated_ngrams(words: Words, hash_W: U64, doc_W: I64, bytes_D: F64) -> Measures:
    """Share of bytes inside repeated n-grams, n of `REPEATED_LIMITS`."""
    documents = len(bytes_D)
    measures = {f"repeated_{n}grams": np.zeros(documents) for n in REPEATED_LIMITS}
    shortest = min(REPEATED_LIMITS)
    share_D = _covered(words, hash_W, doc_W, shortest) / bytes_D
    measures[f"repeated_{shortest}grams"] = share_D
    # A repeated 10-gram is made of repeated 5-grams: little in these, less in those.
    suspects = np.flatnonzero(share_D > min(REPEATED_LIMITS.values()))
    if len(suspects):
        some, hashes = _only(words, hash_W, doc_W, suspects)
        doc_S = np.repeat(np.arange(len(suspects)), np.diff(some.first_D1))
        for n in list(REPEATED_LIMITS)[1:]:
            covered_S = _covered(some, hashes, doc_S, n)
            measures[f"repeated_{n}grams"][suspects] = covered_S / bytes_D[suspects]
    return measures


def _covered(words: Words, hash_W: U64, doc_W: I64, n: int) -> F64:
    """Bytes of each document's words that lie in an n-gram that stood before."""
    documents = len(words.first_D1) - 1
    hash_N, doc_N, word_N = _occurrences(hash_W, words.first_D1, n)
    if not len(hash_N):
        return np.zeros(documents)
    again_N = word_N[_again(hash_N, doc_N)]
    cover_W = np.zeros(len(hash_W) + 1, np.int32)
    np.add.at(cover_W, again_N, 1)
    np.add.at(cover_W, again_N + n, -1)
    inside_W = np.cumsum(cover_W[:-1]) > 0
    length_W = words.stop_W - words.start_W
    covered = np.bincount(doc_W[inside_W], length_W[inside_W], minlength=documents)
    return covered.astype(np.float64)


def _only(words: Words, hash_W: U64, doc_W: I64, documents: I64) -> tuple[Words, U64]:
    """The words of some documents; `edge_D1` is not meaningful in the result."""
    chosen_D = np.zeros(len(words.first_D1) - 1, bool)
    chosen_D[documents] = True
    chosen_W = chosen_D[doc_W]
    first = np.concatenate([[0], np.cumsum(np.diff(words.first_D1)[documents])])
    part = Words(words.text_B, first, words.start_W[chosen_W], words.stop_W[chosen_W], first)
    return part, hash_W[chosen_W]
