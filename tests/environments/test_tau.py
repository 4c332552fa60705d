"""Directories in tau2-bench's format become an environment that is scored as they are."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.desk import gold
from ontogeny.environments.playing import play_all, rates
from ontogeny.environments.retail import RETAIL
from ontogeny.environments.scripts import gold_script, scripted
from ontogeny.environments.session import Session
from ontogeny.environments.tau import read_tau
from ontogeny.environments.tooled import Rules
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.tool_calls import speech


def _variant(id_: str, price: float, available: bool = True) -> dict[str, Any]:
    return {"item_id": id_, "options": {"size": id_}, "available": available, "price": price}


def _order(id_: str, status: str, paid_by: str = "card_1") -> dict[str, Any]:
    items = [{"name": "Cup", "product_id": "p1", "item_id": "i1", "price": 10.0, "options": {}}]
    return {
        "order_id": id_,
        "user_id": "ann_1",
        "address": {},
        "items": items,
        "status": status,
        "payment_history": [
            {"transaction_type": "payment", "amount": 10.0, "payment_method_id": paid_by}
        ],
    }


BASE: dict[str, Any] = {
    "products": {
        "p1": {
            "name": "Cup",
            "product_id": "p1",
            "variants": {
                "i1": _variant("i1", 10.0),
                "i2": _variant("i2", 12.5),
                "i3": _variant("i3", 9.0, available=False),
            },
        }
    },
    "users": {
        "ann_1": {
            "user_id": "ann_1",
            "name": {"first_name": "Ann", "last_name": "Lee"},
            "address": {"zip": "123"},
            "email": "ann@example.com",
            "payment_methods": {
                "card_1": {"source": "credit_card", "id": "card_1"},
                "gift_1": {"source": "gift_card", "id": "gift_1", "balance": 2.0},
            },
            "orders": ["#1", "#2", "#3"],
        }
    },
    "orders": {
        "#1": _order("#1", "pending"),
        "#2": _order("#2", "delivered"),
        "#3": _order("#3", "pending", "gift_1"),
    },
}
CANCEL = {
    "name": "cancel_pending_order",
    "arguments": {"order_id": "#1", "reason": "no longer needed"},
}
RETURN = {
    "name": "return_delivered_order_items",
    "arguments": {"order_id": "#2", "item_ids": ["i1"], "payment_method_id": "card_1"},
}
LOOK = {"name": "get_order_details", "arguments": {"order_id": "#2"}}


def row(id_: str, actions: list[Any], say: list[str] | None = None, **more: Any) -> dict[str, Any]:
    told = {"reason_for_call": f"Wish {id_}.", "known_info": "You are Ann.", "unknown_info": None}
    criteria = {"actions": actions, "communicate_info": say or [], "nl_assertions": ["Be kind."]}
    scenario = {"persona": None, "instructions": told}
    return {"id": id_, "user_scenario": scenario, "evaluation_criteria": criteria, **more}


ROWS = [
    row("cancel", [CANCEL]),
    row("return", [LOOK, RETURN]),
    row("ask", [LOOK], ["1,010"]),
    row("kind", [LOOK]),
    row("late", [CANCEL], initial_state={"x": 1}),
    row("fly", [{"name": "book_flight", "arguments": {}}]),
    row("fails", [{**RETURN, "arguments": {**RETURN["arguments"], "order_id": "#1"}}]),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "db.json.gz").write_bytes(gzip.compress(json.dumps(BASE).encode()))
    (tmp_path / "policy.txt").write_text("Be of use.")
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    return tmp_path


def test_tasks_are_read_and_what_cannot_be_judged_is_counted(directory: Path) -> None:
    tau = read_tau(directory, RETAIL, name="shop")
    assert tau.desk.splits == ("exam",)
    assert {task.meta["task"] for task in tau.desk.tasks("exam", 0, 0)} == {
        "cancel",
        "return",
        "ask",
    }
    assert tau.left_out == {
        "nothing is to be changed or said": 2,
        "it begins in a state of its own": 1,
        "there is no tool 'book_flight'": 1,
    }
    tau.desk.validate(count=0)
    with pytest.raises(InputError, match="0 tasks in split train"):
        tau.desk.tasks("train", 1, 0)


def test_the_gold_agent_solves_them_on_the_flow(directory: Path) -> None:
    world = read_tau(directory, RETAIL).desk
    tasks, spoken, rules = world.tasks("exam", 0, 0), speech(byte_tokenizer()), Rules(tokens=500)
    policy = scripted(gold_script, world, tasks, spoken, rules)
    found = rates(play_all(policy, world, tasks, spoken, rules))
    assert (found.solved, found.valid, found.broken) == (1.0, 1.0, 0)
    policy = scripted(lambda _: ["Yes?"], world, tasks, spoken, rules)
    found = rates(play_all(policy, world, tasks, spoken, rules))
    assert (found.solved, found.turns) == (0.0, 4.0)  # the user says yes three times


def test_info_is_found_without_commas_and_capitals(directory: Path) -> None:
    world = read_tau(directory, RETAIL).desk
    task = next(task for task in world.tasks("exam", 0, 0) if task.meta["say"])
    assert [world.judge(task, gold(task), [f"It is ${n}"]) for n in ("1,010", "1010", "101")] == [
        1.0,
        1.0,
        0.0,
    ]


def test_a_json_list_and_plain_files_are_the_same(directory: Path) -> None:
    before = read_tau(directory, RETAIL, name="shop").desk.tasks("exam", 0, 0)
    (directory / "tasks.jsonl").unlink()
    (directory / "db.json.gz").unlink()
    (directory / "tasks.json").write_text(json.dumps(ROWS))
    (directory / "db.json").write_text(json.dumps(BASE))
    assert read_tau(directory, RETAIL, name="shop").desk.tasks("exam", 0, 0) == before


def test_what_examines_is_not_trained_on(directory: Path) -> None:
    found = read_tau(directory, RETAIL, trained=True).desk
    assert sum(len(found.tasks(split, 0, 0)) for split in found.splits) == 3
    folder = directory / "eval" / "shop"
    folder.mkdir(parents=True)
    for file in [each for each in directory.iterdir() if each.is_file()]:
        (folder / file.name).write_bytes(file.read_bytes())
    assert read_tau(folder, RETAIL).desk.splits == ("exam",)
    with pytest.raises(InputError, match="never trained on"):
        read_tau(folder, RETAIL, trained=True)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("tasks.jsonl", b'{"id": "1"}\n', "no task of tau2-bench"),
        ("tasks.jsonl", b"[1]\n", "no task of tau2-bench"),
        ("tasks.jsonl", b"{\n", "no JSON lines"),
        ("tasks.jsonl", b"\xff", "not UTF-8"),
        ("db.json.gz", b"junk", "cannot be read"),
        ("db.json.gz", gzip.compress(b"[]", mtime=0), "no JSON object"),
        ("policy.md", b"another", "2 files match policy"),
    ],
)
def test_bad_files_are_one_line(directory: Path, name: str, data: bytes, reason: str) -> None:
    (directory / name).write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        read_tau(directory, RETAIL)
    assert "\n" not in str(caught.value)


def test_a_missing_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 files match"):
        read_tau(tmp_path / "none", RETAIL)


def after(*calls: tuple[str, dict[str, Any]]) -> tuple[dict[str, Any], list[bool], list[str]]:
    session = Session(RETAIL, copy.deepcopy(BASE), "")
    outcomes = [session.call(name, given) for name, given in calls]
    return session.base, [o.ok for o in outcomes], [o.output for o in outcomes]


SWAP = {"item_ids": ["i1"], "new_item_ids": ["i2"]}


def test_a_shop_gives_back_and_takes_what_things_cost() -> None:
    base, ok, _ = after(
        ("cancel_pending_order", {"order_id": "#3", "reason": "ordered by mistake"}),
        ("modify_pending_order_items", {**SWAP, "order_id": "#1", "payment_method_id": "gift_1"}),
    )
    assert ok == [True, True]
    assert base["users"]["ann_1"]["payment_methods"]["gift_1"]["balance"] == 2.0 + 10.0 - 2.5
    assert base["orders"]["#3"]["payment_history"][-1]["transaction_type"] == "refund"
    assert base["orders"]["#1"]["items"][0]["item_id"] == "i2"
    base, ok, _ = after(
        ("modify_pending_order_payment", {"order_id": "#3", "payment_method_id": "card_1"})
    )
    assert base["users"]["ann_1"]["payment_methods"]["gift_1"]["balance"] == 12.0
    base, ok, _ = after(
        (
            "exchange_delivered_order_items",
            {**SWAP, "order_id": "#2", "payment_method_id": "card_1"},
        )
    )
    assert base["orders"]["#2"]["exchange_price_difference"] == 2.5


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cancel_pending_order", {"order_id": "#2", "reason": "no longer needed"}),
        ("cancel_pending_order", {"order_id": "#1", "reason": "too dear"}),
        ("modify_pending_order_items", {**SWAP, "order_id": "#1", "payment_method_id": "none"}),
        (
            "modify_pending_order_items",
            {
                "order_id": "#1",
                "item_ids": ["i1"],
                "new_item_ids": ["i3"],
                "payment_method_id": "card_1",
            },
        ),
        (
            "modify_pending_order_items",
            {
                "order_id": "#1",
                "item_ids": ["i1", "i1"],
                "new_item_ids": ["i2", "i2"],
                "payment_method_id": "card_1",
            },
        ),
        (
            "exchange_delivered_order_items",
            {**SWAP, "order_id": "#2", "payment_method_id": "gift_1"},
        ),
        (
            "return_delivered_order_items",
            {"order_id": "#2", "item_ids": [], "payment_method_id": "card_1"},
        ),
        ("modify_pending_order_payment", {"order_id": "#1", "payment_method_id": "card_1"}),
        ("modify_pending_order_payment", {"order_id": "#1", "payment_method_id": "gift_1"}),
        ("find_user_id_by_email", {"email": "nobody@example.com"}),
        ("get_product_details", {"product_id": "i1"}),
    ],
)
def test_a_shop_refuses_what_its_policy_forbids(name: str, given: dict[str, Any]) -> None:
    base, ok, output = after((name, given))
    assert ok == [False]
    assert "broke" not in output[0]
    assert base == BASE


@pytest.mark.parametrize(
    ("expression", "value"),
    [("(1 + 2) * 3.5", "10.5"), ("-4/8", "-0.5"), ("10.10 - 0.1", "10.0")],
)
def test_sums_are_calculated(expression: str, value: str) -> None:
    assert after(("calculate", {"expression": expression}))[2] == [value]


@pytest.mark.parametrize(
    "expression",
    ["9**9**9", "__import__('os')", "a", "1/0", "", "1e999*0", "[1]*9", "(" * 150, "'a'*9"],
)
def test_nothing_else_is_calculated(expression: str) -> None:
    _, ok, output = after(("calculate", {"expression": expression}))
    assert ok == [False], output
    assert output == ["give numbers, + - * / and brackets"]
