"""Ancestors: each once, parents before children, and what is missing is named."""

from __future__ import annotations

import inspect
import random
import shutil
import sys
from pathlib import Path

import pytest
from support.shelf import identity, put

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.lineage import with_ancestors
from ontogeny.base.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def opened(store: Store, *numbers: int) -> list[Artifact]:
    return [Artifact.open(store.path(identity(number))) for number in numbers]


def ids(artifacts: list[Artifact]) -> list[int]:
    return [int(each.id, 16) for each in artifacts]


def test_parents_stand_before_children_and_each_once(store: Store) -> None:
    """1 -> 2, 3 -> 4 -> 6; 5 is nobody's parent."""
    for number, parents in ((1, ()), (2, (1,)), (3, (1,)), (4, (2, 3)), (5, (1,)), (6, (4, 1, 4))):
        put(store, number, parents)
    assert ids(with_ancestors(opened(store, 6))) == [1, 2, 3, 4, 6]
    assert ids(with_ancestors(opened(store, 4, 2, 4, 5))) == [1, 2, 3, 4, 5]
    assert ids(with_ancestors(opened(store, 1))) == [1]
    assert with_ancestors([]) == []


def test_any_family_is_told_in_an_order_of_birth(store: Store) -> None:
    draw = random.Random(0)
    parents: dict[int, tuple[int, ...]] = {}
    for number in range(1, 40):
        parents[number] = tuple(draw.sample(range(1, number), min(number - 1, draw.randrange(4))))
        put(store, number, parents[number])
    for asked in ([39], [20, 39], [7, 7, 3]):
        told = ids(with_ancestors(opened(store, *asked)))
        assert len(set(told)) == len(told)
        known: set[int] = set()
        waiting = list(asked)
        while waiting:
            one = waiting.pop()
            waiting += [] if one in known else parents[one]
            known.add(one)
        assert set(told) == known
        for place, one in enumerate(told):
            assert set(parents[one]) <= set(told[:place])


def test_a_long_line_of_ancestors_is_no_recursion(store: Store) -> None:
    for number in range(1, 201):
        put(store, number, (number - 1,) if number > 1 else (), size=1)
    child, before = opened(store, 200), sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        told = ids(with_ancestors(child))
    finally:
        sys.setrecursionlimit(before)
    assert told == list(range(1, 201))


def test_a_parent_that_is_gone_is_named(store: Store) -> None:
    put(store, 1)
    put(store, 2, (1,))
    child = opened(store, 2)
    shutil.rmtree(store.path(identity(1)))
    with pytest.raises(
        CorruptArtifact, match="a parent of 'stage-2' is no longer in the store"
    ) as e:
        with_ancestors(child)
    assert e.value.file == str(store.path(identity(1)))


def test_another_artifact_in_a_parents_place_is_named(store: Store) -> None:
    put(store, 1)
    put(store, 2, (1,))
    put(store, 3)
    child = opened(store, 2)
    shutil.rmtree(store.path(identity(1)))
    shutil.copytree(store.path(identity(3)), store.path(identity(1)))
    with pytest.raises(CorruptArtifact, match=f"the record is of artifact {identity(3)}"):
        with_ancestors(child)


def test_a_damaged_parent_is_named(store: Store) -> None:
    put(store, 1)
    put(store, 2, (1,))
    child = opened(store, 2)
    (store.path(identity(1)) / "record.json").write_text("{}")
    with pytest.raises(CorruptArtifact) as caught:
        with_ancestors(child)
    assert str(caught.value.file).endswith(f"{identity(1)}/record.json")
