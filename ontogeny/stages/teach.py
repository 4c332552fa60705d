"""Trajectories + a student's tokenizer -> conversations: what was verified, as it speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.corpus.shards import shard_of_rendered, write_shard
from ontogeny.corpus.talks import write_talks
from ontogeny.environments.lessons import (
    Lesson,
    Players,
    conversation,
    read_lessons,
    read_players,
    voice,
)
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Conversation
from ontogeny.text.template import Rendered, render
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import Speech, speech

DROPPED = "dropped.json"


@dataclass(frozen=True, kw_only=True)
class Teach:
    """Keeps episodes of `agents` (all, where none is named) with a reward of at least `least`.

    Where an environment tells a second verdict, it has to be 1 (`verified`). With `clean` an
    episode in which a call failed is left out, with `most_tokens` (0: without limit) a long one.
    Equal conversations are kept once. What is left out is counted by its reason.

    Loss is taken on what the assistant says, calls included. Where the teacher had the student's
    own tokenizer and template, its tokens are kept as sampled; otherwise messages are rendered
    anew: text as text, calls and results in the student's form.

    Raises:
        InputError: the trajectories are of tasks that nothing may be trained on, an agent did not
            play, or nothing is left.
    """

    agents: tuple[str, ...] = ()
    least: float = 1.0
    verified: bool = True
    clean: bool = False
    most_tokens: int = 0

    stage: ClassVar[str] = "teach"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "trajectories+")
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        if not 0.0 < self.least <= 1.0:
            raise InputError(f"least is {self.least}; rewards are above 0 and at most 1")
        if self.most_tokens < 0:
            raise InputError(f"most_tokens is {self.most_tokens}; give 0 or more")

    def __call__(self, work: Work, student: Artifact, *trajectories: Artifact) -> Made:
        """Writes conversations.jsonl, the shard train/chat and dropped.json."""
        student.verify()
        spoken, heard = speech(Tokenizer.load(student.path)), voice(student)
        dropped: Counter[str] = Counter()
        kept: dict[tuple[int, ...], tuple[Conversation, Rendered]] = {}
        for lesson, players in self._lessons(trajectories):
            if reason := self._unfit(lesson):
                dropped[reason] += 1
                continue
            name = f"{lesson.trajectory.task}/{lesson.agent}"
            talk = conversation(lesson.messages, players.tools[lesson.environment], spoken, name)
            rendered = _rendered(lesson, talk, spoken, same=players.voices[lesson.agent] == heard)
            if self.most_tokens and len(rendered.ids) > self.most_tokens:
                dropped["longer than most_tokens"] += 1
            elif rendered.ids in kept:
                dropped["said before"] += 1
            else:
                kept[rendered.ids] = (talk, rendered)
        if not kept:
            raise InputError(
                f"no episode is left to learn from ({_told(dropped) or 'none played'})"
            )
        self._write(work, list(kept.values()), spoken.tokenizer, dropped)
        tokens = sum(map(len, kept))
        learnt = sum(int(sum(each.weights)) for _, each in kept.values())
        counts = {f"dropped.{name}": count for name, count in sorted(dropped.items())}
        return Made(
            metrics={"conversations": len(kept), "tokens": tokens, "learnt": learnt, **counts},
            summary=(
                f"{len(kept):,} episodes of {len(kept) + dropped.total():,}, {tokens:,} tokens, "
                f"of which {learnt:,} are the assistant's",
                *([f"left out: {_told(dropped)}"] if dropped else []),
            ),
            tokens=tokens,
        )

    def _lessons(self, trajectories: Sequence[Artifact]) -> Iterator[tuple[Lesson, Players]]:
        for artifact in trajectories:
            players = read_players(artifact)
            if players.split != "train":
                raise InputError(
                    f"'{artifact.name}' played tasks of the split {players.split}, and nothing is "
                    "trained on those; play tasks of the split train",
                    file=artifact.path,
                )
            for name in self.agents:
                if name not in players.voices:
                    known = ", ".join(players.voices)
                    raise InputError(f"'{artifact.name}': no {name!r} played; {known} did")
            for lesson in read_lessons(artifact):
                if not self.agents or lesson.agent in self.agents:
                    yield lesson, players

    def _unfit(self, lesson: Lesson) -> str:
        """Why an episode is left out, or nothing."""
        if lesson.reward < self.least:
            return "not solved"
        if self.verified and lesson.verified is not None and lesson.verified < 1.0:
            return "rewarded and not verified"
        if lesson.untold:
            return lesson.untold
        failed = any(not each["ok"] for each in lesson.trajectory.notes.get("calls", ()))
        return "a call failed" if self.clean and failed else ""

    @staticmethod
    def _write(
        work: Work,
        kept: Sequence[tuple[Conversation, Rendered]],
        tokenizer: Tokenizer,
        dropped: Counter[str],
    ) -> None:
        talks = [talk for talk, _ in kept]
        shard = shard_of_rendered(talks, [each for _, each in kept], tokenizer.vocab_size)
        write_shard(work.payload, "train", "chat", shard)
        write_talks(work.payload, talks)
        write_json(work.payload / DROPPED, dict(sorted(dropped.items())))


def _rendered(lesson: Lesson, talk: Conversation, spoken: Speech, *, same: bool) -> Rendered:
    """Ids and weights: as sampled where the teacher spoke as the student does."""
    if not same:
        return render(talk, spoken.tokenizer)
    weights = tuple(map(float, lesson.trajectory.sampled()))
    return Rendered(lesson.trajectory.ids(), weights)


def _told(dropped: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
