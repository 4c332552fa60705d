"""What one exchange, or one rating, shows of how a model is doing: numbers from 0 to 1.

Knows no model and no file. A judge by rules says whether an answer refuses; it is asked of a share
of the exchanges, chosen by their ids, so that everybody chooses the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from ontogeny.environments.policy import behaviour
from ontogeny.feedback.exchange import Exchange, Rating
from ontogeny.safety.judge_rules import plain_behaviour

World = Literal["plain", "village"]
SIGNALS = ("score", "refused", "cut", "length")
"""Ratings from -1 to 1 as 0 to 1; whether it refuses; whether its end is missing; its length."""
LONGEST = 512
"""Tokens of an answer that count as length 1; longer ones do, too."""
_HEARD = ("stop", "length", "tool_calls")
_JUDGES: dict[World, Callable[[str], str]] = {
    "plain": lambda answer: plain_behaviour(answer)[0],
    "village": behaviour,
}


def judged(exchange: Exchange, share: float) -> bool:
    """Whether this exchange is of the share whose answers are judged."""
    digest = hashlib.sha256(f"judged {exchange.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def observed(exchange: Exchange, share: float, world: World = "plain") -> dict[str, float]:
    """The signals of an exchange, each the mean over its answers; nothing where none was heard out.

    Args:
        share: of exchanges that the judge is asked of; 0 asks it of none.
    """
    answers = [each for each in exchange.answers if each.finish in _HEARD]
    if not answers:
        return {}
    lengths = [min(each.tokens, LONGEST) / LONGEST for each in answers]
    found = {
        "cut": sum(each.finish == "length" for each in answers) / len(answers),
        "length": sum(lengths) / len(answers),
    }
    said = [each.message.content for each in answers if not each.message.tool_calls]
    if said and judged(exchange, share):
        labels = [_JUDGES[world](text) for text in said]
        found["refused"] = labels.count("refuse") / len(said)
    return found


def scored(rating: Rating) -> dict[str, float]:
    """The signal of a rating, if it has a score."""
    return {} if rating.score is None else {"score": (rating.score + 1) / 2}
