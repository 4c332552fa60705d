"""Exchanges and ratings written down in a few words, for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

from ontogeny.feedback.exchange import Answer, Exchange, Rating
from ontogeny.feedback.harvest import Harvesting, Taken, harvested
from ontogeny.text.message import Message


def user(number: int) -> str:
    """The pseudonym of a user."""
    return f"{number:016x}"


class Traffic:
    """Collects what users ask and say, in order."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.ratings: list[Rating] = []
        self._numbers = count(1)

    def ask(
        self, who: str, prompt: str | Sequence[Message], *answers: str, **fields: Any
    ) -> Exchange:
        """An exchange; answers that ended by `finish` ("stop" without it)."""
        finish = fields.pop("finish", "stop")
        turns = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        made = Exchange(
            id=fields.pop("id", f"chatcmpl-{who[-4:]}-{next(self._numbers)}"),
            user=who,
            model="m",
            messages=turns,
            answers=tuple(Answer(Message("assistant", a), finish, 3) for a in answers),
            **fields,
        )
        self.exchanges.append(made)
        return made

    def rate(self, exchange: Exchange, who: str = "", **said: Any) -> Rating:
        """A rating, by who asked unless another is named."""
        key = said.pop("key", f"key-{next(self._numbers)}")
        made = Rating(key=key, exchange=exchange.id, user=who or exchange.user, **said)
        self.ratings.append(made)
        return made

    def said(self, who: str, prompt: str | Sequence[Message], *answers: str, **said: Any) -> Rating:
        """An exchange and its rating."""
        return self.rate(self.ask(who, prompt, *answers), **said)


def taken(traffic: Traffic, **rules: Any) -> Taken:
    """What a harvest takes of the traffic."""
    return harvested(traffic.exchanges, traffic.ratings, Harvesting(**rules))


def reasons(found: Taken) -> dict[str, int]:
    """How much each reason took out."""
    return dict(Counter(each.reason for each in found.removed))
