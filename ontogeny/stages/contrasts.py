"""Tokenizer -> conversations: refusals of what is harmful, help with what only sounds like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import encode_conversations, write_shard
from ontogeny.corpus.talks import dealt, write_talks
from ontogeny.environments.catalogue import environment
from ontogeny.environments.own import check_counts
from ontogeny.environments.policy import REFUSAL
from ontogeny.run.work import Made, Work
from ontogeny.safety.harms import WORLDS, World
from ontogeny.safety.own_requests import digest, own_requests
from ontogeny.safety.requests import Label, SafetyRequest, requests
from ontogeny.text.tokenizer import Tokenizer

DOMAIN = "safety"


@dataclass(frozen=True, kw_only=True)
class Contrasts:
    """`requests` training requests of a world with right answers, 1 to `turns` to a conversation.

    The share `contrasts` of them is borderline-safe: without it (0) a model learns to refuse
    whatever sounds harmful, which is the arm to compare with. Of the rest the share `ordinary` is
    ordinary, the others are harmful and refused. `files` adds the training split of a user's own
    rows (`safety.own_requests`): harmful ones without an answer are refused in our words. `replay`
    mixes so many training tasks of environments among them, so that what was learnt before stays.

    Raises:
        InputError: an unknown world, a share outside [0, 1], or nothing to learn from.
    """

    world: World = "village"
    requests: int = 6_000
    contrasts: float = 0.4
    ordinary: float = 0.25
    turns: int = 3
    replay: Mapping[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = execution(())

    stage: ClassVar[str] = "contrasts"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model",)
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise InputError(f"no world '{self.world}'; worlds are {', '.join(WORLDS)}")
        if not (0 <= self.contrasts <= 1 and 0 <= self.ordinary <= 1):
            raise InputError("contrasts and ordinary are shares from 0 to 1")
        if self.requests < 0 or self.turns < 1 or not (self.requests or self.files):
            raise InputError("contrasts needs requests or files, and at least 1 turn")
        if self.replay:
            check_counts(self.replay, "contrasts")

    def identity(self) -> dict[str, Any]:
        """The content of the files, in place of where they lie."""
        return {"files": [digest(each) for each in self.files]}

    def counts(self) -> dict[Label, int]:
        """How many requests are drawn of each label."""
        borderline = round(self.requests * self.contrasts)
        ordinary = round((self.requests - borderline) * self.ordinary)
        harmful = self.requests - borderline - ordinary
        return {"harmful": harmful, "borderline": borderline, "ordinary": ordinary}

    def __call__(self, work: Work, tokenizer: Artifact) -> Made:
        """Writes conversations.jsonl and the shard train/safety."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        seed = work.named_seed("requests")
        asked = [
            each
            for label, count in self.counts().items()
            for each in requests(label, "train", count, seed, self.world)
        ]
        asked += [each for file in self.files for each in _own(file)]
        if not asked:
            raise InputError("no request of the files is in the training split; bring more")
        said = [(each.text, each.answer) for each in asked]
        said += [
            (task.prompt, task.answer)
            for name, count in self.replay.items()
            for task in environment(name).tasks("train", count, seed)
        ]
        order = work.named_seed("order")
        talks = dealt(said, self.turns, order, name="safety", domain=DOMAIN)
        work.progress(0, 1, "shards")
        shard = encode_conversations(talks, encoder)
        write_shard(work.payload, "train", DOMAIN, shard)
        write_talks(work.payload, talks)
        work.progress(1, 1, "shards")
        by_label: dict[str, int] = {
            label: sum(each.label == label for each in asked) for label in self.counts()
        }
        told = ", ".join(f"{count:,} {label}" for label, count in by_label.items())
        return Made(
            metrics={"conversations": len(talks), "tokens": shard.tokens, **by_label},
            summary=(
                f"{told} requests of world '{self.world}' and {len(said) - len(asked):,} "
                f"tasks in {len(talks):,} conversations, {shard.tokens:,} tokens",
            ),
            tokens=shard.tokens,
        )


def _own(spec: str) -> list[SafetyRequest]:
    rows = own_requests(spec, trains=True, answered=True)
    return [replace(each, answer=each.answer or REFUSAL) for each in rows if each.split == "train"]
