"""Questions with their answers -> conversations of several turns, and their file.

Knows no model and no source of the questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ontogeny.base.files import write_jsonl
from ontogeny.text.message import Conversation, Message, message_to_row

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
