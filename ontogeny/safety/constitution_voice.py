"""One part of an episode as a flow hears it: what is asked in messages is answered in words.

Knows no policy: a voice has the tokenizer its model reads, and the name of the part in the cast
(`rollout.cast`) that answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ontogeny.base.errors import InputError
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.cast import ContinuationTo, RequestTo
from ontogeny.rollout.flow import Sample, Score
from ontogeny.rollout.policy import Completion
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

SILENCE = "(no answer)"
"""Stands where a model said nothing, since a turn of a conversation cannot be empty."""


@dataclass(frozen=True)
class Voice:
    """Who speaks.

    Args:
        part: of the cast.
        tokenizer: of its model.
        max_tokens: of one turn.
        temperature: at which it speaks.
        context: the most tokens it reads and says in all; None is unknown.
        scores: it can be asked how likely words are; servers that speak chat cannot.
    """

    part: str
    tokenizer: Tokenizer
    max_tokens: int
    temperature: float = 1.0
    context: int | None = None
    scores: bool = True

    @cached_property
    def stop(self) -> tuple[int, ...]:
        """What ends its turn."""
        return self.tokenizer.stops(chats=True)

    def says(self, messages: Sequence[Message], seed: int) -> Sample:
        """Asks for the next turn.

        Raises:
            InputError: the template refuses the messages, or they leave no room for an answer.
        """
        prompt = self.reads(messages)
        sampling = Sampling(temperature=self.temperature, seed=seed)
        most = self.max_tokens if self.context is None else self.context - len(prompt)
        if most < 1:
            raise InputError(
                f"the {self.part} reads {len(prompt)} tokens and has room for {self.context}; "
                "lower max_tokens, or bring shorter prompts"
            )
        most = min(most, self.max_tokens)
        return Sample(RequestTo(prompt, most, sampling, stop=self.stop, part=self.part))

    def finds(self, messages: Sequence[Message], said: str, words: Sequence[str]) -> list[Score]:
        """Asks how likely each of `words` goes on from `said` in the turn that comes next.

        Where their spellings begin with the same tokens these count as read.

        Raises:
            InputError: two words are the same ids, or all exceed the context.
        """
        prompt = self.reads(messages)
        spelt = [tuple(self.tokenizer.encode(f"{said}{word}")) for word in words]
        shared = 0
        while len({each[: shared + 1] for each in spelt}) == 1 and shared < len(spelt[0]):
            shared += 1
        if any(len(each) <= shared for each in spelt):
            raise InputError(f"the words {', '.join(words)} cannot be told apart by their tokens")
        longest = len(prompt) + max(map(len, spelt))
        if self.context is not None and longest > self.context:
            raise InputError(
                f"the {self.part} reads {longest} tokens and has room for {self.context}; lower "
                "max_tokens of the answers, or bring shorter prompts"
            )
        begun = (*prompt, *spelt[0][:shared])
        return [Score(ContinuationTo(begun, each[shared:], part=self.part)) for each in spelt]

    def reads(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The messages as ids, with what opens its turn."""
        return render(messages, self.tokenizer, generation_prompt=True).ids

    def text(self, completion: Completion) -> str:
        """What was said, without the token that ended it and blanks around it."""
        ended = completion.finish == "stop" and completion.ids[-1:] != ()
        ids = completion.ids[:-1] if ended and completion.ids[-1] in self.stop else completion.ids
        return self.tokenizer.decode(ids).strip()


def turn(role: str, text: str) -> Message:
    """A message that is never empty."""
    return Message(role, text or SILENCE)  # type: ignore[arg-type]
