"""The files of a corpus artifact: train.parquet, heldout.parquet, perhaps validation.parquet,
removed.parquet and report.json.

Parquet without statistics of time or place: equal tables give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact

SPLITS = ("train", "validation", "heldout")
"""Validation documents are for choosing settings, held-out ones for reporting."""


def write_table(directory: Path, name: str, table: pa.Table) -> None:
    """Writes `name`.parquet with zstd compression."""
    pq.write_table(table, directory / f"{name}.parquet", compression="zstd")


def read_documents(corpus: Artifact, name: str) -> pa.Table:
    """One table of a corpus, its file verified first.

    Raises:
        CorruptArtifact: when the bytes are not what was written, or no parquet.
    """
    path = corpus.file(f"{name}.parquet")
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise CorruptArtifact(f"not a table ({reason}); make it again", file=path) from None
