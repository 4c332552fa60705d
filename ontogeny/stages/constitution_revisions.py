"""Model (+ critic) -> conversations: its answers, revised under principles drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_jsonl
from ontogeny.corpus.shards import encode_conversations, write_shard
from ontogeny.corpus.talks import write_talks
from ontogeny.edge.remote_config import RemoteConfig
from ontogeny.edge.remote_teacher import accounted
from ontogeny.environments.policy import Behaviour
from ontogeny.evaluate.intervals import wilson
from ontogeny.rollout.cast import Cast
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.flow import Flow
from ontogeny.rollout.journal import FileJournal
from ontogeny.rollout.policy import Policy
from ontogeny.run.work import Made, Work
from ontogeny.safety.constitution import Constitution, read_constitution, write_constitution
from ontogeny.safety.constitution_labels import CONSTITUTION
from ontogeny.safety.constitution_prompts import Prompt, check_prompts, drawn
from ontogeny.safety.constitution_voice import Voice
from ontogeny.safety.own_requests import digest
from ontogeny.safety.revision import Revised, revise
from ontogeny.text.message import Conversation, Message
from ontogeny.text.tokenizer import Tokenizer

By = Literal["rules", "words", "server"]
AUTHOR, CRITIC = "author", "critic"
SPENT = "spent.json"
"""What the server cost so far, beside the journals."""
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class UnderConstitution:
    """What revising and labelling have in common.

    `constitution` is a file, or a shipped one: "constitution" or "village"; the principles named in
    `without` are left out. `prompts` says how many
    training prompts of which set (WORLD/LABEL, as in plain/harmful) or environment, `own` adds
    files (FILE or LABEL=FILE). `by` "rules" judges by the principles' rules; "words" asks the
    second model, or the first where there is one only; "server" asks `server`, whose model is
    identity and whose limits hold for all sessions of a stage together. An answer has
    at most `max_tokens`, what critic or judge say `words`; `wave` prompts are played at once and
    kept together, `slots` of them by a model.

    Raises:
        InputError: a number or name that cannot be meant.
    """

    constitution: str = execution("constitution")
    without: tuple[str, ...] = execution(())
    prompts: Mapping[str, int] = field(default_factory=dict)
    own: tuple[str, ...] = execution(())
    by: By = "rules"
    server: RemoteConfig | None = None
    max_tokens: int = 64
    words: int = 96
    temperature: float = 1.0
    slots: int = 64
    wave: int = 64

    takes: ClassVar[tuple[str, ...]] = ("model", "model?")

    def __post_init__(self) -> None:
        check_prompts(self.prompts)
        if not self.prompts and not self.own:
            raise InputError("no prompts; give prompts (a set and a count) or own (a file)")
        if self.by not in get_args(By):
            raise InputError(f"by is '{self.by}'; give {', '.join(get_args(By))}")
        if (self.by == "server") != (self.server is not None):
            raise InputError("by 'server' needs server, and the other way round")
        if self.server is not None and not self.server.model:
            raise InputError("server needs server.model: who judged is part of what was made")
        if min(self.max_tokens, self.words, self.slots, self.wave) < 1 or self.temperature < 0:
            raise InputError(
                "max_tokens, words, slots and wave are at least 1, temperature at least 0"
            )

    def identity(self) -> dict[str, Any]:
        """What the files say, in place of where they lie."""
        return {
            "constitution": self.principles().digest(),
            "own": [digest(each) for each in self.own],
        }

    def principles(self) -> Constitution:
        """All that are judged by.

        Raises:
            InputError: the file is none, or lacks one that is left out.
        """
        return read_constitution(Path(self.constitution)).without(self.without)

    def read(self, work: Work) -> tuple[Constitution, list[Prompt]]:
        """The principles, copied into the payload, and the prompts."""
        constitution = self.principles()
        write_constitution(work.payload / CONSTITUTION, constitution)
        return constitution, drawn(self.prompts, self.own, work.named_seed("prompts"))

    @contextmanager
    def cast(
        self, work: Work, models: Sequence[Artifact]
    ) -> Iterator[tuple[Cast, Voice, Voice | None]]:
        """All policies, the author's voice, and that of whoever judges in words.

        Raises:
            InputError: a second model is given that nothing asks; see `teacher`, too.
            LimitReached: the server may not be asked for more; what it answered is kept.
        """
        first, *others = models
        if others and self.by == "rules":
            raise InputError(f"'{others[0].name}' judges nothing: by is 'rules'; leave it out")
        policy, tokenizer = bridge.load_policy(first, slots=self.slots)
        context: int = bridge.context_of(policy)
        parts: dict[str, Policy] = {AUTHOR: policy}
        author = Voice(AUTHOR, tokenizer, self.max_tokens, self.temperature, context)
        if self.server is not None:
            own = Tokenizer.load(others[0].path) if others else None
            work.checkpoints.mkdir(parents=True, exist_ok=True)
            with accounted(self.server, work.checkpoints / SPENT, own) as remote:
                parts[CRITIC] = remote
                scores = self.server.speaks == "tokens"
                voice = Voice(CRITIC, remote.tokenizer, self.words, self.temperature, None, scores)
                yield Cast(parts), author, voice
            return
        critic = None
        if self.by == "words":
            if others and others[0].id != first.id:
                policy, tokenizer = bridge.load_policy(others[0], slots=self.slots)
                context = bridge.context_of(policy)
            parts[CRITIC] = policy
            critic = Voice(CRITIC, tokenizer, self.words, self.temperature, context)
        yield Cast(parts), author, critic

    def play(self, work: Work, cast: Cast, flows: Sequence[Flow[R]]) -> list[R]:
        """All episodes, a wave at a time; each wave's answers are in a journal of its own."""
        work.checkpoints.mkdir(parents=True, exist_ok=True)
        found: list[R] = []
        for number, begin in enumerate(range(0, len(flows), self.wave)):
            work.progress(begin, len(flows), "prompts")
            journal = FileJournal(work.checkpoints / f"wave-{number:05}.jsonl")
            found += drive_all(flows[begin : begin + self.wave], cast, journal=journal)
            work.keep_clock()
        work.progress(len(flows), len(flows), "prompts")
        return found


