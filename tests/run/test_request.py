"""A call of a recipe is checked: its parents' kinds, its settings, its name."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.run.request import Request, request
from ontogeny.run.work import Made, Work


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
