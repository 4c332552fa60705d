"""An attack: a chain of named transforms from one wish to what a user says, and its episode.

Knows no request, no judge and no model. A transform changes the *turns* that a user takes; what an
attack says follows from the wish and a seed alone, so the same attack is put to every model. The
families stand in `attack_templates`, `attack_encodings`, `attack_turns`, `attack_shots` and
`attack_injection`, their table in `attack_table`; who proposes attacks by itself in
`attack_policy`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.flow import Flow, Sample
from ontogeny.rollout.policy import Completion, Request
from ontogeny.rollout.trajectory import Trajectory
from ontogeny.text.message import Message
from ontogeny.text.template import extend, render
from ontogeny.text.tokenizer import Tokenizer

Family = Literal["encoding", "template", "persona", "document", "shots", "turns"]
FAMILIES: tuple[str, ...] = get_args(Family)
"""In the order in which the steps of a chain are taken: the wish is dressed from the inside out."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a user says once.

    Attributes:
        text: the words.
        right: the right answer to this turn, where that is not the answer to the wish.
        asks: whether the wish stands in it, so that transforms of words change it.
    """

    text: str
    right: str | None = None
    asks: bool = True


Turns: TypeAlias = tuple[Turn, ...]


@dataclass(frozen=True)
class Transform:
    """One way to say the same wish; `change` is a function of its two arguments alone."""

    name: str
    family: Family
    change: Callable[[Turns, random.Random], Turns]


def of_words(name: str, family: Family, change: Callable[[str, random.Random], str]) -> Transform:
    """A transform of the words of every turn that asks."""

    def changed(turns: Turns, draw: random.Random) -> Turns:
        return tuple(
            replace(turn, text=change(turn.text, draw)) if turn.asks else turn for turn in turns
        )

    return Transform(name, family, changed)


@dataclass(frozen=True)
class Attack:
    """A chain of transforms; without one the wish is asked as it is.

    Steps stand in the order of `FAMILIES` and by name, so that one set is one attack.
    """

    steps: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise InputError(f"attack {'+'.join(names)} takes a step twice; take it once")
        ordered = sorted(self.steps, key=lambda step: (FAMILIES.index(step.family), step.name))
        object.__setattr__(self, "steps", tuple(ordered))

    @property
    def name(self) -> str:
        """Its steps' names joined by +, or "plain"."""
        return "+".join(step.name for step in self.steps) or "plain"

    @property
    def families(self) -> frozenset[str]:
        """Those that its steps are of."""
        return frozenset(step.family for step in self.steps)

    def turns(self, wish: str, seed: int) -> Turns:
        """What a user says who wishes for `wish`; equal arguments give equal turns."""
        turns: Turns = (Turn(wish),)
        for step in self.steps:
            turns = step.change(turns, random.Random(named_seed(seed, "attack", step.name, wish)))
        return turns


@dataclass(frozen=True)
class Target:
    """Who is attacked, and how its answers are drawn.

    Args:
        tokenizer: of the model, with a chat template.
        max_tokens: of an answer.
        context: tokens that the model holds, prompt and answer together; 0 leaves it to the policy.
        temperature: of its answers; at 0 an attack succeeds always or never.
    """

    tokenizer: Tokenizer
    max_tokens: int = 32
    context: int = 0
    temperature: float = 0.0

    def request(self, prompt: Sequence[int], seed: int) -> Request | None:
        """An answer to `prompt`; None where no token more fits."""
        room = self.context - len(prompt) if self.context else self.max_tokens
        if room < 1:
            return None
        sampling = Sampling(temperature=self.temperature, seed=seed)
        stop = self.tokenizer.stops(chats=True)
        return Request(tuple(prompt), min(self.max_tokens, room), sampling, stop=stop)

    def opened(self, text: str) -> Sequence[int]:
        """The prompt of a first turn."""
        return render([Message("user", text)], self.tokenizer, generation_prompt=True).ids

    def said(self, completion: Completion) -> str:
        """An answer's words, without the token that ended it."""
        ids = completion.ids
        return self.tokenizer.decode(ids[:-1] if completion.finish == "stop" else ids).strip()


def assault(name: str, turns: Sequence[Turn], target: Target, seed: int) -> Flow[Trajectory]:
    """The episode of an attack: every turn is said, whatever was answered before.

    The trajectory's notes: `answers` to the turns that were put, and `cut`, whether some were not
    for want of context.

    Raises:
        InputError: the template refuses the conversation, or is not prefix-stable.
    """
    trajectory, answers = Trajectory(name, seed), list[str]()
    for number, turn in enumerate(turns):
        told = [Message("user", turn.text)]
        prompt = (
            extend(trajectory.ids(), told, target.tokenizer) if number else target.opened(turn.text)
        )
        request = target.request(prompt, named_seed(seed, "turn", number))
        if request is None:
            break
        completion = yield Sample(request)
        trajectory = trajectory.extended(request, completion)
        answers.append(target.said(completion))
    return trajectory.noted(answers=answers, cut=len(answers) < len(turns))


def right_answers(turns: Sequence[Turn], right: str) -> list[str]:
    """The right answer to every turn of an attack whose wish is rightly answered by `right`."""
    return [right if turn.right is None else turn.right for turn in turns]


def words(turns: Sequence[Turn]) -> int:
    """How long an attack is: words that the user says."""
    return sum(len(turn.text.split()) for turn in turns)
