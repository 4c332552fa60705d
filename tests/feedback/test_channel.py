"""A channel says who is live, was, or is tried; only a gate lets another take its place."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.releases import gate_of
from support.shelf import identity, put

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.housekeeping import carry_out, plan_sweep
from ontogeny.base.inventory import RELEASES_KEPT, take_inventory
from ontogeny.base.store import Store
from ontogeny.feedback.channel import Channel, Release, channel_file, read_channel
from ontogeny.feedback.promotion import end_share, promote, roll_back, set_share

NAME = "released"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def model(store: Store, number: int) -> Artifact:
    put(store, number)
    return store.get(identity(number))


def gate(
    store: Store, number: int, candidate: int, released: int, *, says: bool = True
) -> Artifact:
    return gate_of(store, number, identity(candidate), identity(released), promote=says)


def promoted(store: Store, *numbers: int) -> Channel:
    """Each model after the other, each by a gate of its own."""
    last = numbers[0]
    found = promote(store, NAME, model(store, last), None)
    for number in numbers[1:]:
        allowed = gate(store, 100 + number, number, last)
        found = promote(store, NAME, model(store, number), allowed)
        last = number
    return found


def test_the_first_model_needs_no_gate_and_the_next_one_does(store: Store) -> None:
    first = promote(store, NAME, model(store, 1), None)
    assert (first.live, first.history[0].why) == (identity(1), "first")
    with pytest.raises(InputError, match="only a gate says what may follow"):
        promote(store, NAME, model(store, 2), None)
    second = promote(store, NAME, store.get(identity(2)), gate(store, 3, 2, 1))
    assert second == read_channel(store, NAME)
    assert (second.live, second.history[-1].gate) == (identity(2), identity(3))


def test_who_is_live_already_stays_and_nothing_is_written(store: Store) -> None:
    promoted(store, 1, 2)
    before = channel_file(store, NAME).stat()
    assert promote(store, NAME, store.get(identity(2)), None).live == identity(2)
    after = channel_file(store, NAME).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("why", ["stay", "stale", "another", "empty", "kind"])
def test_a_gate_that_does_not_let_it_is_one_line_and_the_old_one_stays(
    store: Store, why: str
) -> None:
    if why != "empty":
        promoted(store, 1)
    two, file = model(store, 2), "gate.json"
    if why == "stay":
        allowed, said = gate(store, 9, 2, 1, says=False), "says stay: gain kindness: 0.00"
    elif why == "stale":
        allowed, said = gate(store, 9, 2, 7), "compared with another model"
    elif why == "empty":
        allowed, said = gate(store, 9, 2, 7), f"nothing is live .* promote {identity(7)}, then"
    elif why == "another":
        allowed, said = gate(store, 9, 3, 1), f"is about {identity(3)}"
    else:
        put(store, 9, kind="measurement")
        allowed, said, file = store.get(identity(9)), "is a measurement and no gate", "command line"
    with pytest.raises(InputError, match=said) as caught:
        promote(store, NAME, two, allowed)
    assert file in str(caught.value) and "\n" not in str(caught.value)
    if why == "empty":
        assert not channel_file(store, NAME).exists()
    else:
        assert read_channel(store, NAME).live == identity(1)


@pytest.mark.parametrize("damage", ["bytes", "file", "record"])
def test_a_damaged_candidate_does_not_become_live(store: Store, damage: str) -> None:
    promoted(store, 1)
    two, allowed = model(store, 2), gate(store, 9, 2, 1)
    file = two.path / "deep" / "bytes.bin"
    if damage == "bytes":
        file.write_bytes(b"x" + file.read_bytes()[1:])
    elif damage == "file":
        file.unlink()
    else:
        (two.path / "record.json").write_text("{}")
    with pytest.raises(CorruptArtifact):
        promote(store, NAME, two, allowed)
    assert read_channel(store, NAME).live == identity(1)


def test_a_gate_that_is_deleted_before_the_lock_is_taken_is_named_by_no_channel(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(store, 1)
    two, allowed = model(store, 2), gate(store, 9, 2, 1)
    locked = Store.channels_locked

    def late(self: Store, seconds: float = 0.0) -> AbstractContextManager[None]:
        shutil.rmtree(allowed.path)  # `clean` was sooner
        return locked(self, seconds)

    monkeypatch.setattr(Store, "channels_locked", late)
    with pytest.raises(CorruptArtifact):
        promote(store, NAME, two, allowed)
    assert read_channel(store, NAME).live == identity(1)
    assert not plan_sweep(take_inventory(store)).gaps


def test_a_change_waits_for_another_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = model(store, 1)
    held = ExitStack()
    held.enter_context(store.channels_locked())
    ends = threading.Timer(0.3, held.close)
    ends.start()
    assert promote(store, NAME, one, None).live == identity(1)
    ends.join()
    monkeypatch.setattr("ontogeny.feedback.promotion.WAIT_SECONDS", 0.0)
    with store.channels_locked(), pytest.raises(InputError, match="wait for it"):
        promote(store, "beta", one, None)


def test_a_rollback_goes_further_back_each_time_and_never_to_what_was_fled_from(
    store: Store,
) -> None:
    promoted(store, 1, 2, 3)
    found = [roll_back(store, NAME).live for _ in range(2)]
    assert found == [identity(2), identity(1)]
    with pytest.raises(InputError, match="no release before"):
        roll_back(store, NAME)
    assert [each.why for each in read_channel(store, NAME).history] == [
        "first",
        "promote",
        "promote",
        "rollback",
        "rollback",
    ]
    # the gate of 2 against 1 still says what it said, so the way forward is the same command
    assert promote(store, NAME, store.get(identity(2)), store.get(identity(102))).live == identity(
        2
    )
    assert roll_back(store, NAME).live == identity(1)


def test_a_rollback_to_a_named_release_may_be_said_twice(store: Store) -> None:
    promoted(store, 1, 2, 3)
    once = roll_back(store, NAME, identity(1))
    assert once.live == identity(1) and roll_back(store, NAME, identity(1)) == once
    with pytest.raises(InputError, match="is none before"):
        roll_back(store, NAME, identity(3))


def test_a_release_that_is_damaged_or_gone_is_not_rolled_back_to(store: Store) -> None:
    promoted(store, 1, 2)
    file = store.path(identity(1)) / "deep" / "bytes.bin"
    whole = file.read_bytes()
    file.write_bytes(b"x" + whole[1:])
    with pytest.raises(CorruptArtifact):
        roll_back(store, NAME)
    file.write_bytes(whole)
    os.rename(store.path(identity(1)), store.work / "elsewhere")
    with pytest.raises(InputError, match="not in the store any more"):
        roll_back(store, NAME)
    assert read_channel(store, NAME).live == identity(2)


def test_a_trial_ends_when_its_model_becomes_live_and_others_go_on(store: Store) -> None:
    promoted(store, 1)
    two, three = model(store, 2), model(store, 3)
    set_share(store, NAME, "canary", two, 0.1)
    found = set_share(store, NAME, "shadow", three, 1)
    assert found.canary is not None and found.models == tuple(map(identity, (1, 2, 3)))
    after = promote(store, NAME, two, gate(store, 9, 2, 1))
    assert after.canary is None and after.shadow == found.shadow
    assert end_share(store, NAME, "shadow").shadow is None
    assert end_share(store, NAME, "shadow") == read_channel(store, NAME)
    with pytest.raises(InputError, match="is live"):
        set_share(store, NAME, "canary", two, 0.5)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan"), True])
def test_a_share_is_above_0_and_at_most_1(store: Store, share: float) -> None:
    promoted(store, 1)
    with pytest.raises(InputError, match="give a number above 0"):
        set_share(store, NAME, "canary", model(store, 2), share)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("{", 1),
        ('{\n "live": 1,\n "live"', 3),
        ("[]", 1),
        ("null", 1),
        ({"live": identity(9)}, 1),
        ({"history": []}, 1),
        ({"history": [{"live": identity(1)}]}, 1),
        ({"history": [{"live": "../x", "gate": None, "why": "first", "at": ""}]}, 1),
        ({"canary": {"model": identity(2), "share": 7}}, 1),
        ({"canary": {"model": identity(2), "share": "all"}}, 1),
        ({"shadow": []}, 1),
        ({"more": 1}, 1),
    ],
)
def test_a_file_that_is_no_channel_is_one_line_with_its_place(
    store: Store, change: object, line: int
) -> None:
    promoted(store, 1)
    file = channel_file(store, NAME)
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | change) if isinstance(change, dict) else str(change))
    with pytest.raises(CorruptArtifact) as caught:
        read_channel(store, NAME)
    assert str(caught.value).startswith(f"{file}:{line}: ") and "promote" in str(caught.value)
    with pytest.raises(CorruptArtifact):
        promote(store, NAME, store.get(identity(1)), None)


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".x", "x" * 101])
def test_what_can_be_no_file_is_no_channel(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="no channel can be called"):
        read_channel(store, name)


def test_a_channel_that_is_not_there_is_told_with_those_that_are(store: Store) -> None:
    promoted(store, 1)
    with pytest.raises(InputError, match=r"no channel is called 'beta' \(released\)"):
        read_channel(store, "beta")


def test_what_a_killed_writer_left_goes_with_the_next_change_or_run(store: Store) -> None:
    promoted(store, 1)
    left = store.channels / ".released.json.1.tmp"
    left.touch()
    set_share(store, NAME, "canary", model(store, 2), 0.5)
    assert not left.exists()
    left.touch()
    with store.channels_locked():
        store.clear_leftovers()
        assert left.exists()  # somebody is writing
    store.clear_leftovers()
    assert not left.exists()


def clean(store: Store) -> set[int]:
    with store.locked(), store.channels_locked():
        carry_out(store, plan_sweep(take_inventory(store)))
    return {int(path.name, 16) for path in store.artifacts.iterdir()}


def test_clean_leaves_what_a_channel_may_need(store: Store) -> None:
    promoted(store, *range(1, RELEASES_KEPT + 3))
    set_share(store, NAME, "canary", model(store, 50), 0.1)
    set_share(store, NAME, "shadow", model(store, 51), 0.1)
    model(store, 99)
    kept, live = clean(store), RELEASES_KEPT + 2
    last = set(range(live - RELEASES_KEPT + 1, live + 1))
    before = {live - RELEASES_KEPT}  # the oldest gate that is kept was made from it
    assert kept == last | before | {100 + each for each in last} | {50, 51}
    assert roll_back(store, NAME).live == identity(live - 1)
    end_share(store, NAME, "shadow")
    assert clean(store) == kept - {51}


def test_where_a_channel_cannot_be_read_clean_takes_no_artifact(store: Store) -> None:
    promoted(store, 1)
    model(store, 2)
    channel_file(store, NAME).write_text("{")
    sweep = plan_sweep(take_inventory(store))
    assert not sweep.entries and "channel 'released'" in sweep.gaps[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=20))
def test_who_stands_is_a_stack(moves: list[int | None]) -> None:
    """Promotions push, rollbacks pop, whatever the order and however often one comes again."""
    stack, history = [9], [Release(identity(9), None, "first", "")]
    for move in moves:
        if move is None and len(stack) > 1 and stack[-1] != stack[-2]:
            stack.pop()
            history.append(Release(identity(stack[-1]), None, "rollback", ""))
        elif move is not None and move != stack[-1]:
            stack.append(move)
            history.append(Release(identity(move), identity(7), "promote", ""))
    found = Channel(NAME, tuple(history))
    assert [int(each.live, 16) for each in found.standing] == stack
