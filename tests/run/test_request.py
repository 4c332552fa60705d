"""A call of a recipe is checked: its parents' kinds, its settings, its name."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.run.request import Request, request
from ontogeny.run.work import Made, Stage, Work


@dataclass(frozen=True)
class Gather:
    """A model, one or more tokens, one or more conversations."""

    stage: ClassVar[str] = "gather"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tokens+", "conversations+")
    makes: ClassVar[str] = "model"

    def __call__(self, work: Work, *parents: Artifact) -> Made:
        (work.payload / "parents").write_text(" ".join(parent.id for parent in parents))
        return Made()


def asked(kinds: str) -> Request:
    parents = tuple((f"{number:016x}", kind) for number, kind in enumerate(kinds.split()))
    return request(Gather(), parents, name="x", seed=0, settings=[])


@pytest.mark.parametrize(
    "kinds",
    [
        "model tokens conversations",
        "model tokens tokens tokens conversations",
        "model tokens conversations conversations",
    ],
)
def test_a_kind_with_a_plus_stands_for_one_or_more(kinds: str) -> None:
    assert len(asked(kinds).parents) == len(kinds.split())


@pytest.mark.parametrize(
    "kinds",
    [
        "",
        "model",
        "model tokens",
        "model conversations",
        "model model tokens conversations",
        "model conversations tokens",
        "model tokens conversations tokens",
        "model tokenstokens conversations",
        "model token conversations",
    ],
)
def test_other_parents_are_refused_by_kind(kinds: str) -> None:
    message = r"Gather takes \(model, tokens\+, conversations\+\), not"
    with pytest.raises(InputError, match=message):
        asked(kinds)


def test_the_parents_and_their_order_are_identity() -> None:
    one, two = asked("model tokens conversations"), asked("model tokens tokens conversations")
    assert one.id != two.id


def stage_that_takes(*takes: str) -> Stage:
    """A stage with these parents and no other content."""
    made = type("Picky", (Gather,), {"takes": takes})
    found: Stage = made()
    return found


def fits(takes: tuple[str, ...], kinds: list[str]) -> bool:
    parents = tuple((f"{number:016x}", kind) for number, kind in enumerate(kinds))
    try:
        request(stage_that_takes(*takes), parents, name="x", seed=0, settings=[])
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    ("takes", "right", "wrong"),
    [
        ("model tasks*", ["model", "model tasks", "model tasks tasks"], ["tasks", "model model"]),
        ("model tasks?", ["model", "model tasks"], ["model tasks tasks", "tasks model"]),
        ("model tokens|chats", ["model tokens", "model chats"], ["model", "model tokens chats"]),
        (
            "model tokens|chats* tasks*",
            ["model", "model chats tokens tasks", "model tasks tasks", "model tokens tokens"],
            ["model tasks tokens", "tokens", "model token"],
        ),
        ("a|b+ c", ["a c", "b a b c"], ["c", "a", "ac", "a|b c"]),
        ("a* a", ["a", "a a a"], ["", "b"]),
        ("a.c", ["a.c"], ["abc"]),
    ],
)
def test_a_mark_says_how_many_and_a_bar_which(
    takes: str, right: list[str], wrong: list[str]
) -> None:
    known = tuple(takes.split())
    assert [kinds for kinds in right if not fits(known, kinds.split())] == []
    assert [kinds for kinds in wrong if fits(known, kinds.split())] == []


def plainly(takes: tuple[str, ...], kinds: list[str]) -> bool:
    """`fits` by trying every number of parents for the first of `takes`."""
    if not takes:
        return not kinds
    first, rest = takes[0], takes[1:]
    mark = first[-1] if first[-1] in "+*?" else ""
    either = first.removesuffix(mark).split("|")
    least, most = {"": (1, 1), "+": (1, 9), "*": (0, 9), "?": (0, 1)}[mark]
    for count in range(least, min(most, len(kinds)) + 1):
        if all(kind in either for kind in kinds[:count]) and plainly(rest, kinds[count:]):
            return True
    return False


KIND = st.sampled_from(["a", "b", "ab"])
TAKES = st.tuples(
    st.lists(KIND, min_size=1, max_size=2).map("|".join), st.sampled_from(["", "+", "*", "?"])
).map("".join)


@given(st.lists(TAKES, max_size=4).map(tuple), st.lists(KIND, max_size=5))
def test_parents_fit_as_if_every_number_were_tried(
    takes: tuple[str, ...], kinds: list[str]
) -> None:
    assert fits(takes, kinds) == plainly(takes, kinds)
