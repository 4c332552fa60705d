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
    """So many `documents` of up to `tokens` tokens: haystacks one behind the other, each with one
    fact among up to `sentences` sentences on either side."""

    documents: int
    tokens: int
    sentences: int

    def __post_init__(self) -> None:
        if min(self.documents, self.tokens) < 1 or self.sentences < 0:
            raise InputError("hay has at least 1 document and 1 token, and 0 sentences or more")


@dataclass(frozen=True)
class Haystacks:
    """Documents that teach a model to look back, a domain for each kind of `hay`.

    Only answers are learnt; the answers of a document together weigh as much as its tokens, so
    that they count beside text, of which every token is learnt.

    Raises:
        InputError: no hay, or documents too short for a single haystack.
    """

    hay: Mapping[str, Hay] = field(default_factory=dict)

    stage: ClassVar[str] = "haystacks"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer",)
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
            shard = _shard(hay, encoder, source, domain)
            write_shard(work.payload, "train", domain, shard)
            metrics |= {f"{domain}.documents": len(shard), f"{domain}.tokens": shard.tokens}
        work.progress(len(self.hay), len(self.hay), "shards")
        tokens = sum(metrics[f"{domain}.tokens"] for domain in self.hay)
        words = ", ".join(f"{domain} {metrics[f'{domain}.tokens']:,}" for domain in self.hay)
        return Made(metrics=metrics, summary=(f"tokens: {words}",), tokens=tokens)


def _shard(hay: Hay, encoder: Tokenizer, source: random.Random, domain: str) -> Shard:
    documents, weights, sizes = [], [], []
    for _ in range(hay.documents):
        ids, learnt, size = _document(hay, encoder, source)
        if not any(learnt):
            raise InputError(
                f"hay '{domain}': {hay.tokens} tokens hold no haystack of {hay.sentences} "
                "sentences on either side; raise tokens"
            )
        weight = min(MOST_WEIGHT, max(1, round(len(ids) / sum(learnt))))
        documents.append(np.array(ids, np.uint32))
        weights.append(np.array(learnt, np.uint8) * np.uint8(weight))
        sizes.append(size)
    return shard_of(documents, sizes, encoder.vocab_size, weights)


def _document(
    hay: Hay, encoder: Tokenizer, source: random.Random
) -> tuple[list[int], list[int], int]:
    """Ids, 1 where a token is learnt, and UTF-8 bytes; as many haystacks as fit."""
    ids, learnt, size = [encoder.end_of_text], [0], 0
    while True:
        prompt, answer = haystack(source, hay.sentences)
        asked, said = TEXT_PROMPT.format(prompt=prompt), f" {answer}\n"
        question, reply = (list(map(int, encoder.encode(text))) for text in (asked, said))
        if len(ids) + len(question) + len(reply) > hay.tokens:
            return ids, learnt, size
        ids += question + reply
        learnt += [0] * len(question) + [1] * len(reply)
        size += len(asked.encode()) + len(said.encode())
