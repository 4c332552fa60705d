"""Several policies in one episode: each hears what is addressed to it, and journals tell them."""

import asyncio

import pytest

from ontogeny.base.errors import InputError
from ontogeny.rollout.cast import Cast, ContinuationTo, RequestTo
from ontogeny.rollout.drive import drive_all
from ontogeny.rollout.fakes import ScriptedPolicy, UniformPolicy
from ontogeny.rollout.flow import Flow, Sample, Score
from ontogeny.rollout.policy import Continuation, Request


def talk(first: str, second: str) -> Flow[tuple[tuple[int, ...], ...]]:
    a, b = yield (
        Sample(RequestTo((1,), 2, part=first)),
        Sample(RequestTo((2,), 2, part=second)),
    )
    likely = yield Score(ContinuationTo((1,), (7,), part=first))
    return a.ids, b.ids, likely.greedy


def cast() -> Cast:
    return Cast({"seven": ScriptedPolicy(lambda _: (7, 7)), "nine": ScriptedPolicy(lambda _: (9,))})


def test_each_part_answers_what_is_addressed_to_it() -> None:
    told = drive_all([talk("seven", "nine"), talk("nine", "seven")], cast())
    assert told == [((7, 7), (9,), (True,)), ((9,), (7, 7), (False,))]


def test_a_journal_does_not_answer_for_another_part() -> None:
    journal: list[object] = []
    drive_all([talk("seven", "nine")], cast(), journal=journal)
    assert drive_all([talk("seven", "nine")], Cast({"x": UniformPolicy(2)}), journal=journal)
    with pytest.raises(InputError, match="asked something else"):
        drive_all([talk("nine", "seven")], cast(), journal=journal)


def test_who_is_not_in_the_cast_is_said() -> None:
    with pytest.raises(InputError, match="nobody plays 'ten'; there are seven, nine"):
        asyncio.run(cast().sample(RequestTo((1,), 1, part="ten")))
    with pytest.raises(InputError, match="names no part"):
        asyncio.run(cast().sample(Request((1,), 1)))
    with pytest.raises(InputError, match="names no part"):
        asyncio.run(cast().score(Continuation((1,), (2,))))
    with pytest.raises(InputError, match="at least one part"):
        Cast({})
