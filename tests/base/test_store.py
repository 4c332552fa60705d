"""Artifacts are whole or absent, and no damaged byte is used."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from ontogeny.base.artifact import RECORD, Artifact, Record, describe_files
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.store import Store, valid_name


def publish(store: Store, identity: str = "0123456789abcdef", name: str = "corpus") -> Artifact:
    payload = store.work / identity / "payload"
    (payload / "deep").mkdir(parents=True)
    (payload / "a.txt").write_bytes(b"alpha" * 100)
    (payload / "deep" / "b.bin").write_bytes(bytes(range(256)))
    record = Record(
        id=identity,
        name=name,
        kind="corpus",
        stage="prepare",
        version=1,
        config={"x": 1},
        parents=[],
        seed=0,
        metrics={"documents": 3, "bpb": {"estimate": 1.5, "low": 1.4, "high": 1.6}},
        summary=[],
        cost={"seconds": 1.0, "tokens": 0.0, "flops": 0.0},
        files=describe_files(payload),
        code="c",
        execution={"finished": "2026"},
    )
    artifact = store.publish(record)
    store.set_name(name, identity)
    return artifact


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "life")


def test_a_published_artifact_is_found_by_name_id_and_prefix(store: Store) -> None:
    artifact = publish(store)
    assert [store.resolve(r).id for r in ("corpus", artifact.id, "0123")] == [artifact.id] * 3
    assert artifact.file("deep/b.bin").read_bytes() == bytes(range(256))
    assert artifact.metric("bpb") == 1.5
    assert artifact.holds("documents", at_least=3, at_most=3)
    assert not list(store.work.iterdir())


def test_every_flipped_bit_is_found_before_use(store: Store) -> None:
    original = publish(store).path
    draw = random.Random(0)
    names = [RECORD, "a.txt", "deep/b.bin"]
    for trial in range(100):
        copy = store.root / f"copy{trial}"
        shutil.copytree(original, copy)
        victim = copy / draw.choice(names)
        data = bytearray(victim.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        victim.write_bytes(data)
        with pytest.raises(CorruptArtifact):
            Artifact.open(copy).verify()
        shutil.rmtree(copy)


def test_every_truncation_is_found_and_names_file_and_sizes(store: Store) -> None:
    artifact = publish(store)
    victim = artifact.path / "a.txt"
    whole = victim.read_bytes()
    for size in range(0, len(whole), 25):
        victim.write_bytes(whole[:size])
        with pytest.raises(CorruptArtifact, match=rf"a\.txt:1: {size} bytes, 500 expected"):
            store.get(artifact.id)


def test_missing_extra_and_swapped_files_are_refused_by_name(store: Store) -> None:
    artifact = publish(store)
    (artifact.path / "extra").write_bytes(b"")
    with pytest.raises(CorruptArtifact, match="extra:1: the file is not listed"):
        store.get(artifact.id)
    (artifact.path / "extra").unlink()
    (artifact.path / "a.txt").rename(store.root / "a.txt")
    with pytest.raises(CorruptArtifact, match=r"a\.txt:1: the file is missing"):
        store.get(artifact.id)
    (artifact.path / "a.txt").symlink_to(store.root / "a.txt")
    with pytest.raises(CorruptArtifact):
        store.get(artifact.id).verify()


def test_an_artifact_in_the_place_of_another_is_refused(store: Store) -> None:
    artifact = publish(store)
    os.rename(artifact.path, store.artifacts / "ffffffffffffffff")
    with pytest.raises(CorruptArtifact, match="the record is of artifact 0123"):
        store.get("ffffffffffffffff")


def test_names_that_could_leave_the_store_are_invalid() -> None:
    assert valid_name("chat/0") and valid_name("base-1.b_c")
    for name in ("", "../x", "/x", "a//b", "a/", ".hidden", "a b", "a\n", "x" * 101, "é"):
        assert not valid_name(name), name


def test_an_artifact_without_its_record_is_damaged_and_not_absent(store: Store) -> None:
    artifact = publish(store)
    (artifact.path / RECORD).unlink()
    assert store.has(artifact.id)
    with pytest.raises(CorruptArtifact, match=r"record\.json:1: cannot be read"):
        store.get(artifact.id)
    whole, damaged = store.all()
    assert (whole, len(damaged)) == ([], 1)


def test_an_unknown_reference_says_what_there_is(store: Store) -> None:
    publish(store)
    with pytest.raises(InputError, match="no artifact is called 'base'; the store has corpus"):
        store.resolve("base")


def test_of_many_names_those_alike_are_told(store: Store) -> None:
    for number in range(90):
        store.set_name(f"measure/{number}", "0" * 16)
    store.set_name("base", "0" * 16)
    with pytest.raises(InputError, match=r"the store has base and 90 more \(ontogeny list\)"):
        store.resolve("bases")
    with pytest.raises(InputError, match="and 71 more"):
        store.resolve("zzz")


def test_a_store_of_another_format_is_refused(store: Store) -> None:
    (store.root / "store.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="another format"):
        Store.open(store.root)


def test_a_store_that_is_a_file_or_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot make this directory"):
        Store.create(tmp_path / "file")
    with pytest.raises(InputError, match="no store here"):
        Store.open(tmp_path / "nothing")


def test_work_whose_artifact_was_already_published_is_cleared(store: Store) -> None:
    artifact = publish(store)
    (store.work / artifact.id).mkdir()
    (store.work / "feedfeedfeedfeed").mkdir()
    (store.names / ".base.json.123.tmp").touch()
    store.clear_leftovers()
    assert [path.name for path in store.work.iterdir()] == ["feedfeedfeedfeed"]
    assert [path.name for path in store.names.iterdir()] == ["corpus.json"]
