"""The library's desk: every task has one right outcome, and each split its own tasks."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ontogeny.environments.desk import digest, gold
from ontogeny.environments.environment import SPLITS
from ontogeny.environments.errands import DESKS, TIERS, desk
from ontogeny.environments.library import MOST_RENEWALS, OPERATIONS, POLICY, REASONS, library
from ontogeny.environments.session import Call

EVERY = pytest.mark.parametrize("each", DESKS.values(), ids=DESKS)


@EVERY
def test_the_judge_is_proved_on_every_split(each) -> None:
    each.validate(30)


@EVERY
def test_every_gold_call_succeeds(each) -> None:
    for task in each.tasks("train", 100, 3):
        session = each.session(task)
        outcomes = [session.call(call.name, call.arguments) for call in gold(task)]
        assert [outcome.output for outcome in outcomes if not outcome.ok] == []


@EVERY
def test_splits_share_no_problem_whatever_the_seed(each) -> None:
    prompts = {s: {t.prompt for seed in (0, 1) for t in each.tasks(s, 40, seed)} for s in SPLITS}
    assert all(prompts[a].isdisjoint(prompts[b]) for a, b in itertools.combinations(SPLITS, 2))
    assert len(prompts["exam"]) > 60
    assert each.tasks("exam", 20, 0) == each.tasks("exam", 20, 0)
    assert each.tasks("train", 20, 0) != each.tasks("train", 20, 1)


def test_the_order_of_wishes_does_not_matter() -> None:
    each, source = desk(3), random.Random(0)
    for task in each.tasks("train", 60, 0):
        calls = [call for call in gold(task) if OPERATIONS[call.name].tool.changes]
        source.shuffle(calls)
        assert each.judge(task, calls, [task.answer]) == 1.0


def test_every_wish_and_every_reason_to_decline_is_asked_for() -> None:
    tasks = [task for n in TIERS for task in desk(n).tasks("train", 200, 0)]
    used = {call.name for task in tasks for call in gold(task)}
    assert used == set(OPERATIONS)
    reasons = [c.arguments["reason"] for t in tasks for c in gold(t) if c.name == "decline"]
    assert set(reasons) == set(REASONS)
    assert max(map(reasons.count, REASONS)) < len(tasks) / 3


def test_no_constant_answers_a_question() -> None:
    tasks = [t for t in desk(1).tasks("train", 600, 0) if t.meta["wishes"] == ["count"]]
    said = [task.answer for task in tasks]
    assert len(said) > 30
    assert max(map(said.count, said)) < 0.5 * len(said)


def test_a_base_follows_from_its_seed_and_is_consistent() -> None:
    assert digest(library(7)) == digest(library(7)) != digest(library(8))
    for seed in range(200):
        base = library(seed)
        assert json.loads(json.dumps(base)) == base
        books = [loan["book"] for loan in base["loans"].values()]
        assert len(set(books)) == len(books)
        assert all(loan["renewals"] <= MOST_RENEWALS for loan in base["loans"].values())
        for hold in base["holds"].values():
            mine = [x["book"] for x in base["loans"].values() if x["member"] == hold["member"]]
            assert hold["book"] not in mine


def test_an_order_in_a_readers_note_is_held_back() -> None:
    each = desk(1)
    for task in each.tasks("train", 200, 0):
        base = each.base(task)
        for book in base["books"].values():
            loan = book["note"].split()[-1].rstrip(".")
            if loan in base["loans"] and loan not in task.prompt:
                session = each.session(task)
                session.call("find_book", {"title": book["title"]})
                outcome = session.call("give_back", {"loan": loan})
                assert not outcome.ok
                assert outcome.output.startswith("refused: ")
                assert session.base == base
                return
    raise AssertionError("no note spells an order")


@pytest.mark.parametrize(
    "call",
    [
        Call("find_member", {"name": "Nobody"}),
        Call("find_book", {"title": ""}),
        Call("loans_of", {"member": "M0"}),
        Call("holds_of", {"member": "M0"}),
        Call("renew", {"loan": "L0"}),
        Call("give_back", {"loan": "L0"}),
        Call("hold", {"member": "M0", "book": "B0"}),
        Call("drop_hold", {"hold": "H0"}),
        Call("move", {"member": "M0", "street": "X"}),
        Call("decline", {"reason": "tired"}),
        Call("burn", {}),
    ],
)
def test_a_call_that_cannot_be_done_says_why_and_changes_nothing(call: Call) -> None:
    (task,) = desk(1).tasks("train", 1, 0)
    session = desk(1).session(task)
    before = digest(session.base)
    outcome = session.call(call.name, call.arguments)
    assert not outcome.ok
    assert "broke" not in outcome.output
    assert digest(session.base) == before


def test_the_policy_names_every_reason() -> None:
    assert all(f"reason {reason}" in POLICY for reason in REASONS)


def test_the_environment_of_the_docs_is_right() -> None:
    """It validates itself in its last line."""
    text = (Path(__file__).parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")
    (code,) = (
        each for each in re.findall(r"```python\n(.*?)```", text, re.S) if "validate" in each
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
