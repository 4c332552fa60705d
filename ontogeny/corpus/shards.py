"""Documents as token ids on disk: flat arrays that are mapped, never copied.

    SPLIT/DOMAIN.ids.npy      unsigned, every document's ids one after the other
    SPLIT/DOMAIN.starts.npy   int64, shape (documents + 1,): where each document begins
    SPLIT/DOMAIN.bytes.npy    int64, shape (documents,): its UTF-8 bytes, for bits per byte

Knows no model. End-of-text tokens are not stored; the reader puts them between documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact
from ontogeny.corpus.table import byte_lengths
from ontogeny.text.tokenizer import Tokenizer

PARTS = ("ids", "starts", "bytes")


@dataclass(frozen=True)
class Shard:
    """The encoded documents of one domain in one split."""

    ids: npt.NDArray[np.unsignedinteger]
    starts: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def tokens(self) -> int:
        """Ids in all, end-of-text not counted."""
        return int(self.starts[-1])

    def document(self, index: int) -> npt.NDArray[np.unsignedinteger]:
        """The ids of one document, shape (tokens,)."""
        return self.ids[self.starts[index] : self.starts[index + 1]]


def encode(table: pa.Table, tokenizer: Tokenizer) -> Shard:
    """Every document of `table` as ids."""
    encoded = tokenizer.encode_batch(table["text"].to_pylist())
    lengths = np.array([len(ids) for ids in encoded], np.int64)
    kind = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    flat: npt.NDArray[Any] = np.concatenate([np.zeros(0, np.uint32), *encoded]).astype(kind)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Shard(flat, starts, byte_lengths(table))


def write_shard(directory: Path, split: str, domain: str, shard: Shard) -> None:
    """Writes the three arrays of a shard; the bytes depend on the content alone."""
    (directory / split).mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        _write_array(directory / split / f"{domain}.{part}.npy", getattr(shard, part))


def _write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Writes the .npy format; numpy's own writer hides the errno of a full disk."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).data)


def domains(artifact: Artifact, split: str) -> list[str]:
    """The domains that have a shard in `split`, sorted."""
    prefix, ending = f"{split}/", ".ids.npy"
    return sorted(
        name[len(prefix) : -len(ending)]
        for name in artifact.record.files
        if name.startswith(prefix) and name.endswith(ending)
    )


def read_shard(artifact: Artifact, split: str, domain: str) -> Shard:
    """The shard of `domain` in `split`, memory-mapped, its files verified.

    Raises:
        CorruptArtifact: when an array is not what was written.
    """
    arrays: list[Any] = []
    for part in PARTS:
        path = artifact.file(f"{split}/{domain}.{part}.npy")
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except ValueError as error:
            raise CorruptArtifact(f"not an array ({error}); make it again", file=path) from None
    return Shard(*arrays)
