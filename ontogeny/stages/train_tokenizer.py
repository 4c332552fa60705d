"""Corpus -> tokenizer: byte-level BPE learnt from the training documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.corpus.files import read_documents
from ontogeny.run.work import Made, Work
from ontogeny.text.train_tokenizer import train


@dataclass(frozen=True)
class TrainTokenizer:
    """Learns `vocab_size` tokens; held-out documents are not looked at.

    Raises:
        InputError: when the vocabulary is too small or there is no text.
    """

    vocab_size: int

    stage: ClassVar[str] = "train_tokenizer"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("corpus",)
    makes: ClassVar[str] = "tokenizer"

    def __call__(self, work: Work, corpus: Artifact) -> Made:
        """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja."""
        table = read_documents(corpus, "train")
        texts = table["text"].to_pylist()
        size = sum(len(text.encode()) for text in texts)
        work.progress(0, size, "bytes")
        tokenizer = train(texts, self.vocab_size)
        tokenizer.save(work.payload)
        work.progress(size, size, "bytes")
        heldout = read_documents(corpus, "heldout")["text"].to_pylist()
        tokens = sum(len(ids) for ids in tokenizer.encode_batch(heldout))
        ratio = sum(len(text.encode()) for text in heldout) / max(tokens, 1)
        return Made(
            metrics={"bytes_per_token": ratio},
            summary=(f"{tokenizer.vocab_size:,} tokens, {ratio:.2f} bytes a token held out",),
            tokens=tokens,
        )
