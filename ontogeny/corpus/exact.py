"""Documents that are the same text but for white space: the first by id stays.

Knows nothing of near duplicates.
"""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from ontogeny.corpus.table import Outcome, remove


def content_hashes(table: pa.Table) -> list[bytes]:
    """sha256 of each text with every run of ASCII white space made one blank and ends trimmed."""
    even = pc.utf8_trim(pc.replace_substring_regex(table["text"], r"[ \t\n\r]+", " "), " ")
    return [
        hashlib.sha256(text.encode()).digest()
        for chunk in even.chunks
        for text in chunk.to_pylist()
    ]


def remove_exact(table: pa.Table) -> Outcome:
    """Remove all but the first by id of documents with equal `content_hashes`."""
    ids = table["id"].to_pylist()
    hashes = content_hashes(table)
    first: dict[bytes, str] = {}
    for name, content in zip(ids, hashes, strict=True):
        first[content] = min(name, first.get(content, name))
    rows = [row for row, name in enumerate(ids) if first[hashes[row]] != name]
    details = [f"equals {first[hashes[row]]}" for row in rows]
    return remove(table, rows, ["exact_duplicate"] * len(rows), details)
