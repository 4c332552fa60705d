"""Tokenizer -> tokens: questions about facts that stand further and further back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import Shard, shard_of, write_shard
from ontogeny.environments.asking import TEXT_PROMPT
from ontogeny.environments.recall import haystack
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer

MOST_WEIGHT = 255


@dataclass(frozen=True)
class Hay:
    """So many `documents`, each one fact among 0 to `sentences` sentences and a question about it.

    One haystack a document: with several in sight a model learns to look at the last one only,
    and no further (docs/log.md).
    """

    documents: int
    sentences: int

    def __post_init__(self) -> None:
        if self.documents < 1 or self.sentences < 0:
            raise InputError("hay has at least 1 document, and 0 sentences or more")


@dataclass(frozen=True)
class Haystacks:
    """Documents that teach a model to look back, a domain for each kind of `hay`.

    Only answers are learnt; the answer of a document weighs as much as its tokens together, so
    that it counts beside text, of which every token is learnt.

    Raises:
        InputError: no hay.
    """

    hay: Mapping[str, Hay] = field(default_factory=dict)

    stage: ClassVar[str] = "haystacks"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model",)
    makes: ClassVar[str] = "tokens"

    def __post_init__(self) -> None:
        if not self.hay:
            raise InputError("haystacks needs at least one kind of hay")

    def __call__(self, work: Work, tokenizer: Artifact) -> Made:
        """Writes the shard train/DOMAIN of each kind."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        metrics: dict[str, float] = {}
        for done, (domain, hay) in enumerate(self.hay.items()):
            work.progress(done, len(self.hay), "shards")
            source = random.Random(work.named_seed("hay", domain))
            shard = _shard(hay, encoder, source)
            write_shard(work.payload, "train", domain, shard)
            metrics |= {f"{domain}.documents": len(shard), f"{domain}.tokens": shard.tokens}
        work.progress(len(self.hay), len(self.hay), "shards")
        tokens = sum(metrics[f"{domain}.tokens"] for domain in self.hay)
        words = ", ".join(f"{domain} {metrics[f'{domain}.tokens']:,}" for domain in self.hay)
        return Made(metrics=metrics, summary=(f"tokens: {words}",), tokens=tokens)


def _shard(hay: Hay, encoder: Tokenizer, source: random.Random) -> Shard:
    documents, weights, sizes = [], [], []
    for _ in range(hay.documents):
        prompt, answer = haystack(source, hay.sentences)
        asked, said = TEXT_PROMPT.format(prompt=prompt), f" {answer}\n"
        whole, read = encoder.encode(asked + said), len(encoder.encode(asked))
        question, reply = whole[:read], whole[read:]
        ids = [encoder.begin, *whole]
        weight = min(MOST_WEIGHT, max(1, round(len(ids) / len(reply))))
        documents.append(np.array(ids, np.uint32))
        weights.append(np.array([0] * (1 + len(question)) + [weight] * len(reply), np.uint8))
        sizes.append(len(asked.encode()) + len(said.encode()))
    return shard_of(documents, sizes, encoder.vocab_size, weights)
