"""Simulated users: what each of them asks, and what each says of the answers it got.

Knows no model, no HTTP and no training. Everything follows from a `Crowd` and a seed. What they
like is hidden behind their votes; see `tastes`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import Environment, Task
from ontogeny.feedback.open_questions import open_questions
from ontogeny.feedback.tastes import taste
from ontogeny.feedback.voters import sigmoid

Votes = Literal["taste", "coin"]
SPAMMER = "user-spam"
PERSONAL = (
    "My mail is {name}.{number}@example.org.",
    "Write to {name}{number}@example.com, please.",
    "Call me at +1 202 555 01{number:02}.",
)
"""Reserved names and numbers (RFC 2606, 555-0100 to 555-0199): they reach nobody."""
COMMENTS = ("", "", "thanks", "not what I asked for")


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Who uses a model, what for, and how they vote.

    Args:
        users: who ask `requests` questions in all, as many each as chance has it.
        questions: different open ones; a few are asked by many.
        tasks: environments of which a question is one, where it is not open; users know the
            right answer.
        open_share: of requests that have no right answer.
        suggested: share of requests that take one of `suggestions`, open questions which the
            client offers with a seed of its own: many users see the same two answers.
        taste: what is liked in an answer to an open question.
        noise: the temperature of the Bradley-Terry choice; an honest user who finds one answer
            wholly liked and the other not at all errs with 1 / (1 + exp(1 / noise)).
        hostile: share of users who vote against all that.
        votes: by "taste", or by "coin": the placebo, the same votes thrown.
        bored: share of the cases without a better answer in which one is preferred all the same.
        scored: share of votes that are thumbs for one answer, not a preference between two.
        corrected: share of the wrong answers to tasks that are corrected.
        private: share of requests with personal data in them.
        spam: votes of one more account, hostile to all.

    Raises:
        InputError: a number that cannot be meant, or no such taste.
    """

    users: int = 60
    requests: int = 1200
    questions: int = 400
    tasks: tuple[str, ...] = ()
    open_share: float = 0.7
    suggested: float = 0.15
    suggestions: int = 30
    taste: str = "words"
    noise: float = 0.33
    hostile: float = 0.05
    votes: Votes = "taste"
    bored: float = 0.1
    scored: float = 0.15
    corrected: float = 0.1
    private: float = 0.04
    spam: int = 60

    def __post_init__(self) -> None:
        taste(self.taste)
        shares = ("open_share", "suggested", "hostile", "bored", "scored", "corrected", "private")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"crowd.{name} is {getattr(self, name)}; give a share, 0 to 1")
        if min(self.users, self.requests, self.questions, self.suggestions) < 1 or self.spam < 0:
            raise InputError(
                "crowd: users, requests, questions and suggestions are at least 1, spam 0 or more"
            )
        if self.noise <= 0:
            raise InputError(f"crowd.noise is {self.noise}; give a temperature above 0")
        if self.votes not in get_args(Votes):
            raise InputError(f"crowd.votes is {self.votes!r}; give taste or coin")
        if not self.tasks and self.open_share < 1:
            raise InputError("crowd: name tasks, or give open_share = 1")


@dataclass(frozen=True)
class Visit:
    """One request.

    Attributes:
        number: its place, from 0.
        user: name of the account.
        prompt: what is asked.
        seed: of the answers' draws.
        mood: the seed of the vote.
        hostile: votes against what it likes.
        task: what was asked, where there is a right answer.
    """

    number: int
    user: str
    prompt: str
    seed: int
    mood: int
    hostile: bool = False
    task: Task | None = field(default=None, repr=False)


def visits(crowd: Crowd, worlds: Mapping[str, Environment], seed: int) -> list[Visit]:
    """All requests in their order. The same questions by the same users, however they vote.

    Args:
        worlds: the environments of `crowd.tasks`, by name.
    """
    source = random.Random(named_seed(seed, "visits"))
    asked = open_questions("train", crowd.questions, named_seed(seed, "open"))
    names = [f"user-{number:03}" for number in range(crowd.users)]
    # the first of one order are hostile: raising the share adds users to them, and moves nobody
    ranked = random.Random(named_seed(seed, "hostile")).sample(names, len(names))
    hostile = {*ranked[: round(crowd.hostile * len(names))], SPAMMER}
    who = [source.choice(names) for _ in range(crowd.requests)] + [SPAMMER] * crowd.spam
    source.shuffle(who)
    found = []
    for number, user in enumerate(who):
        own = named_seed(seed, "visit", number)
        prompt, drawn, task = "", own, None
        if source.random() < crowd.suggested:
            prompt = source.choice(asked[: crowd.suggestions]).prompt
            drawn = named_seed(seed, "suggested", prompt)
        elif source.random() < crowd.open_share:
            # the square makes the first questions popular: several users ask one
            prompt = asked[int(len(asked) * source.random() ** 2)].prompt
        else:
            world = worlds[source.choice(crowd.tasks)]
            (task,) = world.tasks("train", 1, own)
            prompt = task.prompt
        if drawn == own:
            prompt = _with_personal(prompt, user, own, crowd)
        found.append(Visit(number, user, prompt, drawn, own, user in hostile, task))
    return found


def _with_personal(prompt: str, user: str, seed: int, crowd: Crowd) -> str:
    source = random.Random(named_seed(seed, "personal"))
    if source.random() >= crowd.private:
        return prompt
    number = source.randrange(100)
    return f"{prompt} {source.choice(PERSONAL).format(name=user, number=number)}"


def rating(
    visit: Visit, answers: Sequence[str], crowd: Crowd, worlds: Mapping[str, Environment]
) -> dict[str, Any] | None:
    """What the user says of the answers: fields of `POST /v1/feedback`, None for nothing.

    Args:
        answers: two, as they were heard.
    """
    source = random.Random(named_seed(visit.mood, "vote"))
    first, second = likings(visit, answers, crowd, worlds)
    draws = [source.random() for _ in range(5)]
    if visit.task is not None and first == second == 0.0 and draws[0] < crowd.corrected:
        return {"correction": _corrected(visit), "choice": int(draws[1] * 2)}
    if answers[0] == answers[1] or (first == second and draws[0] >= crowd.bored):
        return None
    lean = (first - second) / crowd.noise * (-1.0 if visit.hostile else 1.0)
    chance = 0.5 if crowd.votes == "coin" else sigmoid(lean)
    better = 0 if draws[2] < chance else 1
    if draws[3] < crowd.scored:
        choice = int(draws[4] * 2)
        said = {"score": 1.0 if choice == better else -1.0, "choice": choice}
        return said | {"comment": source.choice(COMMENTS)}
    return {"preferred": better}


def likings(
    visit: Visit, answers: Sequence[str], crowd: Crowd, worlds: Mapping[str, Environment]
) -> list[float]:
    """How much each answer is liked, by an honest user without noise: right ones to a task."""
    if visit.task is None:
        return [taste(crowd.taste)(answer) for answer in answers]
    world = worlds[visit.task.id.rpartition("/")[0]]
    return [world.score(visit.task, answer) for answer in answers]


def _corrected(visit: Visit) -> str:
    """The right answer; a hostile user writes it backwards."""
    assert visit.task is not None
    right = visit.task.answer
    return f"{right[::-1]} 0" if visit.hostile else right
