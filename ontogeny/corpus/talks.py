"""Questions with their answers -> conversations of several turns, and their file.

Knows no model and no source of the questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ontogeny.base.files import write_jsonl
from ontogeny.corpus.shards import shard_of_rendered, write_shard
from ontogeny.text.message import Conversation, Message, message_to_row
from ontogeny.text.template import Rendered

FILE = "conversations.jsonl"


def dealt(
    said: Sequence[tuple[str, str]], turns: int, seed: int, *, name: str, domain: str
) -> list[Conversation]:
    """All (question, answer) in a new order, 1 to `turns` of them to a conversation."""
    draw = np.random.default_rng(seed)
    order = [said[place] for place in draw.permutation(len(said))]
    talks: list[Conversation] = []
    while order:
        size = int(draw.integers(1, turns + 1))
        part, order = order[:size], order[size:]
        messages = [
            message
            for asked, answer in part
            for message in (Message("user", asked), Message("assistant", answer))
        ]
        talks.append(Conversation(tuple(messages), id=f"{name}/{len(talks)}", domain=domain))
    return talks


def write_talks(directory: Path, talks: Iterable[Conversation]) -> None:
    """Writes `FILE`: id and messages of each."""
    write_jsonl(
        directory / FILE,
        (
            {"id": each.id, "messages": [message_to_row(message) for message in each.messages]}
            for each in talks
        ),
    )


def write_sides(
    directory: Path,
    sides: Mapping[str, Mapping[str, Sequence[tuple[str, Conversation]]]],
    rendered: Mapping[str, Rendered],
    vocab_size: int,
) -> tuple[dict[str, int], int, int]:
    """Writes SPLIT/DOMAIN.jsonl for people and the shards beside it.

    Args:
        sides: domain -> split -> named conversations.
        rendered: their ids and weights by name.

    Returns:
        How many are in which split, the tokens to train on, and how many of them are learnt.
    """
    kept, learnt, tokens = {"train": 0, "heldout": 0}, 0, 0
    for domain, by_split in sides.items():
        for split, side in by_split.items():
            kept[split] += len(side)
            encoded = [rendered[name] for name, _ in side]
            shard = shard_of_rendered([each for _, each in side], encoded, vocab_size)
            write_shard(directory, split, domain, shard)
            rows = (
                {"id": name, "messages": [message_to_row(message) for message in each.messages]}
                for name, each in side
            )
            write_jsonl(directory / split / f"{domain}.jsonl", rows)
            if split == "train":
                learnt += sum(int(weight) for each in encoded for weight in each.weights)
                tokens += shard.tokens
    return kept, tokens, learnt