@dataclass(frozen=True, kw_only=True)
class ConstitutionRevisions(UnderConstitution):
    """Answers prompts, and revises each answer in `rounds` rounds of critique under a principle.

    `learns` "last" makes a conversation of each last revision, "all" of every distinct one; they
    are of domain `domain`. All answers and critiques are kept in revisions.jsonl.

    Raises:
        InputError: see `UnderConstitution`, or nothing was answered.
    """

    rounds: int = 4
    learns: Literal["last", "all"] = "last"
    domain: str = "chat"

    stage: ClassVar[str] = "constitution_revisions"
    version: ClassVar[int] = 1
    makes: ClassVar[str] = "conversations"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1 or self.learns not in ("last", "all"):
            raise InputError("rounds is at least 1, learns is last or all")
        if not self.domain.isidentifier():
            raise InputError(f"domain is '{self.domain}'; use letters, digits and _")

    def __call__(self, work: Work, *models: Artifact) -> Made:
        """Writes conversations.jsonl, its shard, revisions.jsonl and constitution.json."""
        constitution, prompts = self.read(work)
        with self.cast(work, models) as (cast, author, critic):
            flows = [
                revise(
                    each,
                    constitution,
                    author,
                    critic,
                    rounds=self.rounds,
                    seed=work.named_seed("episode", each.id),
                )
                for each in prompts
            ]
            revised = self.play(work, cast, flows)
        talks = self._talks(revised)
        if not talks:
            raise InputError(f"'{models[0].name}' answered none of {len(prompts)} prompts")
        shard = encode_conversations(talks, author.tokenizer)
        write_shard(work.payload, "train", self.domain, shard)
        write_talks(work.payload, talks)
        write_jsonl(work.payload / "revisions.jsonl", (each.to_json() for each in revised))
        said = [text for each in revised for text in _spoken(each)]
        tokens = sum(map(len, author.tokenizer.encode_batch(said)))
        return Made(
            metrics={
                "prompts": len(prompts),
                "conversations": len(talks),
                "unanswered": sum(not each.answers[-1] for each in revised),
                "changed": sum(each.answers[-1] != each.first for each in revised),
                **_behaved(revised),
            },
            summary=_summary(revised, len(talks)),
            tokens=tokens,
            flops=tokens * bridge.shape_of(models[0]).forward_flops_per_token(),
        )

    def _talks(self, revised: Sequence[Revised]) -> list[Conversation]:
        found = []
        for each in revised:
            answers = each.answers[-1:] if self.learns == "last" else each.answers[1:]
            for number, answer in enumerate(dict.fromkeys(filter(None, answers))):
                turns = Message("user", each.asked.text), Message("assistant", answer)
                found.append(Conversation(turns, f"{each.asked.id}/{number}", self.domain))
        return found


def _spoken(each: Revised) -> Iterator[str]:
    """What models said, each text once in a row."""
    yield each.first
    for one in each.rounds:
        if one.kept is None:
            yield one.critique
        if one.kept is not True:
            yield one.answer


def _behaved(revised: Sequence[Revised]) -> dict[str, Any]:
    """Share of first and last answers that comply or refuse, by label, with Wilson's intervals."""
    found: dict[str, Any] = {}
    wrong: dict[str, Behaviour] = {
        "harmful": "comply",
        "borderline": "refuse",
        "ordinary": "refuse",
    }
    for label, shown in wrong.items():
        group = [each for each in revised if each.asked.label == label]
        for when, place in (("first", 0), ("last", -1)) if group else ():
            count = sum(each.asked.behaves(each.answers[place]) == shown for each in group)
            rate = wilson(count, len(group))
            values = {"estimate": rate.value, "low": rate.low, "high": rate.high}
            found[f"{label}.{shown}.{when}"] = values | {"units": len(group)}
    return found


def _summary(revised: Sequence[Revised], talks: int) -> tuple[str, ...]:
    changed = sum(each.answers[-1] != each.first for each in revised)
    rates = _behaved(revised)
    lines = [f"{len(revised):,} prompts, {changed:,} answers changed, {talks:,} conversations"]
    for name, first in rates.items():
        if name.endswith(".first"):
            last = rates[f"{name.removesuffix('.first')}.last"]
            label, shown, _ = name.split(".")
            lines.append(
                f"{label}: {shown} {first['estimate']:.1%} at first, {last['estimate']:.1%} "
                f"[{last['low']:.1%}, {last['high']:.1%}] at last, {first['units']} prompts"
            )
    return tuple(lines)
