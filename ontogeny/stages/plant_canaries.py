"""Conversations -> the same with made-up secrets among them, to see what a model gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import (
    Shard,
    domains,
    encode_conversations,
    read_shard,
    shard_of,
    write_shard,
)
from ontogeny.corpus.talks import write_talks
from ontogeny.run.work import Made, Work
from ontogeny.safety.canaries import made, write_canaries
from ontogeny.text.tokenizer import Tokenizer

COUNTS = {0: 80, 1: 80, 10: 80, 100: 10}


@dataclass(frozen=True, kw_only=True)
class PlantCanaries:
    """Adds canaries (`safety.canaries`) to training conversations, as talks of a user.

    `counts` says how many are planted how often; those planted 0 times are placebos, which a
    measurement asks for and nobody learnt. They stand behind the conversations of the first domain
    of all parents together (`chat` where there are none) and are shuffled with them by whoever
    trains. What is held out passes through. A training that takes p passes sees each p times as
    often.

    Raises:
        InputError: nothing to plant, or counts that are none.
    """

    counts: Mapping[int, int] = field(default_factory=lambda: dict(COUNTS))

    stage: ClassVar[str] = "plant_canaries"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "conversations*")
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        if min(self.counts, default=-1) < 0 or min(self.counts.values(), default=0) < 0:
            raise InputError("plant_canaries: repeats and counts are 0 or more; give some")
        if not any(repeats and count for repeats, count in self.counts.items()):
            raise InputError("plant_canaries: nothing is planted; give a count for 1, 10 or 100")

    def __call__(self, work: Work, tokenizer: Artifact, *conversations: Artifact) -> Made:
        """Writes the shards of all parents with the canaries, canaries.json and their talks."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        canaries = made(self.counts, work.named_seed("canaries"))
        talks = [each.talk() for each in canaries for _ in range(each.repeats)]
        planted = encode_conversations(talks, encoder)
        known = {split: _together(conversations, split) for split in ("train", "heldout")}
        if not known["train"]:
            known["train"] = {"chat": []}
        target = next(iter(known["train"]))
        own = {domain: sum(map(len, shards)) for domain, shards in known["train"].items()}
        known["train"][target].append(planted)
        tokens = 0
        for split, by_domain in known.items():
            for domain, shards in by_domain.items():
                joined = _joined(shards, encoder.vocab_size)
                tokens += joined.tokens if split == "train" else 0
                write_shard(work.payload, split, domain, joined)
        write_canaries(work.payload, canaries, own)
        write_talks(work.payload, (each.talk() for each in canaries if each.repeats))
        share = planted.tokens / tokens
        return Made(
            metrics={
                "planted": len(talks),
                "canaries": len(canaries),
                "share": share,
                "tokens": tokens,
            },
            summary=(
                f"{len(talks):,} talks with secrets put to the {own[target]:,} of '{target}', "
                f"{share:.1%} of all tokens",
                ", ".join(
                    f"{count} planted {repeats} times"
                    for repeats, count in sorted(self.counts.items())
                ),
            ),
            tokens=tokens,
        )


def _together(conversations: Sequence[Artifact], split: str) -> dict[str, list[Shard]]:
    found: dict[str, list[Shard]] = {}
    for each in conversations:
        for domain in domains(each, split):
            found.setdefault(domain, []).append(read_shard(each, split, domain))
    return found


def _joined(shards: Sequence[Shard], vocab_size: int) -> Shard:
    """All their conversations, one shard after the other."""
    rows = [(shard, index) for shard in shards for index in range(len(shard))]
    return shard_of(
        [shard.document(index) for shard, index in rows],
        np.concatenate([shard.bytes for shard in shards]).tolist(),
        vocab_size,
        [shard.document_weights(index) for shard, index in rows],
    )
