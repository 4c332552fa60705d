"""Made-up traffic: exchanges of many people with models whose levels are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ontogeny.feedback.exchange import Answer, Arm, Exchange, Rating
from ontogeny.text.message import Message

REFUSAL, HELP = "I cannot help with that.", "Here is how it is done: first, take a spoon."


@dataclass
class Crowd:
    """People who ask and rate; everything follows from the seed and what was asked before."""

    seed: int = 0
    people: int = 50
    exchanges: list[Exchange] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = np.random.default_rng(self.seed)

    def ask(
        self,
        count: int,
        model: str,
        *,
        arm: Arm = "live",
        refused: float = 0.05,
        liked: float = 0.7,
        rated: float = 0.5,
        cut: float = 0.1,
        at: float = 1000.0,
    ) -> None:
        """So many more exchanges; of a shadow, one for each of the last live ones."""
        repeated = [each for each in self.exchanges if each.arm == "live"][-count:]
        for number in range(count):
            of = repeated[number] if arm == "shadow" else None
            user = of.user if of else f"{arm}{self.draw.integers(self.people)}"
            text = REFUSAL if self.draw.random() < refused else HELP
            finish = "length" if self.draw.random() < cut else "stop"
            id_ = f"chatcmpl-{len(self.exchanges)}"
            tokens = int(self.draw.integers(5, 60))
            self.exchanges.append(
                Exchange(
                    id=id_,
                    user=user,
                    model=model,
                    messages=(Message("user", "How?"),),
                    answers=(Answer(Message("assistant", text), finish, tokens),),
                    arm=arm,
                    of=of.id if of else "",
                    at=at,
                )
            )
            if arm != "shadow" and self.draw.random() < rated:
                score = 1.0 if self.draw.random() < liked else -1.0
                self.ratings.append(Rating(key=id_, exchange=id_, user=user, score=score, at=at))
