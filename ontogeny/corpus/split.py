"""Training and held-out documents, parted by content so that growing the corpus moves none.

Knows nothing of domains' rules; the caller splits each domain by itself.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ontogeny.base.errors import InputError
from ontogeny.corpus.exact import content_hashes
from ontogeny.corpus.overlap import overlap_groups


class Sides(NamedTuple):
    """The two sides; together the input, each in its order."""

    train: pa.Table
    heldout: pa.Table


def split(table: pa.Table, share: float, seed: int = 0, purpose: str = "heldout") -> Sides:
    """Hold out about `share` of the documents of one domain for one `purpose`.

    A document's side follows from the sha256 of (seed, content) alone, of its overlap group
    (`overlap_groups`) from the smallest such hash in it. So no two documents with much text in
    common are parted, and a new document moves an old one only when the two overlap.

    Raises:
        InputError: `share` is not between 0 and 1, or one side would be empty.
    """
    if not 0 < share < 1:
        raise InputError(f"held-out share is {share:g}; give a number between 0 and 1")
    salt = f"{purpose}\0{seed}\0".encode()
    draws = [
        int.from_bytes(hashlib.sha256(salt + content).digest()[:8], "big") / 2.0**64
        for content in content_hashes(table)
    ]
    least: dict[int, float] = {}
    groups = overlap_groups(table).tolist() if table.num_rows else []
    for group, draw in zip(groups, draws, strict=True):
        least[group] = min(draw, least.get(group, 1.0))
    out = np.array([least[group] < share for group in groups], bool)
    if not out.any() or out.all():
        side = "no document" if not out.any() else "every document"
        raise InputError(
            f"{side} of {table.num_rows} would be held out at a share of {share:g}; "
            "add documents or change the share"
        )
    return Sides(table.filter(pa.array(~out)), table.filter(pa.array(out)))
