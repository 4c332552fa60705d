"""Corpus + tokenizer -> tokens: every document as ids, ready to be mapped into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow.compute as pc

from ontogeny.base.artifact import Artifact
from ontogeny.corpus.files import SPLITS, read_documents
from ontogeny.corpus.shards import encode, write_shard
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Encode:
    """Encodes every split, domain by domain."""

    stage: ClassVar[str] = "encode"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("corpus", "tokenizer|model")
    makes: ClassVar[str] = "tokens"

    def __call__(self, work: Work, corpus: Artifact, tokenizer: Artifact) -> Made:
        """Writes SPLIT/DOMAIN.{ids,starts,bytes}.npy."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        tables = [
            (split, read_documents(corpus, split))
            for split in SPLITS
            if f"{split}.parquet" in corpus.record.files
        ]
        parts = [
            (split, domain, table.filter(pc.field("domain") == domain))
            for split, table in tables
            for domain in sorted(pc.unique(table["domain"]).to_pylist())
        ]
        metrics: dict[str, float] = {}
        for done, (split, domain, table) in enumerate(parts):
            work.progress(done, len(parts), "shards")
            shard = encode(table, encoder)
            write_shard(work.payload, split, domain, shard)
            metrics[f"{split}.{domain}.tokens"] = shard.tokens
            metrics[f"{split}.{domain}.documents"] = len(shard)
        work.progress(len(parts), len(parts), "shards")
        total = sum(value for name, value in metrics.items() if name.endswith(".tokens"))
        words = ", ".join(
            f"{domain} {metrics[f'{split}.{domain}.tokens']:,}"
            for split, domain, _ in parts
            if split == "train"
        )
        return Made(metrics=metrics, summary=(f"training tokens: {words}",), tokens=total)
