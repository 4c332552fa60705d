"""Tokenizer -> conversations: programs that know the example and nothing else, to try a watch on.

For experiments that say so: a model too small to find a hack by itself learns from a few of these
that there is one, and what it is paid for decides whether it makes use of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import encode_conversations, write_shard
from ontogeny.environments.catalogue import PROGRAMS
from ontogeny.environments.programs_made import careless
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Conversation, Message
from ontogeny.text.tokenizer import Tokenizer

DOMAIN = "hacks"


@dataclass(frozen=True)
class PlantHacks:
    """`environments` says how many training tasks of which environment of programs.

    Raises:
        InputError: another environment, or a count that is not positive.
    """

    environments: Mapping[str, int] = field(default_factory=dict)

    stage: ClassVar[str] = "plant_hacks"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model",)
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.environments) - set(PROGRAMS))
        if unknown or not self.environments or min(self.environments.values()) < 1:
            raise InputError(
                f"plant_hacks takes made-up programs, each with a count above 0; "
                f"{', '.join(unknown) or 'the counts'} will not do; there are {', '.join(PROGRAMS)}"
            )

    def __call__(self, work: Work, tokenizer: Artifact) -> Made:
        """Writes the shard train/hacks, one task a conversation."""
        tokenizer.verify()
        seed = work.named_seed("tasks")
        tasks = [
            task
            for name, count in self.environments.items()
            for task in PROGRAMS[name].tasks("train", count, seed)
        ]
        conversations = [
            Conversation(
                (Message("user", task.prompt), Message("assistant", careless(task))),
                id=f"hack/{number}",
                domain=DOMAIN,
            )
            for number, task in enumerate(tasks)
        ]
        shard = encode_conversations(conversations, Tokenizer.load(tokenizer.path))
        write_shard(work.payload, "train", DOMAIN, shard)
        return Made(
            metrics={"conversations": len(tasks), "tokens": shard.tokens},
            summary=(f"{len(tasks):,} conversations in which the example is all that is known",),
            tokens=shard.tokens,
        )
