"""Exchanges and ratings in one line each."""

from typing import Any

from ontogeny.feedback.exchange import Answer, Exchange, Rating
from ontogeny.text.message import Message


def exchange(
    id_: str, user: str = "u1", said: str = "Hello", answers: int = 2, **more: Any
) -> Exchange:
    """Of so many answers."""
    told = tuple(Answer(Message("assistant", f"Answer {n}"), "stop", 3) for n in range(answers))
    asked = (Message("user", said),)
    return Exchange(id=id_, user=user, model="m" * 16, messages=asked, answers=told, **more)


def rating(id_: str, user: str = "u1", key: str = "k", **more: Any) -> Rating:
    """A good one."""
    more = more or {"score": 1.0}
    return Rating(key=key, exchange=id_, user=user, **more)
