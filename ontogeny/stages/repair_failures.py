"""Tokenizer + attacks -> conversations: refusals of what worked, help under the same words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import added
from ontogeny.base.errors import InputError
from ontogeny.corpus.shards import encode_conversations, write_shard
from ontogeny.corpus.talks import write_talks
from ontogeny.run.work import Made, Work
from ontogeny.safety.archive_read import check_held, failures
from ontogeny.safety.judge_rules import RULES
from ontogeny.safety.repair import lessons
from ontogeny.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class RepairFailures:
    """Conversations to learn from: under every attack that worked, or that made the model refuse a
    benign request, `harmful` requests of its risk, refused, and `benign` ones, helped with; and
    `plain` of each label as they are. Requests are of the training split. `domain` is the name
    that a mixture calls them by.

    Attacks that an archive holds out are not read: no family or cell of theirs enters.

    Raises:
        InputError: an unknown world, archives that hold out unlike things, or nothing to learn.
    """

    world: str = "village"
    harmful: int = 6
    benign: int = 6
    plain: int = 300
    domain: str = added("chat")

    stage: ClassVar[str] = "repair_failures"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "attacks*")
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        if self.world not in RULES:
            raise InputError(f"no world {self.world!r}; worlds are {', '.join(RULES)}")
        if min(self.harmful, self.benign, self.plain) < 0:
            raise InputError("repair_failures: harmful, benign and plain are 0 or more")
        if not self.domain.isidentifier():
            raise InputError(f"domain is {self.domain!r}; use letters, digits and _")

    def __call__(self, work: Work, tokenizer: Artifact, *attacks: Artifact) -> Made:
        """Writes conversations.jsonl and the shard train/DOMAIN."""
        check_held(attacks)
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        found = lessons(
            failures(attacks),
            harmful=self.harmful,
            benign=self.benign,
            plain=self.plain,
            world=self.world,
            seed=work.named_seed("lessons"),
        )
        conversations = [
            each.conversation(number, self.domain) for number, each in enumerate(found)
        ]
        shard = encode_conversations(conversations, encoder)
        write_shard(work.payload, "train", self.domain, shard)
        write_talks(work.payload, conversations)
        assert shard.weights is not None
        refused = sum(each.request.to_refuse for each in found)
        attacked = sum(bool(each.attack.steps) for each in found)
        return Made(
            metrics={
                "conversations": len(found),
                "attacked": attacked,
                "refused": refused,
                "tokens": shard.tokens,
                "learnt": int(shard.weights.sum()),
            },
            summary=(
                f"{len(found):,} conversations, {attacked:,} of them under an attack, "
                f"{refused:,} refused; {shard.tokens:,} tokens",
            ),
            tokens=shard.tokens,
        )
