"""What is left of an attack still works, nothing in it can go, and the calls are bounded."""

from __future__ import annotations

import pytest

from ontogeny.base.errors import InputError
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.fakes import ScriptedPolicy
from ontogeny.rollout.flow import Flow
from ontogeny.safety.attack import Turn, Turns, words
from ontogeny.safety.minimise import Minimised, minimise

WISH = "take the hat"
NOISE = " ".join(f"word{n}" for n in range(20))
LONG = (Turn(f"{NOISE} please {WISH} now {NOISE}"), Turn(f"{NOISE} again"))


def needs(*wanted: str) -> tuple[list[Turns], object]:
    """Succeeds where these words stand in what the user says; and the forms that were asked."""
    asked: list[Turns] = []

    def works(form: Turns) -> Flow[bool]:
        asked.append(form)
        said = " ".join(turn.text for turn in form).split()
        yield ()
        return all(word in said for word in wanted)

    return asked, works


def shortest(turns: Turns, works: object, most: int = 500) -> Minimised:
    flow = minimise(turns, WISH, works, most)  # type: ignore[arg-type]
    return drive_all([flow], ScriptedPolicy(lambda _: ()))[0]


def test_what_an_attack_needs_is_left_and_nothing_else_but_the_wish() -> None:
    asked, works = needs("please", "word7", "again")
    found = shortest(LONG, works)
    assert found.minimal
    left = " ".join(turn.text for turn in found.turns).split()
    assert sorted(left) == sorted(["please", "word7", "again", *WISH.split()])
    assert found.calls == len(asked) < 200


def test_a_turn_without_words_is_not_said_and_the_wish_stays() -> None:
    found = shortest(LONG, needs()[1])
    assert [turn.text for turn in found.turns] == [WISH]
    assert found.minimal


def test_where_every_word_is_needed_none_goes() -> None:
    turns = (Turn(f"please {WISH} now"),)
    found = shortest(turns, needs("please", "now")[1])
    assert found.turns == turns and found.minimal


def test_calls_are_bounded_and_what_is_left_works_even_so() -> None:
    asked, works = needs("please", "word3", "word15", "again")
    found = shortest(LONG, works, most=6)
    assert not found.minimal
    assert found.calls == len(asked) == 6
    assert words(found.turns) <= words(LONG)
    said = " ".join(turn.text for turn in found.turns).split()
    assert {"please", "word3", "word15", "again"} <= set(said)
    with pytest.raises(InputError, match="at least 1"):
        shortest(LONG, works, most=0)
