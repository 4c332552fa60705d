"""Words of many texts at once as numpy arrays: where they are, how long, and a 64-bit hash.

Knows only bytes and offsets, no tables and no rules. Two ways to cut: by white space (what
Gopher's rules count) and by anything that is no letter or digit (what duplicates are compared
on: case and punctuation do not matter there).

Shape suffixes: B bytes of the block, W words, D documents, N n-grams.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ontogeny.corpus.table import string_buffers

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LONG_WORD_BYTES = 64


class Words(NamedTuple):
    """Word w is `text_B[start_W[w]:stop_W[w]]`, d owns words `first_D1[d]:first_D1[d + 1]`.

    `text_B` holds the bytes of the block only, `edge_D1` (D + 1) the documents' places in it.
    """

    text_B: npt.NDArray[np.uint8]
    edge_D1: I64
    start_W: I64
    stop_W: I64
    first_D1: I64


def _table(separators: bytes, lower: bool) -> npt.NDArray[np.uint8]:
    """Byte -> byte, separators to 0."""
    table = np.arange(256, dtype=np.uint8)
    if lower:
        table[ord("A") : ord("Z") + 1] += 32
    table[list(separators)] = 0
    return table


_ASCII = bytes(range(128))
BY_SPACE = _table(b"".join(bytes([b]) for b in b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\0"), lower=False)
BY_LETTERS = _table(bytes(b for b in _ASCII if not chr(b).isalnum()), lower=True)


def cut(texts: pa.Array, table: npt.NDArray[np.uint8]) -> Words:
    """Words of the texts in one string array, separated by the zero bytes of `table`.

    With `BY_LETTERS` the text is lower-cased (all of Unicode), and general punctuation
    (U+2000 to U+206F: dashes, curly quotes) separates words as ASCII punctuation does.
    """
    by_letters = table is BY_LETTERS
    if by_letters and not pc.all(pc.string_is_ascii(texts)).as_py():
        texts = pc.utf8_lower(texts)
    raw_B, offsets = string_buffers(texts)
    edge_D1 = offsets.astype(np.int64) - int(offsets[0])
    raw_B = raw_B[int(offsets[0]) : int(offsets[-1])]
    text_B = table[raw_B]
    if by_letters:
        _blank_punctuation(raw_B, text_B)
    solid_B = text_B != 0
    begins_B = solid_B.copy()
    begins_B[1:] &= ~solid_B[:-1]
    ends_B = solid_B.copy()
    ends_B[:-1] &= ~solid_B[1:]
    joints = edge_D1[1:-1]  # a word never runs on into the next document
    joints = joints[(joints > 0) & (joints < len(text_B))]
    begins_B[joints] = solid_B[joints]
    ends_B[joints - 1] = solid_B[joints - 1]
    start_W = np.flatnonzero(begins_B)
    stop_W = np.flatnonzero(ends_B) + 1
    return Words(text_B, edge_D1, start_W, stop_W, np.searchsorted(start_W, edge_D1))


def _blank_punctuation(raw_B: npt.NDArray[np.uint8], text_B: npt.NDArray[np.uint8]) -> None:
    at = np.flatnonzero(raw_B[:-2] == 0xE2)
    second, third = raw_B[at + 1], raw_B[at + 2]
    at = at[(second == 0x80) | ((second == 0x81) & (third < 0xB0))]
    for shift in range(3):
        text_B[at + shift] = 0


def mix(state: U64) -> U64:
    """Spread every bit over all 64 (the finaliser of MurmurHash3)."""
    state = (state ^ (state >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return state ^ (state >> np.uint64(29))


def hash_words(words: Words) -> U64:
    """A 64-bit hash of each word's bytes, shape (W,), the same on every machine and run."""
    lengths_W = words.stop_W - words.start_W
    # An unaligned 8-byte view at each byte, so one gather reads eight letters.
    padded = np.concatenate([words.text_B, np.zeros(8, np.uint8)])
    eights_B = np.ndarray(len(words.text_B) + 1, "<u8", padded, strides=(1,))
    masks = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)
    hash_W = mix(lengths_W.astype(np.uint64) * _MULTIPLIER)
    left = np.arange(len(lengths_W))
    for at in range(0, _LONG_WORD_BYTES, 8):
        if at:
            left = left[lengths_W[left] > at]
            if not len(left):
                return hash_W
            piece = eights_B[words.start_W[left] + at] & masks[np.minimum(lengths_W[left] - at, 8)]
            hash_W[left] = mix((hash_W[left] ^ piece) * _MULTIPLIER)
        else:
            piece = eights_B[words.start_W] & masks[np.minimum(lengths_W, 8)]
            hash_W = mix((hash_W ^ piece) * _MULTIPLIER)
    for w in left[lengths_W[left] > _LONG_WORD_BYTES]:  # a word of a megabyte costs one call
        data = words.text_B[words.start_W[w] : words.stop_W[w]].tobytes()
        hash_W[w] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
    return hash_W


def ngrams(hash_W: U64, first_D1: I64, n: int) -> tuple[U64, I64]:
    """Hashes of all runs of `n` words inside a document, and where each document's begin.

    A document of fewer than `n` words has none.

    Returns:
        (hash_N, first_D1): document d owns n-grams `first_D1[d]:first_D1[d + 1]`.
    """
    counts_D = np.maximum(np.diff(first_D1) - (n - 1), 0)
    begin_D1 = np.concatenate([[0], np.cumsum(counts_D)])
    if len(hash_W) < n:
        return np.zeros(0, np.uint64), np.zeros(len(first_D1), np.int64)
    span = len(hash_W) - n + 1
    hash_N = hash_W[:span].copy()
    for k in range(1, n):
        hash_N *= _MULTIPLIER
        hash_N ^= hash_N >> np.uint64(32)
        hash_N += hash_W[k : k + span]
    within = np.ones(span, bool)
    if n > 1:
        # The last n - 1 words of each document begin no n-gram of their own.
        closing = np.zeros(len(hash_W) + 1, np.int32)
        last = np.maximum(first_D1[1:] - (n - 1), first_D1[:-1])
        np.add.at(closing, last, 1)
        np.add.at(closing, first_D1[1:], -1)
        within = np.cumsum(closing)[:span] == 0
    return mix(hash_N[within]), begin_D1
