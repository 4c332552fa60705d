"""`ontogeny harvest`: from a ledger to what a model learns, and what was left out, in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from feedback.votes import Traffic, user
from support.bench import Bench, lines, sometimes_right

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.bridge.models import save_model
from ontogeny.cli.app import run_app
from ontogeny.feedback.ledger import Ledger
from ontogeny.run.request import request
from ontogeny.stages.harvest import Harvest


def fill(path: Path, first: int, count: int) -> None:
    """So many users who prefer one answer and like another, in a ledger."""
    traffic = Traffic()
    for n in range(first, first + count):
        traffic.said(user(n), f"Which, {n}?", f"This {n}.", f"That {n}.", preferred=0)
        traffic.said(user(n), f"Is {n} nice?", f"Yes, {n}.", score=1.0)
    traffic.said(user(first), "Hm?", "Yes.", score=0.1)
    with Ledger.open(path, secret=b"s" * 32) as ledger:
        ledger.add(traffic.exchanges, traffic.ratings)


def harvest(root: Path, *arguments: str) -> int:
    ledger = ["--ledger", str(root / "ledger.db"), "--store", str(root / "life")]
    return run_app(["harvest", *ledger, *arguments])


def test_a_harvest_is_told_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "ledger.db", 0, 30)
    assert harvest(tmp_path) == 0
    first = capsys.readouterr()
    assert "30 conversations and 30 preference pairs from 61 ratings by 30 users" in first.out
    assert "left out: 1 undecided" in first.out
    assert "learn from it: ontogeny harvest --ledger" in first.out
    assert (
        "the next round: ontogeny harvest --ledger" in first.out and "--since harvest" in first.out
    )
    harvest(tmp_path, "--name", "again")
    assert "exists" in capsys.readouterr().err
    named = Store.open(tmp_path / "life").named()
    assert named["harvest"] == named["again"]
    stage = Harvest(ledger=str(tmp_path / "ledger.db"))
    assert named["harvest"] == request(stage, (), name="h", seed=0, settings=[]).id


def model(bench: Bench) -> Artifact:
    save_model(bench.payload(), sometimes_right(64), bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def test_with_a_model_it_is_made_ready_to_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = model(Bench(tmp_path))
    fill(tmp_path / "ledger.db", 0, 30)
    harvest(tmp_path, "--model", known.id, "--heldout", "0.3", "--json")
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["harvest", "pairs", "conversations"]
    store = Store.open(tmp_path / "life")
    for kind in ("pairs", "conversations"):
        made = store.resolve(f"harvest/{kind}")
        assert made.record.parents == [told["harvest"]["id"], known.id]
        kept = [made.metrics[f"kept.{split}"] for split in ("train", "heldout")]
        assert sum(kept) == 30 and all(kept)
    harvest(tmp_path, "--model", known.id, "--heldout", "0.3")
    out = capsys.readouterr().out
    assert "pairs: " in out and "tokens to train on" in out and "removed.parquet" in out
    assert "no exam's questions were looked for" in out and "another harvest" not in out
    harvest(tmp_path)
    assert "another harvest" not in capsys.readouterr().out
    harvest(tmp_path, "--model", known.id, "--set", "least_sure=0.95")
    out = capsys.readouterr().out
    assert "harvest/pairs is still that of another harvest" in out


def test_the_next_round_takes_newer_votes_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "ledger.db", 0, 10)
    harvest(tmp_path)
    fill(tmp_path / "ledger.db", 50, 3)
    harvest(tmp_path, "--since", "harvest", "--name", "second")
    store = Store.open(tmp_path / "life")
    second = store.resolve("second")
    assert len(lines(second, "pairs.jsonl")) == 3
    row = int(store.resolve("harvest").metric("until"))
    harvest(tmp_path, "--since", str(row), "--name", "by-row")
    assert store.resolve("by-row").id == second.id
    harvest(tmp_path, "--since", "second", "--name", "third")
    assert "nothing to learn yet" in capsys.readouterr().out


def test_numbers_can_be_set(tmp_path: Path) -> None:
    fill(tmp_path / "ledger.db", 0, 10)
    harvest(tmp_path, "--set", "least_sure=0.9", "--set", "most_votes=7")
    made = Store.open(tmp_path / "life").resolve("harvest")
    assert made.record.config["most_votes"] == 7 and made.metric("kept.pairs") == 0


def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ledger here"):
        harvest(tmp_path)
    assert not (tmp_path / "life").exists()
    fill(tmp_path / "ledger.db", 0, 2)
    for arguments, reason in (
        (("--name", "a b"), "'a b' is no name"),
        (("--model", "absent"), "no artifact is called 'absent'"),
        (("--tasks", "absent"), "no artifact is called 'absent'"),
        (("--since", "99"), "the ledger has 10 rows"),
        (("--since", "absent"), "no artifact is called 'absent'"),
        (("--set", "most_votes=0"), "most_votes is at least 1"),
        (("--set", "most_vote=1"), "did you mean 'most_votes'"),
        (("--set", "copies"), "not of the form"),
        (("--set", "since=3"), "an option of its own"),
        (("--heldout", "1", "--model", "absent"), "heldout is 1"),
    ):
        with pytest.raises(InputError, match=reason):
            harvest(tmp_path, *arguments)
    assert Store.open(tmp_path / "life").named() == {}
