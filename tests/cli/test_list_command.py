"""`ontogeny list` is the inventory: every artifact under the names that mean it now."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.shelf import Command, identity, leave, on_the_shelf, put

from ontogeny.base.store import Store
from ontogeny.cli.amounts import age_text, columns, counted, size_text


@pytest.fixture
def listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs `ontogeny list` on the store life."""
    return on_the_shelf("list", monkeypatch, capsys, tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "life")
    now = datetime.now(UTC)
    put(store, 1, (), "corpus", kind="corpus", size=2_500_000, finished=now - timedelta(days=2.5))
    put(store, 2, (1,), finished=now - timedelta(hours=3.5))
    put(store, 3, (2,), "sft", "chat/best", finished=now - timedelta(minutes=4.5))
    put(store, 4, (2,), size=7_000, finished=now)
    return store


def test_a_line_each_with_names_id_kind_size_age_and_cost(listed: Command, store: Store) -> None:
    code, out, _ = listed()
    lines = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert code == 0
    assert cells[1] == ["corpus", identity(1), "corpus", "2.5 MB", "2 d", "12.5 s"]
    assert cells[2][:2] == ["(unnamed)", identity(2)]
    assert cells[2][-3:] == ["3 h", "12.5 s", "chat/best stands on it"]
    assert cells[3][0] == "chat/best, sft"
    assert cells[3][4] == "4 min"
    assert cells[4][-1] == "not needed"
    freed = sum(path.stat().st_size for path in store.path(identity(4)).rglob("*.*"))
    assert out.splitlines()[-1] == (
        f"4 artifacts, 2.5 MB; `ontogeny clean` would free {size_text(freed)}"
    )
    assert "summary of" not in out


def test_a_kind_narrows_it_and_an_unknown_one_is_one_line(listed: Command, store: Store) -> None:
    code, out, _ = listed("--kind", "corpus")
    assert (code, out.count(identity(1)), out.count(identity(3))) == (0, 1, 0)
    assert "1 artifact, 2.5 MB" in out
    code, out, err = listed("--kind", "modle")
    assert (code, out) == (2, "")
    assert err == (
        f"error: command line:5: --kind modle: no artifact in {store.root} is of this kind; "
        "it has corpus, model\n"
    )


def test_unfinished_work_is_listed_with_what_a_run_would_do(listed: Command, store: Store) -> None:
    leave(store, 8, "dpo", (3,))
    leave(store, 9, "grpo", (3,), checkpoint=False)
    _, out, _ = listed()
    tail = out[out.index("unfinished") :].splitlines()
    assert "dpo" in tail[1] and "goes on from its checkpoint" in tail[1]
    assert "grpo" in tail[2] and "begins it again" in tail[2]


def test_what_is_damaged_is_listed_and_the_exit_is_3_after_all_was_printed(
    listed: Command, store: Store
) -> None:
    (store.path(identity(3)) / "deep" / "bytes.bin").write_bytes(b"")
    (store.path(identity(1)) / "record.json").write_text("{")
    for as_json in (False, True):
        code, out, err = listed(*(("--json",) if as_json else ()))
        assert code == 3
        assert all(identity(number) in out for number in (1, 2, 3, 4))
        assert "0 bytes, 1000 expected" in out
        assert err.startswith("error: ") and err.count("\n") == 1
        if as_json:
            damaged = [row["id"] for row in json.loads(out)["artifacts"] if row["damaged"]]
            assert sorted(damaged) == [identity(1), identity(3)]
    code, out, _ = listed()
    assert "`ontogeny clean` keeps all artifacts: the record of" in out
    assert "damaged, chat/best" not in out  # it has names of its own


def test_a_name_that_cannot_be_read_is_listed_too(listed: Command, store: Store) -> None:
    (store.names / "torn.json").write_text("{")
    code, out, err = listed()
    assert code == 3
    assert out.count("torn.json") == err.count("torn.json") == 1


def test_json_holds_the_same_as_plain_values(listed: Command, store: Store) -> None:
    leave(store, 9, "grpo", (3,))
    value = json.loads(listed("--json")[1])
    rows = {row["id"]: row for row in value["artifacts"]}
    assert rows[identity(3)]["names"] == ["chat/best", "sft"]
    assert rows[identity(2)]["names"] == []
    assert rows[identity(2)]["needed_by"] == "chat/best"
    assert rows[identity(4)]["needed_by"] is None
    assert value["total_bytes"] == sum(row["bytes"] for row in rows.values())
    assert value["freed_by_clean_bytes"] == rows[identity(4)]["bytes"]
    assert [work["resumable"] for work in value["unfinished"]] == [True]


def test_an_empty_store_and_none_at_all(listed: Command, store: Store) -> None:
    for path in store.artifacts.iterdir():
        shutil.rmtree(path)
    for path in store.names.rglob("*.json"):
        path.unlink()
    code, out, _ = listed()
    assert (code, "the store is empty" in out) == (0, True)
    shutil.rmtree(store.root)
    code, _, err = listed()
    assert (code, "no store here" in err) == (2, True)


def test_amounts_are_written_as_people_write_them() -> None:
    sizes = (0, 999, 1000, 3_449_000, 188_000_000, 999_999, 2.5e12)
    told = ["0 B", "999 B", "1.0 kB", "3.4 MB", "188 MB", "1.0 MB", "2.5 TB"]
    assert [size_text(size) for size in sizes] == told
    now = datetime(2026, 1, 3, tzinfo=UTC)
    ages = [timedelta(seconds=s) for s in (-5, 59.9, 60, 3599, 86_399, 172_800)]
    assert [age_text(now - age, now) for age in ages] == [
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "23 h",
        "2 d",
    ]
    assert age_text(None) == "?"
    assert [counted(1, "name"), counted(1200, "name")] == ["1 name", "1,200 names"]
    assert columns([("a", "1", "x"), ("bcd", "22", "")], right=(1,)) == ["a     1  x", "bcd  22"]
