"""Items -> token ids -> what a policy answers, logged chunk by chunk so that a killed run goes on.

Knows no model. A context and its continuation are cut as lm_eval's HFLM cuts them: the two are
encoded together, and the continuation is what lies behind as many ids as the context has alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from ontogeny.base.errors import InputError
from ontogeny.rollout.journal import Journal
from ontogeny.rollout.policy import Continuation, Policy, Request, sample_all, score_all
from ontogeny.text.tokenizer import Tokenizer

CHUNK_TOKENS = 4096
"""Tokens to read between two entries of the log."""
CHUNK_ANSWERS = 32
"""Answers sampled between two entries of the log."""
Ids = tuple[int, ...]
Asked = TypeVar("Asked", Continuation, Request)


@dataclass(frozen=True, slots=True)
class Scored:
    """log-probability of a continuation in nats, and whether greedy decoding would say it."""

    log_prob: float
    greedy: bool


def first_id(tokenizer: Tokenizer) -> int:
    """What stands before a text that has nothing before it: bos where there is one, else eos."""
    named = tokenizer.vocabulary.named
    name = named.get("bos_token", named.get("eos_token"))
    return tokenizer.end_of_text if name is None else tokenizer.specials[name]


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text from its beginning, behind bos where the tokenizer puts one."""
    before = [tokenizer.begin] if tokenizer.vocabulary.begins else []
    return before + tokenizer.encode(text)


def pair(tokenizer: Tokenizer, context: str, target: str) -> tuple[list[int], list[int]]:
    """Ids of a context, at least one, and of `target` behind it.

    Raises:
        InputError: the target has no token of its own.
    """
    bare = context.rstrip()
    if bare:
        before = encoded(tokenizer, bare)
        behind = encoded(tokenizer, context + target)[len(before) :]
    else:
        before, behind = [first_id(tokenizer)], tokenizer.encode(context + target)
    if not behind:
        raise InputError("a choice has no token of its own behind its question")
    return before, behind


@dataclass
class Room:
    """What fits the context of a model: `longest` tokens."""

    longest: int
    _cut: set[int] = field(default_factory=set, repr=False)

    @property
    def cut(self) -> int:
        """How many prompts had to lose their front, one with several choices counted once."""
        return len(self._cut)

    def continuation(self, before: Sequence[int], behind: Sequence[int]) -> Continuation:
        """`behind` after as much of the end of `before` as fits.

        Raises:
            InputError: `behind` alone exceeds the context.
        """
        if len(behind) > self.longest:
            told = f"a choice is {len(behind)} tokens, the model's context {self.longest}"
            raise InputError(f"{told}; leave that question out")
        room = self.longest + 1 - len(behind)  # the last token is predicted, never read
        return Continuation(self._end(before, room), tuple(behind))

    def prompt(self, ids: Sequence[int], most: int) -> Ids:
        """As much of the end of `ids` as leaves `most` tokens for an answer.

        Raises:
            InputError: nothing does.
        """
        room = self.longest - most
        if room < 1:
            raise InputError(
                f"{most} tokens of answer leave nothing of the model's context of "
                f"{self.longest}; lower max_tokens"
            )
        return self._end(ids, room)

    def _end(self, ids: Sequence[int], room: int) -> Ids:
        if len(ids) > room:
            self._cut.add(hash(tuple(ids)))
        return tuple(ids[-room:])


def text_until(tokenizer: Tokenizer, ids: Sequence[int], until: Sequence[str]) -> str:
    """The text of an answer before the first of `until` in it."""
    text = tokenizer.decode(ids)
    for end in until:
        text = text.partition(end)[0]
    return text


class Answers:
    """Asks a policy, chunk by chunk, and logs every chunk; what the log holds is not asked again.

    A chunk follows from the questions alone, so an interrupted run asks the policy for the same
    batches as an undisturbed one.

    Args:
        policy: answers what the log does not hold.
        journal: of this very measurement; a list, or a file that survives a kill.
        told: called with (answers so far, answers asked for so far) at first and after
            each chunk.

    Attributes:
        tokens: read and sampled, a prompt that several continuations share counted once.
    """

    def __init__(
        self,
        policy: Policy,
        journal: Journal | None = None,
        told: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.policy = policy
        self.journal: Journal = [] if journal is None else journal
        self.told = told
        self.tokens = self._done = self._asked = 0
        self._logged = iter(list(self.journal))

    def score(self, asked: Sequence[Continuation]) -> list[Scored]:
        """How likely each continuation is, in order; those of one prompt stand together."""
        self._begin(len(asked))
        found: list[Scored] = []
        for chunk in _scoring(asked):
            self.tokens += _read(chunk)
            rows = self._logged_or(chunk, self._score)
            found += [Scored(float(total), bool(greedy)) for total, greedy in rows]
        return found

    def sample(self, asked: Sequence[Request]) -> list[Ids]:
        """The ids of each answer, in order."""
        self._begin(len(asked))
        found: list[Ids] = []
        for start in range(0, len(asked), CHUNK_ANSWERS):
            chunk = asked[start : start + CHUNK_ANSWERS]
            rows = self._logged_or(chunk, self._sample)
            self.tokens += sum(len(each.prompt) for each in chunk) + sum(map(len, rows))
            found += [tuple(map(int, ids)) for ids in rows]
        return found

    def _begin(self, count: int) -> None:
        self._asked += count
        if count:
            self.told(self._done, self._asked)

    def _score(self, chunk: Sequence[Continuation]) -> list[list[Any]]:
        said = score_all(self.policy, chunk)
        return [[each.total(), all(each.greedy)] for each in said]

    def _sample(self, chunk: Sequence[Request]) -> list[list[Any]]:
        return [list(each.ids) for each in sample_all(self.policy, chunk)]

    def _logged_or(
        self, chunk: Sequence[Asked], ask: Callable[[Sequence[Asked]], list[list[Any]]]
    ) -> list[list[Any]]:
        digest = _digest(chunk)
        record = next(self._logged, None)
        if record is None:
            record = {"asked": digest, "answers": ask(chunk)}
            self.journal.append(record)
        elif record.get("asked") != digest:
            raise InputError(
                "the log of this half-finished evaluation was written by other code; "
                "`ontogeny clean` takes it away"
            )
        self._done += len(chunk)
        self.told(self._done, self._asked)
        answers: list[list[Any]] = record["answers"]
        return answers


def _scoring(asked: Sequence[Continuation]) -> Iterator[list[Continuation]]:
    """Chunks of about `CHUNK_TOKENS`; what shares a prompt shares a chunk."""
    chunk: list[Continuation] = []
    held = 0
    for each in asked:
        fresh = not chunk or chunk[-1].prompt != each.prompt
        if fresh and held >= CHUNK_TOKENS:
            yield chunk
            chunk, held = [], 0
        held += len(each.prompt) * fresh + len(each.target)
        chunk.append(each)
    if chunk:
        yield chunk


def _read(chunk: Sequence[Continuation]) -> int:
    before: Ids = ()
    count = 0
    for each in chunk:
        count += len(each.target) + (len(each.prompt) if each.prompt != before else 0)
        before = each.prompt
    return count


def _digest(chunk: Sequence[Asked]) -> str:
    asked = json.dumps([asdict(each) for each in chunk], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]
