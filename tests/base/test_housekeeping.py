"""A clean takes nothing that a name stands on, all else, and can be killed at any moment."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.shelf import EVENING, MORNING, NOON, identity, leave, put

from ontogeny.base.housekeeping import Sweep, carry_out, meant_by, plan_sweep
from ontogeny.base.inventory import take_inventory
from ontogeny.base.store import Store

NAMES = ("a", "a/b", "a/b/c", "ab", "b", "c/d")


@pytest.fixture(autouse=True)
def no_power_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync shows only when the power fails, which no test can do; hundreds of them take long."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def clean(store: Store, *drop: str) -> Sweep:
    """What the command does, without its words; a drop that means nothing any more is passed by."""
    inventory = take_inventory(store)
    sweep = plan_sweep(inventory, {name for each in drop for name in meant_by(each, inventory)})
    with store.locked():
        carry_out(store, sweep)
    return sweep


def lying(store: Store) -> set[int]:
    return {int(path.name, 16) for path in store.artifacts.iterdir()}


def state(store: Store) -> dict[str, bytes]:
    """Every file of the store and its bytes."""
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file()
    }


def test_what_no_name_stands_on_goes_and_ancestors_stay(store: Store) -> None:
    put(store, 1)
    put(store, 2, (1,))
    put(store, 3, (2,), "sft")
    put(store, 4, (2,))
    put(store, 5, (4,))
    sweep = clean(store)
    assert [int(entry.id, 16) for entry in sweep.entries] == [5, 4]
    assert lying(store) == {1, 2, 3}
    assert sweep.kept_for == {identity(number): "sft" for number in (1, 2, 3)}


def test_a_name_given_up_takes_those_below_it_and_no_name_that_begins_alike(store: Store) -> None:
    for number, name in enumerate(NAMES, start=1):
        put(store, number, (), name)
    assert clean(store, "a").names == ["a", "a/b", "a/b/c"]
    assert take_inventory(store).names.keys() == {"ab", "b", "c/d"}
    assert lying(store) == {4, 5, 6}
    assert clean(store, "c/").names == ["c/d"]
    assert not (store.names / "c").exists()


def test_an_artifact_with_two_names_stays_until_both_are_given_up(store: Store) -> None:
    put(store, 1, (), "a", "b")
    clean(store, "a")
    assert lying(store) == {1}
    clean(store, "b")
    assert lying(store) == set()


def test_a_damaged_artifact_stays_while_needed_and_goes_like_any_other(store: Store) -> None:
    put(store, 1)
    (put(store, 2, (1,)) / "deep" / "bytes.bin").write_bytes(b"")
    put(store, 3, (2,), "sft")
    (put(store, 4) / "record.json").unlink()
    clean(store)
    assert lying(store) == {1, 2, 3}


@pytest.mark.parametrize("fault", ["missing", "record", "name"])
def test_where_the_lineage_is_lost_no_artifact_goes_until_the_name_does(
    store: Store, fault: str
) -> None:
    put(store, 1)
    middle = put(store, 2, (1,))
    put(store, 3, (2,), "sft")
    put(store, 4, (), "other")
    if fault == "missing":
        shutil.rmtree(middle)
    elif fault == "record":
        (middle / "record.json").write_text("{}")
    else:
        (store.names / "sft.json").write_text("{")
    before = lying(store)
    sweep = clean(store)
    assert lying(store) == before
    assert len(sweep.gaps) == 1
    assert identity(1) in {entry.id for entry in sweep.uncertain}
    clean(store, "sft")
    assert lying(store) == {4}


def test_a_name_of_nothing_is_a_gap_and_can_be_given_up(store: Store) -> None:
    shutil.rmtree(put(store, 1, (), "base"))
    put(store, 2)
    assert clean(store).gaps
    assert lying(store) == {2}
    assert clean(store, "base").names == ["base"]
    assert lying(store) == set()


def test_work_that_a_run_would_go_on_from_stays_with_what_it_was_made_from(store: Store) -> None:
    put(store, 1)
    put(store, 2, (1,))
    put(store, 3, (), "base", finished=MORNING)
    work = leave(store, 9, "base", (2,), touched=NOON)
    sweep = clean(store)
    assert work.exists()
    assert lying(store) == {1, 2, 3}
    assert [each.name for each, _ in sweep.kept_work] == ["base"]
    clean(store, "base")
    assert not work.exists()
    assert lying(store) == set()


def test_useless_work_goes(store: Store) -> None:
    put(store, 1, (), "base", finished=EVENING)
    put(store, 2, (), "sft")
    outdone = leave(store, 7, "base", touched=NOON)
    published = leave(store, 2, "sft")
    bare = leave(store, 8, "dpo", checkpoint=False)
    sweep = clean(store)
    reasons = {work.id: reason for work, reason in sweep.work}
    assert "made later" in reasons[identity(7)]
    assert "published" in reasons[identity(2)]
    assert "no checkpoint" in reasons[identity(8)]
    assert not any(path.exists() for path in (outdone, published, bare))


def test_unfinished_work_of_a_name_that_means_something_damaged_stays(store: Store) -> None:
    path = put(store, 1, (), "base", finished=EVENING)
    (path / "deep" / "bytes.bin").unlink()
    work = leave(store, 7, "base", touched=NOON)
    clean(store)
    assert work.exists()


def test_what_is_not_ours_and_what_tells_of_runs_stays(store: Store) -> None:
    (store.artifacts / "notes.txt").write_text("mine")
    (store.work / "experiment").mkdir()
    for name in ("plans/quickstart/10m.json", "reports/x.run.json", "events.jsonl"):
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_text("{}")
    (store.root / "reports" / ".x.run.json.1.tmp").touch()
    before = state(store)
    clean(store)
    assert before.keys() - state(store).keys() == {"reports/.x.run.json.1.tmp"}
    assert (store.work / "experiment").is_dir()


def test_a_link_goes_and_what_it_points_to_stays(store: Store, tmp_path: Path) -> None:
    path = put(store, 1)
    os.rename(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    clean(store)
    assert lying(store) == set()
    assert (tmp_path / "elsewhere" / "record.json").exists()


def test_an_artifact_made_again_after_a_killed_clean_can_go_again(store: Store) -> None:
    shutil.copytree(put(store, 1), store.work / f"{identity(1)}.gone")
    clean(store)
    assert lying(store) == set()
    assert not list(store.work.iterdir())


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], dict[str, int], list[str]]:
    """Parents of each artifact (earlier ones), what each name means, names to drop."""
    count = draw(st.integers(1, 7))
    parents = [
        tuple(draw(st.sets(st.integers(0, number - 1), max_size=2))) if number else ()
        for number in range(count)
    ]
    names = draw(st.dictionaries(st.sampled_from(NAMES), st.integers(0, count - 1)))
    return parents, names, draw(st.lists(st.sampled_from(NAMES), max_size=2))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(life=lives())
def test_no_ancestor_of_a_kept_name_goes_all_else_does_and_a_second_clean_finds_nothing(
    tmp_path: Path, life: tuple[list[tuple[int, ...]], dict[str, int], list[str]]
) -> None:
    parents, names, drop = life
    shutil.rmtree(tmp_path / "life", ignore_errors=True)
    store = Store.create(tmp_path / "life")
    for number, above in enumerate(parents):
        put(store, number, above, size=1)
    for name, number in names.items():
        store.set_name(name, identity(number))
    kept = {
        name: number
        for name, number in names.items()
        if not any(f"{name}/".startswith(f"{each}/") for each in drop)
    }

    def ancestors(number: int) -> set[int]:
        return {number}.union(*(ancestors(above) for above in parents[number]))

    clean(store, *drop)
    assert lying(store) == set().union(*(ancestors(number) for number in kept.values()))
    assert take_inventory(store).names == {name: identity(kept[name]) for name in sorted(kept)}
    assert plan_sweep(take_inventory(store)).empty


class Killed(BaseException):
    """Stands for a power failure."""


STEPS = ("rename", "unlink", "rmdir", "fsync")


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """Lets the process die at the `after`-th call that changes a disk."""
    left = [after]

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return call(*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, wrapped(getattr(os, name)))
        yield


def crowded(root: Path) -> Store:
    """A store in which everything that can go, goes, and something of each sort stays."""
    store = Store.create(root)
    put(store, 1, (), "corpus")
    put(store, 2, (1,), "base", "old/base")
    put(store, 3, (2,), "old/sft")
    put(store, 4, (3,), "old/dpo")
    put(store, 5, (4, 1))
    put(store, 6, (), "other", finished=EVENING)
    leave(store, 7, "other", touched=NOON)
    leave(store, 8, "old/long", (2,))
    leave(store, 9, "long", (1,))
    (store.names / ".base.json.1.tmp").touch()
    return store


def test_killed_between_any_two_steps_the_same_command_reaches_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = crowded(tmp_path / "origin")
    undisturbed = Store(tmp_path / "undisturbed")
    shutil.copytree(origin.root, undisturbed.root)
    clean(undisturbed, "old")
    end = state(undisturbed)
    assert lying(undisturbed) == {1, 2, 6}
    after = 0
    while True:
        store = Store(tmp_path / "killed")
        shutil.copytree(origin.root, store.root)
        try:
            for _ in dying(monkeypatch, after):
                clean(store, "old")
        except Killed:
            check_whole(store)
            run_begins = Store(tmp_path / "run")
            shutil.copytree(store.root, run_begins.root)
            run_begins.clear_leftovers()
            check_whole(run_begins)
            assert not list(run_begins.work.glob("*.gone"))
            shutil.rmtree(run_begins.root)
            clean(store, "old")
            assert state(store) == end, after
            shutil.rmtree(store.root)
            after += 1
        else:
            break
    assert state(store) == end
    assert after > 30


def check_whole(store: Store) -> None:
    """The store opens, every artifact is whole with all it was made from, and names mean one."""
    whole, damaged = Store.open(store.root).all()
    ids = {artifact.id for artifact in whole}
    assert not damaged
    assert ids >= {identity(number) for number in (1, 2, 6)}
    assert ids >= {parent for artifact in whole for parent in artifact.record.parents}
    assert ids >= set(store.named().values())
    assert store.named().keys() >= {"corpus", "base", "other"}
