"""`ontogeny forget` erases one user everywhere, shows it, and touches nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from feedback.ledger_rows import exchange, rating
from support.shelf import Command, identity, leave, on_the_shelf, put

from ontogeny.base.artifact import Record, describe_files
from ontogeny.base.inventory import take_inventory
from ontogeny.base.store import Store
from ontogeny.feedback.exchange import write_export
from ontogeny.feedback.ledger import Ledger

MARK = "zebra7731"


def holding(store: Store, number: int, files: dict[str, str], kind: str, *names: str) -> None:
    """An artifact that holds these files."""
    directory = put(store, number, (), *names, kind=kind)
    for name, text in files.items():
        (directory / name).write_text(text)
    (directory / "record.json").unlink()
    Record(
        id=identity(number),
        name=names[0],
        kind=kind,
        stage=kind,
        version=1,
        config={},
        parents=[],
        seed=0,
        metrics={},
        summary=[],
        cost={},
        files=describe_files(directory),
        code="c",
        execution={},
    ).write(directory)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with Ledger.open(path, secret=b"s" * 32) as made:
        ann, bob = made.pseudonym("", "ann"), made.pseudonym("app", "bob")
        for number in range(3):
            made.add([exchange(f"a{number}", ann, MARK), exchange(f"b{number}", bob)])
            made.add([], [rating(f"a{number}", ann, f"k{number}")])
            made.add([], [rating(f"b{number}", bob, f"k{number}")])
    return path


@pytest.fixture
def store(tmp_path: Path, ledger: Path) -> Store:
    """1 names ann, 2 bob; 3 pairs of 1; 4 model of 3 and its measurement 5; 6 a gate; 7 a bundle;
    8 model of 4; 9 model of 2; 10 pairs of both."""
    store = Store.create(tmp_path / "life")
    with Ledger.read(ledger) as made:
        ann, bob = made.pseudonym("", "ann"), made.pseudonym("app", "bob")
    holding(
        store, 1, {"people.json": json.dumps({ann: ["r1"]}), "pairs.jsonl": MARK}, "harvest", "h"
    )
    holding(store, 2, {"people.json": json.dumps({bob: ["r2"]})}, "harvest", "other")
    put(store, 3, (1,), "pairs", kind="pairs")
    put(store, 4, (3,), "dpo", kind="model")
    put(store, 5, (4,), "dpo.measured", kind="measurement")
    put(store, 6, (5, 3), "gate", kind="gate")
    put(store, 7, (4,), "bundle", kind="bundle")
    put(store, 8, (4,), "dpo2", kind="model")
    put(store, 9, (2,), "bobs", kind="model")
    put(store, 10, (1, 2), "both", kind="pairs")
    leave(store, 11, "unfinished", (3,))
    leave(store, 12, "another", (2,))
    leave(store, 14, "killed", (), checkpoint=False)
    return store


@pytest.fixture
def forget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs `ontogeny forget --store life --ledger ledger.db`."""
    run = on_the_shelf("forget", monkeypatch, capsys, tmp_path)
    return lambda *words: run("--ledger", str(tmp_path / "ledger.db"), *words)


def lying(store: Store) -> list[int]:
    return sorted(int(path.name, 16) for path in store.artifacts.iterdir())


def bytes_below(*roots: Path) -> bytes:
    return b"".join(p.read_bytes() for root in roots for p in root.rglob("*") if p.is_file())


def test_a_dry_run_says_all_and_erases_nothing(forget: Command, store: Store, ledger: Path) -> None:
    before = ledger.read_bytes()
    code, out, _ = forget("--user", "ann", "--dry-run")
    assert code == 0
    assert "would erase 3 exchanges and 3 ratings" in out
    assert "would erase 3 artifacts" in out and "would erase 2 unfinished stages" in out
    assert lying(store) == list(range(1, 11)) and ledger.read_bytes() == before


def test_what_holds_text_goes_and_models_are_told(
    forget: Command, store: Store, ledger: Path
) -> None:
    code, out, err = forget("--user", "ann")
    assert (code, err) == (0, "")
    assert lying(store) == [2, 4, 5, 6, 7, 8, 9]
    assert "erased 3 exchanges and 3 ratings" in out
    assert f"dpo ({identity(4)}) learnt from this user and stays" in out
    assert f"dpo2 ({identity(8)}) learnt" in out and "bobs" not in out
    assert out.splitlines()[-1] == (
        "looked again through 3 exchanges, 3 ratings, 1 artifact of 7 that can name users: "
        "0 rows of this user left"
    )
    assert MARK.encode() not in bytes_below(ledger.parent)
    with Ledger.read(ledger) as left:
        ann, bob = left.pseudonym("", "ann"), left.pseudonym("app", "bob")
        assert {each.user for each in left.rows()[0]} == {bob}
    assert ann.encode() not in bytes_below(store.artifacts, store.work, store.names)
    assert set(store.named()) == {"other", "dpo", "dpo.measured", "gate", "bundle", "dpo2", "bobs"}
    assert [each.name for each in take_inventory(store).unfinished] == ["another"]


