"""Is a text English prose of tolerable quality? Gopher's rules, each removal with its number.

Knows nothing of sources or duplicates. Thresholds are Gopher's (arXiv:2112.11446, table A1) but
for the greatest length: that one keeps books out, and books are wanted here.

Shape suffixes: W words, D documents, B bytes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ontogeny.corpus.repetition import (
    F64,
    REPEATED_LIMITS,
    TOP_LIMITS,
    Measures,
    measure_repetition,
)
from ontogeny.corpus.table import Outcome, blocks, remove
from ontogeny.corpus.words import BY_SPACE, I64, U64, Words, cut, hash_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


class Limit(NamedTuple):
    """A document is removed for `reason` when `measure` lies outside low..high."""

    reason: str
    measure: str
    low: float = float("-inf")
    high: float = float("inf")


QUALITY = (
    Limit("too_short", "words", low=50),
    Limit("too_long", "words", high=5_000_000),
    Limit("word_length", "mean_word_length", 3, 10),
    Limit("hashes", "hashes_per_word", high=0.1),
    Limit("ellipses", "ellipses_per_word", high=0.1),
    Limit("bullet_lines", "bullet_lines", high=0.9),
    Limit("ellipsis_lines", "ellipsis_lines", high=0.3),
    Limit("few_letters", "words_with_a_letter", low=0.8),
    Limit("few_stop_words", "stop_words", low=2),
)
REPETITION = (
    Limit("repeated_lines", "repeated_lines", high=0.3),
    Limit("repeated_lines", "repeated_lines_bytes", high=0.2),
    Limit("repeated_paragraphs", "repeated_paragraphs", high=0.3),
    Limit("repeated_paragraphs", "repeated_paragraphs_bytes", high=0.2),
    *(Limit(f"top_{n}gram", f"top_{n}gram", high=high) for n, high in TOP_LIMITS.items()),
    *(
        Limit(f"repeated_{n}grams", f"repeated_{n}grams", high=high)
        for n, high in REPEATED_LIMITS.items()
    ),
)


def filter_prose(table: pa.Table, limits: tuple[Limit, ...] = QUALITY + REPETITION) -> Outcome:
    """Remove what is no prose; the first limit that fails, in order, is the reason."""
    return apply_limits(table, measure(table), limits)


def apply_limits(table: pa.Table, measures: Measures, limits: tuple[Limit, ...]) -> Outcome:
    """Remove the documents with a measure outside its limits; `measures` are of shape (D,)."""
    failed_D = np.full(table.num_rows, -1)
    for place, limit in reversed(list(enumerate(limits))):
        value_D = measures[limit.measure]
        failed_D[(value_D < limit.low) | (value_D > limit.high)] = place
    rows = np.flatnonzero(failed_D >= 0).tolist()
    reasons, details = [], []
    for row in rows:
        limit = limits[failed_D[row]]
        value = float(measures[limit.measure][row])
        side = f"below {limit.low:g}" if value < limit.low else f"above {limit.high:g}"
        reasons.append(limit.reason)
        details.append(f"{limit.measure} {value:.3g} is {side}")
    return remove(table, rows, reasons, details)


def measure(table: pa.Table) -> Measures:
    """Every measure that the limits name, each of shape (documents,)."""
    parts: list[Measures] = []
    for _, texts in blocks(table):
        words = cut(texts, BY_SPACE)
        hash_W = hash_words(words)
        line_W, block_W = _line_beginnings(words, texts)
        parts.append(
            _measure_quality(words, hash_W, line_W)
            | measure_repetition(words, hash_W, line_W, block_W)
        )
    names = {limit.measure for limit in QUALITY + REPETITION}
    return {
        name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0)
        for name in names
    }


def _line_beginnings(words: Words, texts: pa.Array) -> tuple[I64, I64]:
    """Indices of the words that begin a line, and of those that begin a paragraph."""
    _, _, data = texts.buffers()
    if data is None or not len(words.start_W):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    raw_B = np.frombuffer(data, np.uint8)
    offset = _offset(texts)
    newline = np.flatnonzero(raw_B[offset : offset + len(words.text_B)] == ord("\n"))
    after = np.searchsorted(words.start_W, newline)  # the word that follows each newline
    document = words.first_D1[:-1][np.diff(words.first_D1) > 0]
    repeat = after[1:][after[1:] == after[:-1]]  # two newlines before one word
    size = len(words.start_W)
    return _marked([document, after], size), _marked([document, repeat], size)


def _marked(parts: list[I64], size: int) -> I64:
    """The indices below `size` in any of `parts`, ascending, each once."""
    marks = np.zeros(size + 1, bool)
    for part in parts:
        marks[part] = True
    return np.flatnonzero(marks[:size])


def _offset(texts: pa.Array) -> int:
    return int(np.frombuffer(texts.buffers()[1], np.int32)[texts.offset])


def _measure_quality(words: Words, hash_W: U64, line_W: I64) -> Measures:
    documents = len(words.first_D1) - 1
    count_D = np.diff(words.first_D1)
    per_word = np.maximum(count_D, 1).astype(np.float64)
    doc_line = np.searchsorted(words.first_D1, line_W, side="right") - 1
    lines_D = np.maximum(np.bincount(doc_line, minlength=documents), 1)
    return {
        "words": count_D.astype(np.float64),
        "mean_word_length": _per_document(_characters(words), words.first_D1) / per_word,
        "hashes_per_word": _in_documents(words, words.text_B == ord("#")) / per_word,
        "ellipses_per_word": _count_ellipses(words) / per_word,
        "bullet_lines": np.bincount(doc_line[_bullets(words, line_W)], minlength=documents)
        / lines_D,
        "ellipsis_lines": np.bincount(doc_line[_ellipses(words, line_W)], minlength=documents)
        / lines_D,
        "words_with_a_letter": _per_document(_has_letter(words), words.first_D1) / per_word,
        "stop_words": _stop_words(hash_W, words.first_D1),
    }


def _in_documents(words: Words, at_B: npt.NDArray[np.bool_]) -> F64:
    """How many bytes are marked in each document, shape (D,)."""
    places = np.flatnonzero(at_B)
    return np.diff(np.searchsorted(places, words.edge_D1)).astype(np.float64)


def _count_ellipses(words: Words) -> F64:
    """Runs of three dots (six are two) and signs for them in each document, shape (D,)."""
    dots = np.flatnonzero(words.text_B == ord("."))
    new_run = np.ones(len(dots), bool)
    new_run[1:] = np.diff(dots) > 1
    new_run |= np.isin(dots, words.edge_D1)
    begins = np.flatnonzero(new_run)
    triples = np.diff(np.append(begins, len(dots))) // 3
    doc = np.searchsorted(words.edge_D1, dots[begins[triples > 0]], side="right") - 1
    documents = len(words.edge_D1) - 1
    count_D: F64 = np.bincount(doc, triples[triples > 0], minlength=documents).astype(np.float64)
    lead = np.flatnonzero(words.text_B[:-2] == 0xE2)
    sign = lead[(words.text_B[lead + 1] == 0x80) & (words.text_B[lead + 2] == 0xA6)]
    signs_D = np.diff(np.searchsorted(sign, words.edge_D1))
    count_D += signs_D
    return count_D


def _per_document(values_W: npt.NDArray[np.generic], first_D1: I64) -> F64:
    """Sums of word values by document, shape (D,)."""
    running = np.concatenate([[0.0], np.cumsum(values_W, dtype=np.float64)])
    sums_D: F64 = running[first_D1[1:]] - running[first_D1[:-1]]
    return sums_D


def _characters(words: Words) -> I64:
    """Length of each word in characters: its bytes less UTF-8 continuation bytes."""
    length_W = words.stop_W - words.start_W
    inner = np.flatnonzero((words.text_B & 0xC0) == 0x80)
    if len(inner):
        owner = np.searchsorted(words.start_W, inner, side="right") - 1
        length_W -= np.bincount(owner, minlength=len(length_W))
    return length_W


_LETTER = np.array([chr(b).isalpha() or b >= 0x80 for b in range(256)])


def _has_letter(words: Words) -> npt.NDArray[np.bool_]:
    """Whether each word has a letter; any character beyond ASCII counts as one."""
    if not len(words.start_W):
        return np.zeros(0, bool)
    found: npt.NDArray[np.bool_] = np.logical_or.reduceat(_LETTER[words.text_B], words.start_W)
    return found


def _bullets(words: Words, line_W: I64) -> npt.NDArray[np.bool_]:
    """Whether each line begins with a hyphen, an asterisk or a bullet."""
    if not len(line_W):
        return np.zeros(0, bool)
    start = words.start_W[line_W]
    first = words.text_B[start]
    third = np.minimum(start + 2, max(len(words.text_B) - 1, 0))
    bullet = (first == 0xE2) & (words.text_B[third - 1] == 0x80) & (words.text_B[third] == 0xA2)
    return np.asarray((first == ord("-")) | (first == ord("*")) | bullet, bool)


def _ellipses(words: Words, line_W: I64) -> npt.NDArray[np.bool_]:
    """Whether each line ends with three dots or the sign for them."""
    if not len(line_W):
        return np.zeros(0, bool)
    last = np.append(line_W[1:], len(words.start_W)) - 1
    stop = words.stop_W[last]
    a, b, c = (words.text_B[np.maximum(stop - back, 0)] for back in (3, 2, 1))
    dots = (a == ord(".")) & (b == ord(".")) & (c == ord("."))
    return np.asarray(dots | ((a == 0xE2) & (b == 0x80) & (c == 0xA6)), bool)


@functools.cache
def _stop_hashes() -> U64:
    """Made on first use: an array made at import would load pandas, where it is installed."""
    return hash_words(cut(pa.array([" ".join(STOP_WORDS)]), BY_SPACE))


def _stop_words(hash_W: U64, first_D1: I64) -> F64:
    """How many different stop words each document has."""
    found_D = np.zeros(len(first_D1) - 1)
    for stop_word in _stop_hashes():
        places = np.flatnonzero(hash_W == stop_word)
        found_D += np.searchsorted(places, first_D1[1:]) > np.searchsorted(places, first_D1[:-1])
    return found_D
