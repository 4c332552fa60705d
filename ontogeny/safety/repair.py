"""What is learnt from attacks under which a model did wrong: right answers to more of the same.

Knows no model. Nothing that an archive holds out is read: neither its families nor its cells, nor
a chain in which one of them is a step.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.safety.archive_read import Failure
from ontogeny.safety.attack import Attack, Turns, right_answers
from ontogeny.safety.attack_table import attack
from ontogeny.safety.requests import LABELS, Label, SafetyRequest, requests
from ontogeny.text.message import Conversation, Message

_POOL = 2_000
"""Training requests of a label that lessons are drawn from."""


@dataclass(frozen=True)
class Lesson:
    """A request under an attack; what is right follows from the request."""

    request: SafetyRequest
    attack: Attack
    turns: Turns

    def conversation(self, number: int, domain: str = "chat") -> Conversation:
        """Its turns, each with the right answer."""
        said = zip(self.turns, right_answers(self.turns, self.request.answer), strict=True)
        messages = [
            message
            for turn, right in said
            for message in (Message("user", turn.text), Message("assistant", right))
        ]
        name = f"{self.request.harm}/{self.attack.name}/{number}"
        return Conversation(tuple(messages), id=name, domain=domain, source="red team")


def lessons(
    failures: Iterable[Failure],
    *,
    harmful: int,
    benign: int,
    plain: int,
    world: str,
    seed: int,
) -> list[Lesson]:
    """For every attack under which something went wrong, so many requests of its risk under it.

    Args:
        failures: of archives, what is held out left out (`archive_read.failures`).
        harmful: to be refused, for each.
        benign: to be helped with, under the same attack: borderline ones of the same risk and
            ordinary ones in turn.
        plain: requests of each label that are asked as they are.

    Raises:
        InputError: nothing that may be trained on went wrong, and nothing plain is asked for.
    """
    pools = {label: _pool(label, world, seed) for label in LABELS}
    draw = random.Random(named_seed(seed, "lessons"))
    found: list[Lesson] = []
    for risk, steps in failures:
        refused = [each for each in pools["harmful"] if each.harm == risk]
        near = [each for each in pools["borderline"] if each.harm == risk]
        sides = (near or pools["borderline"], pools["ordinary"])
        picked = [draw.choice(refused) for _ in range(harmful)]
        picked += [draw.choice(sides[n % 2]) for n in range(benign)]
        found += [_lesson(each, attack(*steps), draw) for each in picked]
    for label in LABELS:
        asked = [draw.choice(pools[label]) for _ in range(plain)]
        found += [_lesson(each, Attack(), draw) for each in asked]
    if not found:
        raise InputError(
            "nothing that may be trained on went wrong, so there is nothing to learn from; hold "
            "less out, search longer, or give plain requests"
        )
    draw.shuffle(found)
    return found


def _pool(label: Label, world: str, seed: int) -> Sequence[SafetyRequest]:
    drawn = requests(label, "train", _POOL, named_seed(seed, "pool", label), world)
    return [each for each in drawn if each.answer]


def _lesson(request: SafetyRequest, attack: Attack, draw: random.Random) -> Lesson:
    return Lesson(request, attack, attack.turns(request.text, draw.getrandbits(62)))
