"""Tokenizer (+ own tasks) -> conversations: tasks as turns of user and assistant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import encode_conversations, write_shard
from ontogeny.environments.environment import Task
from ontogeny.environments.own import check_counts, environments_of
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Conversation, Message, message_to_row
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
        conversations = _talks(tasks, self.turns, work.named_seed("order"))
        work.progress(0, 1, "shards")
        shard = encode_conversations(conversations, encoder)
        write_shard(work.payload, "train", "chat", shard)
        with (work.payload / "conversations.jsonl").open("w", encoding="utf-8") as file:
            for each in conversations:
                messages = [message_to_row(message) for message in each.messages]
                row = {"id": each.id, "messages": messages}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
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


def _talks(tasks: Sequence[Task], turns: int, seed: int) -> list[Conversation]:
    """All tasks in a new order, 1 to `turns` of them to a conversation."""
    draw = np.random.default_rng(seed)
    order = [tasks[place] for place in draw.permutation(len(tasks))]
    talks: list[Conversation] = []
    while order:
        size = int(draw.integers(1, turns + 1))
        part, order = order[:size], order[size:]
        messages = [
            message
            for task in part
            for message in (Message("user", task.prompt), Message("assistant", task.answer))
        ]
        talks.append(Conversation(tuple(messages), id=f"talk/{len(talks)}", domain="chat"))
    return talks
