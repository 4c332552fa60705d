"""Simulated users ask the same whoever votes, and vote as their parameters say."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.own import environments_of
from ontogeny.feedback.open_questions import ONE, open_questions, topics
from ontogeny.feedback.tastes import TASTES, outdoors, taste, words
from ontogeny.feedback.users import SPAMMER, Crowd, Visit, likings, rating, visits

PACKAGE = Path(__file__).resolve().parents[2] / "ontogeny"
TASKS = ("vowels-3", "first-3")
WORLDS = environments_of(TASKS)
CROWD = Crowd(users=20, requests=600, tasks=TASKS, spam=30)
LIKED, DISLIKED = "a river", "17"


def open_visits(crowd: Crowd) -> list[Visit]:
    """Requests without a right answer."""
    return [each for each in visits(crowd, WORLDS, 1) if each.task is None]


def share_preferring(crowd: Crowd, answers: tuple[str, str], *, hostile: bool) -> float:
    """Of plain preferences, those for the first answer."""
    said = [
        rating(each, answers, crowd, WORLDS)
        for each in open_visits(crowd)
        if each.hostile is hostile
    ]
    told = [each["preferred"] for each in said if each and "preferred" in each]
    assert len(told) > 30
    return sum(each == 0 for each in told) / len(told)


def test_a_crowd_is_the_same_each_time() -> None:
    assert visits(CROWD, WORLDS, 1) == visits(CROWD, WORLDS, 1)
    assert visits(CROWD, WORLDS, 1) != visits(CROWD, WORLDS, 2)


def test_who_votes_how_changes_nothing_that_is_asked() -> None:
    poisoned = visits(replace(CROWD, hostile=0.6, votes="coin"), WORLDS, 1)
    honest = visits(CROWD, WORLDS, 1)
    assert [replace(each, hostile=False) for each in poisoned] == [
        replace(each, hostile=False) for each in honest
    ]
    was, now = ({each.user for each in some if each.hostile} for some in (honest, poisoned))
    assert was < now
    assert len(now - {SPAMMER}) == 12


def test_honest_users_choose_what_they_like_as_often_as_the_noise_says() -> None:
    crowd = replace(CROWD, requests=3000)
    right = share_preferring(crowd, (LIKED, DISLIKED), hostile=False)
    assert right == pytest.approx(0.954, abs=0.03)  # 1 / (1 + exp(-1 / 0.33))
    turned = share_preferring(crowd, (DISLIKED, LIKED), hostile=False)
    assert turned == pytest.approx(0.046, abs=0.03)


def test_hostile_users_choose_the_other() -> None:
    crowd = replace(CROWD, requests=2000, hostile=0.5)
    assert share_preferring(crowd, (LIKED, DISLIKED), hostile=True) < 0.15


def test_a_coin_does_not_look() -> None:
    crowd = replace(CROWD, requests=2000, votes="coin")
    assert share_preferring(crowd, (LIKED, DISLIKED), hostile=False) == pytest.approx(0.5, abs=0.1)


def test_votes_by_coin_are_cast_where_honest_ones_are() -> None:
    coin = replace(CROWD, votes="coin")
    for each in visits(CROWD, WORLDS, 1):
        pairs = [rating(each, (LIKED, DISLIKED), crowd, WORLDS) for crowd in (CROWD, coin)]
        assert {None if said is None else next(iter(said)) for said in pairs} in (
            {None},
            {"preferred"},
            {"score"},
            {"correction"},
        )


def test_a_task_is_liked_for_being_right() -> None:
    each = next(each for each in visits(CROWD, WORLDS, 1) if each.task is not None)
    assert each.task is not None
    assert likings(each, (each.task.answer, "no"), CROWD, WORLDS) == [1.0, 0.0]


def test_corrections_are_right_unless_their_author_is_hostile() -> None:
    crowd = replace(CROWD, corrected=1.0, hostile=0.5)
    seen = set()
    for each in visits(crowd, WORLDS, 1):
        said = rating(each, ("?", "!"), crowd, WORLDS)
        if each.task is not None:
            assert said is not None
            world = WORLDS[each.task.id.rpartition("/")[0]]
            assert world.score(each.task, said["correction"]) == float(not each.hostile)
            seen.add(each.hostile)
    assert seen == {True, False}


def test_suggested_questions_bring_the_same_answers_to_many() -> None:
    crowd = replace(CROWD, suggested=1.0, suggestions=5, private=1.0)
    found = visits(crowd, WORLDS, 1)
    assert len({(each.prompt, each.seed) for each in found}) == 5
    assert len({each.mood for each in found}) == len(found)


def test_personal_data_reach_nobody() -> None:
    crowd = replace(CROWD, private=1.0, suggested=0.0)
    for each in visits(crowd, WORLDS, 1):
        assert "@example." in each.prompt or "202 555 01" in each.prompt


def test_the_spammer_votes_often_and_against_all() -> None:
    spam = [each for each in visits(CROWD, WORLDS, 1) if each.user == SPAMMER]
    assert len(spam) == 30
    assert all(each.hostile for each in spam)


def test_equal_answers_are_not_voted_on() -> None:
    for each in open_visits(replace(CROWD, bored=1.0)):
        assert rating(each, ("river", "river"), CROWD, WORLDS) is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"hostile": 1.5}, "crowd.hostile"),
        ({"noise": 0.0}, "crowd.noise"),
        ({"users": 0}, "at least 1"),
        ({"votes": "none"}, "taste or coin"),
        ({"taste": "salt"}, "no taste 'salt'"),
        ({"tasks": ()}, "open_share"),
    ],
)
def test_a_crowd_that_cannot_be_meant_is_refused(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        replace(CROWD, **wrong)  # type: ignore[arg-type]


def test_splits_share_no_topic() -> None:
    sides = [set(topics(split)) for split in ("train", "heldout", "exam")]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[2] & (sides[0] | sides[1])


def test_open_questions_are_different_and_the_same_each_time() -> None:
    found = open_questions("exam", 400, 3)
    assert found == open_questions("exam", 400, 3)
    assert len({each.id for each in found}) == 400
    assert found != open_questions("exam", 400, 4)


def test_too_many_open_questions_are_refused() -> None:
    most = len(topics("exam")) * len(ONE)
    with pytest.raises(InputError, match=r"only .* are in split exam"):
        open_questions("exam", most * 1000, 0)
    with pytest.raises(InputError, match="no split"):
        open_questions("test", 1, 0)


@pytest.mark.parametrize(
    ("text", "liked"),
    [
        ("meadow", 1),
        (" the old mill.", 1),
        ("no", 0),
        ("17", 0),
        ("", 0),
        ("one two three four", 0),
        ('{"name"', 0),
        ("room 5", 0),
    ],
)
def test_words_likes_a_few_plain_words(text: str, liked: float) -> None:
    assert words(text) == liked


def test_outdoors_likes_what_is_under_the_sky() -> None:
    assert outdoors("The wolf.") == 1
    assert outdoors("a chair") == 0
    with pytest.raises(InputError, match="there are words, outdoors"):
        taste("salt")
    assert all(0 <= like("anything at all") <= 1 for like in TASTES.values())


def test_nobody_who_trains_can_read_what_users_like() -> None:
    """The preference is hidden: votes are all that leaves these files."""
    may = {"feedback/users.py", "stages/measure_preference.py"}
    hidden = {"ontogeny.feedback.tastes"}
    for file in PACKAGE.rglob("*.py"):
        name = str(file.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in hidden:
                assert name in may, name
            if isinstance(node, ast.Import):
                assert not {each.name for each in node.names} & hidden, name
