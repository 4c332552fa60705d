"""Episodes as rows that outlive their tokens, and as conversations of whoever is to learn.

Knows no model. What a row says of calls is data; each student reads it in its own form of calls,
under its own template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json
from ontogeny.environments.episodes import Episode
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.artifact_files import CHAT_TEMPLATE, TOKENIZER
from ontogeny.text.message import Conversation, Message, message_from_row, message_to_row
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import Speech

TRAJECTORIES, PLAYED = "trajectories.jsonl", "played.json"


@dataclass(frozen=True)
class Lesson:
    """One row of trajectories: an episode that was judged.

    Attributes:
        agent: who played.
        verified: the second verdict; None where there is none.
        untold: why there are no messages; "" where there are.
    """

    agent: str
    environment: str
    reward: float
    verified: float | None
    untold: str
    messages: tuple[Message, ...]
    trajectory: Trajectory


@dataclass(frozen=True)
class Players:
    """What `PLAYED` says of a trajectories artifact.

    Attributes:
        split: that all tasks are from.
        tools: of each environment, as a model is told of them.
        voices: agent -> `voice` of its tokenizer; "" where it is nobody's.
    """

    split: str
    tools: Mapping[str, Sequence[Mapping[str, Any]]]
    voices: Mapping[str, str]


def row(agent: str, environment: str, episode: Episode) -> str:
    """A line of `TRAJECTORIES`."""
    reward, verified = episode.judged.score, episode.verified
    return json.dumps(
        {
            "agent": agent,
            "environment": environment,
            "reward": reward,
            "verified": verified,
            "flagged": verified is not None and reward > verified,
            "untold": episode.untold,
            "messages": [message_to_row(each) for each in episode.messages],
            "trajectory": episode.trajectory.to_json(),
        },
        ensure_ascii=False,
    )


def read_lessons(trajectories: Artifact) -> Iterator[Lesson]:
    """The rows of an artifact, its file verified first.

    Raises:
        CorruptArtifact: naming the line that holds none.
    """
    path = trajectories.file(TRAJECTORIES)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                found = json.loads(line)
                yield Lesson(
                    found["agent"],
                    found["environment"],
                    float(found["reward"]),
                    None if found["verified"] is None else float(found["verified"]),
                    found["untold"],
                    tuple(message_from_row(each) for each in found["messages"]),
                    Trajectory.from_json(found["trajectory"]),
                )
            except (KeyError, TypeError, ValueError, InputError) as error:
                reason = f"no episode ({error}); play again"
                raise CorruptArtifact(reason, file=path, line=number) from None


def read_players(trajectories: Artifact) -> Players:
    """Raises CorruptArtifact where the artifact is none of `Play`'s, or of an older one."""
    path = trajectories.file(PLAYED)
    try:
        return Players(**read_json(path))
    except TypeError as error:
        raise CorruptArtifact(f"says nothing of players ({error}); play again", file=path) from None


def voice(model: Artifact) -> str:
    """What tells tokenizers apart: the digests of its vocabulary and its template."""
    files = model.record.files
    return " ".join(files[name]["sha256"] for name in (TOKENIZER, CHAT_TEMPLATE) if name in files)


def conversation(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], speech: Speech, name: str
) -> Conversation:
    """An episode as its student would have played it.

    Raises:
        InputError: the student's template refuses it.
    """
    told: list[Message] = []
    for role, group in groupby(messages, key=lambda each: each.role):
        turns = list(group)
        if role == "tool":
            told += speech.results([each.content for each in turns])
        elif role == "assistant":
            told += [speech.said(each.content, each.tool_calls) for each in turns]
        elif role == "system" and tools:
            told += [Message("system", f"{turns[0].content}\n\n{speech.told(tools)}")]
        else:
            told += turns
    return Conversation(tuple(_begun(told, speech.tokenizer)), id=name, domain="chat")


def _begun(messages: list[Message], tokenizer: Tokenizer) -> list[Message]:
    """Where the template takes no system turn, its text stands before the user's."""
    if messages[0].role != "system":
        return messages
    try:
        render([Message("system", "s"), Message("user", "a")], tokenizer)
    except InputError:
        system, user, *rest = messages
        return [Message("user", f"{system.content}\n\n{user.content}"), *rest]
    return messages
