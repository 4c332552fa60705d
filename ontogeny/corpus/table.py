"""The two tables of the corpus: documents that are kept and documents that were removed, and why.

Knows nothing of where documents come from or what makes one good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ontogeny.text.document import Document

DOCUMENTS = pa.schema([(name, pa.string()) for name in ("id", "domain", "source", "text")])
REMOVED = pa.schema(
    [(name, pa.string()) for name in ("id", "domain", "source", "reason", "detail")]
    + [("bytes", pa.int64())]
)


class Removal(NamedTuple):
    """One document that was taken out. `detail` says where or by how much, for a reader."""

    id: str
    domain: str
    source: str
    reason: str
    detail: str
    bytes: int = 0


class Outcome(NamedTuple):
    """What a step kept and what it removed; the two partition its input."""

    kept: pa.Table
    removed: pa.Table


def documents_table(documents: Iterable[Document]) -> pa.Table:
    """Documents as a table with the columns of `DOCUMENTS`, order kept."""
    rows = [(d.id, d.domain, d.source, d.text) for d in documents]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return pa.table([pa.array(c, pa.string()) for c in columns], schema=DOCUMENTS)


def removed_table(removals: Iterable[Removal]) -> pa.Table:
    """Removals as a table with the columns of `REMOVED`, order kept."""
    columns = list(zip(*removals, strict=True)) or [()] * len(REMOVED)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, REMOVED, strict=True)]
    return pa.table(arrays, schema=REMOVED)


def documents(table: pa.Table) -> Iterator[Document]:
    """The rows of a documents table as `Document`s."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield Document(*row)


def byte_lengths(table: pa.Table) -> npt.NDArray[np.int64]:
    """UTF-8 bytes of each document's text, shape (documents,)."""
    lengths = [np.diff(string_buffers(chunk)[1]).astype(np.int64) for chunk in table["text"].chunks]
    return np.concatenate(lengths) if lengths else np.zeros(0, np.int64)


def remove(
    table: pa.Table, rows: Sequence[int], reasons: Sequence[str], details: Sequence[str]
) -> Outcome:
    """Take `rows` (ascending, distinct) out of `table`, with a reason and a detail for each."""
    if not len(rows):
        return Outcome(table, REMOVED.empty_table())
    keep = np.ones(table.num_rows, bool)
    keep[list(rows)] = False
    gone = table.take(pa.array(rows, pa.int64()))
    removed = pa.table(
        [
            gone["id"],
            gone["domain"],
            gone["source"],
            pa.array(reasons, pa.string()),
            pa.array(details, pa.string()),
            pa.array(byte_lengths(gone), pa.int64()),
        ],
        schema=REMOVED,
    )
    return Outcome(table.filter(pa.array(keep)), removed)


def blocks(table: pa.Table, block_bytes: int = 1 << 20) -> Iterator[tuple[int, pa.Array]]:
    """(first row, texts) slices of about `block_bytes`: small enough to stay in the cache.

    A document is never cut; one longer than `block_bytes` is a block of its own.
    """
    first = 0
    for chunk in table["text"].chunks:
        offsets = string_buffers(chunk)[1]
        start = 0
        while start < len(chunk):
            limit = int(offsets[start]) + block_bytes
            stop = max(start + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
            yield first + start, chunk.slice(start, stop - start)
            start = stop
        first += len(chunk)


def string_buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """(bytes, offsets) of a string array without copying.

    `offsets` has shape (documents + 1,) and indexes `bytes`; document d is
    `bytes[offsets[d]:offsets[d + 1]]`. Offsets need not begin at 0.
    """
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or offsets is None:
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    edges = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return content, edges
