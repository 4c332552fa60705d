"""Documents as token ids on disk: flat arrays that are mapped, never copied.

    SPLIT/DOMAIN.ids.npy      unsigned, every document's ids one after the other
    SPLIT/DOMAIN.starts.npy   int64, shape (documents + 1,): where each document begins
    SPLIT/DOMAIN.bytes.npy    int64, shape (documents,): its UTF-8 bytes, for bits per byte
    SPLIT/DOMAIN.weights.npy  uint8, as many as ids: 0 where no loss is taken; absent: all are 1

Knows no model. End-of-text tokens are not stored; the reader puts them between texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact
from ontogeny.corpus.table import byte_lengths
from ontogeny.text.message import Conversation
from ontogeny.text.template import Rendered, render
from ontogeny.text.tokenizer import Tokenizer

PARTS = ("ids", "starts", "bytes")


@dataclass(frozen=True)
class Shard:
    """The encoded documents of one domain in one split."""

    ids: npt.NDArray[np.unsignedinteger]
    starts: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]
    weights: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def tokens(self) -> int:
        """Ids in all, end-of-text not counted."""
        return int(self.starts[-1])

    def document(self, index: int) -> npt.NDArray[np.unsignedinteger]:
        """The ids of one document, shape (tokens,)."""
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def document_weights(self, index: int) -> npt.NDArray[np.uint8]:
        """The weights of one conversation's ids, shape (tokens,)."""
        assert self.weights is not None
        return self.weights[self.starts[index] : self.starts[index + 1]]


def encode(table: pa.Table, tokenizer: Tokenizer) -> Shard:
    """Every document of `table` as ids."""
    encoded = tokenizer.encode_batch(table["text"].to_pylist())
    return shard_of(encoded, byte_lengths(table).tolist(), tokenizer.vocab_size)


def encode_conversations(conversations: Sequence[Conversation], tokenizer: Tokenizer) -> Shard:
    """Every conversation as rendered by the one template, with its loss weights.

    Raises:
        InputError: the tokenizer's template refuses a conversation.
    """
    rendered = [render(conversation, tokenizer) for conversation in conversations]
    return shard_of_rendered(conversations, rendered, tokenizer.vocab_size)


def shard_of_rendered(
    conversations: Sequence[Conversation], rendered: Sequence[Rendered], vocab_size: int
) -> Shard:
    """Conversations that were rendered before, laid end to end."""
    sizes = [sum(len(m.content.encode()) for m in each.messages) for each in conversations]
    ids = [np.array(each.ids, np.uint32) for each in rendered]
    weights = [np.array(each.weights, np.uint8) for each in rendered]
    return shard_of(ids, sizes, vocab_size, weights)


def shard_of(
    encoded: Sequence[npt.NDArray[Any]],
    sizes: Sequence[int],
    vocab_size: int,
    weights: Sequence[npt.NDArray[np.uint8]] | None = None,
) -> Shard:
    """Documents' ids, their bytes and perhaps the weights of their ids, laid end to end."""
    lengths = np.array([len(ids) for ids in encoded], np.int64)
    kind = np.uint16 if vocab_size <= 1 << 16 else np.uint32
    flat: npt.NDArray[Any] = np.concatenate([np.zeros(0, np.uint32), *encoded]).astype(kind)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    together = None if weights is None else np.concatenate([np.zeros(0, np.uint8), *weights])
    return Shard(flat, starts, np.array(sizes, np.int64), together)


def write_shard(directory: Path, split: str, domain: str, shard: Shard) -> None:
    """Writes the arrays of a shard; the bytes depend on the content alone."""
    (directory / split).mkdir(parents=True, exist_ok=True)
    for part in PARTS if shard.weights is None else (*PARTS, "weights"):
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
    weighted = f"{split}/{domain}.weights.npy" in artifact.record.files
    for part in (*PARTS, "weights") if weighted else PARTS:
        path = artifact.file(f"{split}/{domain}.{part}.npy")
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except ValueError as error:
            raise CorruptArtifact(f"not an array ({error}); make it again", file=path) from None
    return Shard(*arrays)
