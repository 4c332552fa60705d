"""`ontogeny clean` says exactly what would go, and deletes only when told to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.shelf import EVENING, NOON, Command, identity, leave, on_the_shelf, put

from ontogeny.base.store import Store
from ontogeny.report.life import Life, Named, write_life


@pytest.fixture
def clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs `ontogeny clean` on the store life."""
    return on_the_shelf("clean", monkeypatch, capsys, tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "life")
    put(store, 1, (), "corpus")
    put(store, 2, (1,), "old/base", "base")
    put(store, 3, (2,), "old/sft", size=5000)
    put(store, 4, (2,), size=9000)
    return store


def lying(store: Store) -> list[int]:
    return sorted(int(path.name, 16) for path in store.artifacts.iterdir())


def test_without_yes_it_tells_and_deletes_nothing(clean: Command, store: Store) -> None:
    code, out, _ = clean("--drop", "old")
    assert code == 0
    assert lying(store) == [1, 2, 3, 4]
    assert set(store.named()) == {"corpus", "base", "old/base", "old/sft"}
    lines = out.splitlines()
    assert "its artifact stays, base means it too" in lines[0]
    assert "once stage-4" in lines[1] and identity(4) in lines[1]
    assert "old/sft" in lines[2] and identity(3) in lines[2]
    assert lines[3].startswith("2 names, 2 artifacts: 15.")
    assert lines[3].endswith(" kB would be freed")
    assert lines[4] == "nothing deleted; add --yes"


def test_with_yes_it_does_what_it_told(clean: Command, store: Store) -> None:
    told = clean("--drop", "old")[1].splitlines()
    code, out, _ = clean("--drop", "old", "--yes")
    assert code == 0
    assert out.splitlines() == [*told[:3], told[3].replace("would be freed", "freed")]
    assert lying(store) == [1, 2]
    assert set(store.named()) == {"corpus", "base"}
    assert clean("--yes")[1] == "nothing to delete\n"
    event = json.loads(store.events.read_text().splitlines()[-1])
    assert event["event"] == "cleaned"
    assert [each["id"] for each in event["artifacts"]] == [identity(4), identity(3)]


def test_a_drop_that_means_nothing_is_one_line(clean: Command, store: Store) -> None:
    for yes in ((), ("--yes",)):
        code, out, err = clean("--drop", "bsae", *yes)
        assert (code, out) == (2, "")
        assert err == (
            "error: command line:5: --drop bsae: no such name and none below it; "
            "did you mean 'base'?\n"
        )
    assert lying(store) == [1, 2, 3, 4]


HOLD = """
import sys, time
from pathlib import Path
from ontogeny.base.store import Store
with Store(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_beside_a_run_it_tells_and_refuses_to_delete(clean: Command, store: Store) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        dry = clean()
        refused = clean("--yes")
    finally:
        process.kill()
        process.communicate()
    assert dry[0] == 0
    assert f"a run (pid {process.pid}) is using this store" in dry[1]
    assert refused[0] == 2
    assert f"another run (pid {process.pid}) is using this store" in refused[2]
    assert refused[2].count("\n") == 1
    assert lying(store) == [1, 2, 3, 4]


def test_unfinished_work_says_why_it_stays_or_goes(clean: Command, store: Store) -> None:
    put(store, 5, (1,), "code", finished=EVENING)
    leave(store, 7, "long", (2,))
    leave(store, 8, "code", (1,), touched=NOON)
    _, out, _ = clean()
    assert f"kept: unfinished long {identity(7)}" in out
    assert "`--drop long` gives it up" in out
    assert f"code means {identity(5)} by now, which was made later" in out
    assert clean("--yes")[0] == 0
    assert [path.name for path in store.work.iterdir()] == [identity(7)]
    assert clean("--drop", "long", "--yes")[0] == 0
    assert not list(store.work.iterdir())


def test_a_lost_lineage_keeps_every_artifact_and_says_so(clean: Command, store: Store) -> None:
    (store.path(identity(3)) / "record.json").write_text("{}")
    _, out, _ = clean("--yes")
    assert lying(store) == [1, 2, 3, 4]
    assert f"the record of {identity(3)}, which old/sft stands on, cannot be read" in out
    assert "otherwise 1 artifact" in out
    clean("--drop", "old/sft", "--yes")
    assert lying(store) == [1, 2]


def test_a_damaged_artifact_that_is_needed_stays_and_is_named(clean: Command, store: Store) -> None:
    (store.path(identity(1)) / "deep" / "bytes.bin").write_bytes(b"")
    (store.path(identity(4)) / "deep" / "bytes.bin").write_bytes(b"")
    _, out, _ = clean("--yes")
    assert f"kept: {identity(1)} is damaged, but base stands on it" in out
    assert "model, damaged" in out
    assert lying(store) == [1, 2, 3]


def test_a_report_that_cannot_be_made_again_is_told_before(clean: Command, store: Store) -> None:
    write_life(store, Life("evidence", "10m", 0, (Named("x", identity(4)),)))
    write_life(store, Life("quickstart", "10m", 0, (Named("base", identity(2)),)))
    _, out, _ = clean()
    assert "`ontogeny report --recipe evidence` cannot be made again" in out
    assert "--recipe quickstart" not in out


def test_json_tells_the_same(clean: Command, store: Store) -> None:
    value = json.loads(clean("--drop", "old", "--json")[1])
    assert value["names"] == ["old/base", "old/sft"]
    assert {each["id"] for each in value["artifacts"]} == {identity(3), identity(4)}
    assert value["bytes"] == sum(each["bytes"] for each in value["artifacts"])
    assert value["deleted"] is False
    assert json.loads(clean("--drop", "old", "--json", "--yes")[1]) == value | {"deleted": True}
    assert lying(store) == [1, 2]
