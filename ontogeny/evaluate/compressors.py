"""What general compressors need for a text: the yardsticks beside a model's bits per byte.

Knows nothing of models. `xz -9e` may first read the training text, as a model does, with a
dictionary that holds all of it (xz's own 64 MiB at level 9, more where that is too little).
"""

from __future__ import annotations

import bz2
import lzma
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ontogeny.base.errors import InputError

_DICTIONARY_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_MOST_DICTIONARY_BYTES = 1536 << 20  # the format's limit; compressing takes 11 times as much


class Yardsticks(NamedTuple):
    """Bits per byte of the held-out text, separate documents joined by a blank line."""

    xz_after_training: float
    xz: float
    bzip2: float


def measure_compressors(train: Sequence[str], heldout: Sequence[str]) -> Yardsticks:
    """Bits per byte that xz -9e after the training text, xz -9e, and bzip2 -9 need.

    After training means size(train + heldout) - size(train). The runs go in parallel threads
    (both libraries release the lock).

    Raises:
        InputError: there is no held-out text.
    """
    before, text = _joined(train), _joined(heldout)
    if not text:
        raise InputError("there is no held-out text to compress")
    stopping = threading.Event()
    pool = ThreadPoolExecutor()
    try:
        both = pool.submit(xz_size, before + text, stopping)
        first = pool.submit(xz_size, before, stopping)
        alone = pool.submit(xz_size, text, stopping)
        blocks = pool.submit(lambda: len(bz2.compress(text, 9)))
        after = both.result() - first.result()
        sizes = (after, alone.result(), blocks.result())
    finally:
        stopping.set()  # a signal raises here; the threads end within a piece
        pool.shutdown(cancel_futures=True)
    return Yardsticks(*(8 * size / len(text) for size in sizes))


def xz_size(data: bytes, stopping: threading.Event | None = None) -> int:
    """Bytes of `data` in raw LZMA2 at preset 9 extreme, without the container's few bytes.

    Given up, with a meaningless result, once `stopping` is set.
    """
    dictionary = min(max(_DICTIONARY_BYTES, len(data)), _MOST_DICTIONARY_BYTES)
    engine = {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": dictionary,
    }
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_RAW, filters=[engine])
    size = 0
    for start in range(0, len(data), _PIECE_BYTES):
        if stopping is not None and stopping.is_set():
            return 0
        size += len(compressor.compress(data[start : start + _PIECE_BYTES]))
    return size + len(compressor.flush())


def _joined(texts: Sequence[str]) -> bytes:
    return "\n\n".join([*texts, ""]).encode() if texts else b""
