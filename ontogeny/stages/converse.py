"""Tokenizer (+ own tasks) -> conversations: tasks as turns of user and assistant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import encode_conversations, write_shard
from ontogeny.corpus.talks import dealt, write_talks
from ontogeny.environments.own import check_counts, environments_of
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Converse:
    """`environments` says how many training tasks of which environment are talked about.

    A conversation holds 1 to `turns` tasks, drawn at random from all environments.

    Raises:
        InputError: an unknown environment, or a count that is not positive.
    """

    environments: Mapping[str, int] = field(default_factory=dict)
    turns: int = 3

    stage: ClassVar[str] = "converse"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "tasks*")
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        check_counts(self.environments, "converse")
        if self.turns < 1:
            raise InputError(f"turns is {self.turns}; give at least 1")

    def __call__(self, work: Work, tokenizer: Artifact, *own: Artifact) -> Made:
        """Writes conversations.jsonl and the shard train/chat."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        seed = work.named_seed("tasks")
        worlds = environments_of(self.environments, own)
        tasks = [
            task
            for name, count in self.environments.items()
            for task in worlds[name].tasks("train", count, seed)
        ]
        said = [(task.prompt, task.answer) for task in tasks]
        conversations = dealt(
            said, self.turns, work.named_seed("order"), name="talk", domain="chat"
        )
        work.progress(0, 1, "shards")
        shard = encode_conversations(conversations, encoder)
        write_shard(work.payload, "train", "chat", shard)
        write_talks(work.payload, conversations)
        work.progress(1, 1, "shards")
        assert shard.weights is not None
        learnt = int(shard.weights.sum())
        return Made(
            metrics={"conversations": len(conversations), "tokens": shard.tokens, "learnt": learnt},
            summary=(
                f"{len(conversations):,} conversations about {len(tasks):,} tasks, "
                f"{shard.tokens:,} tokens, of which {learnt:,} are the assistant's",
            ),
            tokens=shard.tokens,
        )
