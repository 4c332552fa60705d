"""Tokenizer -> tokens: generated tasks as text, long ones among them, ready to learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import encode, write_shard
from ontogeny.corpus.table import documents_table
from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import as_documents
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Haystacks:
    """`environments` says how many training tasks of which become documents of domain `domain`.

    Made for `needle-N`, a fact among N sentences: what teaches a model to use a long context.

    Raises:
        InputError: an unknown environment, or a count that is not positive.
    """

    environments: Mapping[str, int] = field(default_factory=dict)
    domain: str = "needles"

    stage: ClassVar[str] = "haystacks"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer",)
    makes: ClassVar[str] = "tokens"

    def __post_init__(self) -> None:
        if not self.environments or min(self.environments.values()) < 1:
            raise InputError("haystacks needs environments, each with a count of at least 1")
        for name in self.environments:
            environment(name)

    def __call__(self, work: Work, tokenizer: Artifact) -> Made:
        """Writes the shard train/DOMAIN."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        seed = work.named_seed("tasks")
        table = documents_table(
            document
            for name, count in self.environments.items()
            for document in as_documents(name, environment(name).tasks("train", count, seed))
        )
        shard = encode(table, encoder)
        write_shard(work.payload, "train", self.domain, shard)
        return Made(
            metrics={"documents": len(shard), "tokens": shard.tokens},
            summary=(f"{len(shard):,} documents, {shard.tokens:,} tokens",),
            tokens=shard.tokens,
        )