def test_a_second_run_finds_nothing(forget: Command, store: Store) -> None:
    forget("--user", "ann")
    before = lying(store)
    code, out, _ = forget("--user", "ann")
    assert code == 0 and lying(store) == before
    assert "erased 0 exchanges and 0 ratings" in out and "erased 0 artifacts, 0 B" in out
    assert out.endswith("0 rows of this user left\n") and "--key" not in out


def test_a_clean_afterwards_takes_what_is_missing_for_no_damage(
    forget: Command, store: Store, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path
) -> None:
    forget("--user", "ann")
    clean = on_the_shelf("clean", monkeypatch, capsys, tmp_path)
    code, out, _ = clean("--drop", "bobs", "--yes")
    assert code == 0 and "nobody knows" not in out
    assert lying(store) == [2, 4, 5, 6, 7, 8]


def test_with_models_they_go_but_for_a_live_one(forget: Command, store: Store) -> None:
    release = {"live": identity(8), "gate": None, "why": "first", "at": "2026-01-01T00:00:00+00:00"}
    row = {"live": identity(8), "history": [release], "canary": None, "shadow": None}
    store.channels.mkdir()
    (store.channels / "released.json").write_text(json.dumps(row))
    code, out, err = forget("--user", "ann", "--models")
    assert code == 2
    assert "'dpo2' is live in the channel released" in err and err.count("\n") == 1
    assert lying(store) == [2, 8, 9]
    assert "0 rows of this user left" in out
    (store.channels / "released.json").write_text(json.dumps(row).replace(identity(8), identity(9)))
    code, out, err = forget("--user", "ann", "--models")
    assert (code, err) == (0, "") and lying(store) == [2, 9]


def test_traffic_that_names_the_user_goes_too(forget: Command, store: Store, ledger: Path) -> None:
    with Ledger.read(ledger) as made:
        exchanges, ratings = made.rows()
    payload = store.root.parent / "payload"
    payload.mkdir()
    write_export(payload, exchanges, ratings)
    files = {path.name: path.read_text() for path in payload.iterdir()}
    for path in payload.iterdir():
        path.unlink()
    holding(store, 13, files, "traffic", "traffic")
    assert forget("--user", "ann")[0] == 0
    assert 13 not in lying(store)


def test_models_are_known_by_who_is_forgotten_later(forget: Command, store: Store) -> None:
    """The harvest that named both of two users went with the first of them."""
    with Ledger.read(store.root.parent / "ledger.db") as made:
        both = {made.pseudonym("", "ann"): [], made.pseudonym("app", "bob"): []}
    holding(store, 21, {"people.json": json.dumps(both)}, "harvest", "joint")
    put(store, 22, (21,), "jointly", kind="model")
    assert forget("--user", "ann")[0] == 0
    code, out, _ = forget("--user", "bob", "--key", "app", "--models")
    assert code == 0 and lying(store) == [4, 5, 6, 7, 8]
    assert "0 rows of this user left" in out


def test_a_user_behind_a_key_is_another(forget: Command, store: Store) -> None:
    code, out, _ = forget("--user", "bob")
    assert code == 0 and "erased 0 exchanges" in out and "--key says whose" in out
    assert lying(store) == list(range(1, 11))
    code, out, _ = forget("--user", "bob", "--key", "app", "--json")
    told = json.loads(out)
    assert (told["exchanges"], told["ratings"], told["left"]["artifacts"]) == (3, 3, 0)
    assert [each["id"] for each in told["artifacts"]] == [identity(2), identity(10)]
    assert [each["name"] for each in told["models"]] == ["bobs"]


def test_what_cannot_be_read_is_no_proof(forget: Command, store: Store) -> None:
    (store.path(identity(2)) / "record.json").write_text("{")
    code, _, err = forget("--user", "ann")
    assert code == 3 and "nobody knows whom it names" in err and identity(2) in err


@pytest.mark.parametrize("words", [["--ledger", "none.db", "--user", "ann"], ["--user"], []])
def test_a_mistake_is_one_line(forget: Command, store: Store, words: list[str]) -> None:
    assert lying(store)
    code, out, err = forget(*words)
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_a_store_in_use_is_left_alone(forget: Command, store: Store, ledger: Path) -> None:
    with store.locked():
        code, _, err = forget("--user", "ann")
    assert code == 2 and "using this store" in err
    with Ledger.read(ledger) as left:
        assert left.counts() == (6, 6)
