"""An inventory names everything in a store and fails at nothing that is damaged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.shelf import EVENING, NOON, identity, leave, put

from ontogeny.base.inventory import holder, size_of, take_inventory
from ontogeny.base.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def test_sizes_are_those_on_the_disk_and_links_count_as_themselves(
    store: Store, tmp_path: Path
) -> None:
    path = put(store, 1, (), "a", size=5000)
    record = (path / "record.json").stat().st_size
    assert take_inventory(store).entries[identity(1)].size == 5000 + record
    (tmp_path / "link").symlink_to(path)
    assert size_of(tmp_path / "link") == (tmp_path / "link").lstat().st_size < 5000
    assert size_of(tmp_path / "nothing") == 0


def test_a_damaged_file_leaves_the_lineage_known_and_a_damaged_record_does_not(
    store: Store,
) -> None:
    put(store, 1)
    (put(store, 2, (1,)) / "deep" / "bytes.bin").write_bytes(b"short")
    broken = put(store, 3, (1,)) / "record.json"
    broken.write_text(broken.read_text().replace('"seed": 0', '"seed": 1'))
    (put(store, 4) / "record.json").unlink()
    os.rename(put(store, 6), store.path(identity(5)))
    entries = take_inventory(store).entries
    assert [entry.error is None for entry in entries.values()] == [True, False, False, False, False]
    known = [entry.record.parents if entry.record else None for entry in entries.values()]
    assert known == [[], [identity(1)], None, None, None]


def test_names_that_say_nothing_are_told_and_the_others_are_read(store: Store) -> None:
    put(store, 1, (), "good", "deep/er")
    for name, content in {"torn": "{", "list": "[]", "number": '{"id": 1}'}.items():
        (store.names / f"{name}.json").write_text(content)
    found = take_inventory(store)
    assert found.names == {"deep/er": identity(1), "good": identity(1)}
    assert sorted(found.unreadable) == ["list", "number", "torn"]
    assert found.names_of(identity(1)) == ["deep/er", "good"]


def test_work_is_resumable_only_with_a_request_and_a_whole_checkpoint(store: Store) -> None:
    leave(store, 1, "base", (7,), touched=EVENING)
    leave(store, 2, "sft", checkpoint=False)
    (leave(store, 3, "dpo") / "request.json").write_text("{")
    (leave(store, 4, "x") / "request.json").write_text(json.dumps({"name": "../x", "parents": []}))
    (store.work / identity(5)).mkdir()
    found = {work.id: work for work in take_inventory(store).unfinished}
    assert [work.resumable for work in found.values()] == [True, False, False, False, False]
    first = found[identity(1)]
    assert (first.name, first.parents, first.touched) == ("base", (identity(7),), EVENING)
    assert [work.name for work in found.values()] == ["base", "sft", None, None, None]
    assert found[identity(2)].touched == NOON


def test_what_is_not_ours_is_named_apart_from_what_is_left_over(store: Store) -> None:
    (store.artifacts / "notes.txt").write_text("mine")
    (store.work / "experiment").mkdir()
    (store.work / f"{identity(1)}.gone").mkdir()
    (store.work / "a%2Fb.name.gone").write_text("{}")
    (store.names / ".base.json.1.tmp").touch()
    (store.root / ".store.json.1.tmp").touch()
    found = take_inventory(store)
    assert [path.name for path in found.foreign] == ["notes.txt", "experiment"]
    assert len(found.leftovers) == 4
    assert found.given_up == {"a/b"}
    assert not found.entries


def test_a_store_without_its_directories_is_empty(store: Store) -> None:
    for directory in (store.artifacts, store.work, store.names, store.plans):
        directory.rmdir()
    assert not take_inventory(store).entries


HOLD = """
import sys, time
from pathlib import Path
from ontogeny.base.store import Store
with Store(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_holder_of_the_lock_is_known_while_it_lives(store: Store) -> None:
    assert holder(store) is None
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    held = holder(store)
    process.kill()
    process.communicate()
    assert held is not None
    assert held["pid"] == process.pid
    assert (store.root / "lock").read_text()  # the words of the dead stay
    assert holder(store) is None
