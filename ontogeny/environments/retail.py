"""The tools of tau2-bench's retail shop, written anew from its policy, for `environments.tau`.

Knows no task and no model. Names and arguments are those that the expected actions use; what a
change leaves in the data base is ours (both sides of a comparison are made by these tools).
Source: tau2-bench, arXiv:2506.07982, and the retail policy that comes with its data.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ontogeny.environments.session import Arguments, Base, Operation, Run, ToolError, operations
from ontogeny.rollout.tools import TEXT, Schema, Tool

_LIST: Schema = {"type": "array", "items": TEXT}
_PLACE = ("address1", "address2", "city", "state", "country", "zip")
_SUMS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def row(base: Base, table: str, id_: str) -> dict[str, Any]:
    """A row by its id. Raises ToolError where there is none."""
    rows: dict[str, dict[str, Any]] = base[table]
    if id_ not in rows:
        raise ToolError(f"there is no {table[:-1]} {id_}")
    return rows[id_]


def _order(base: Base, given: Arguments, status: str) -> dict[str, Any]:
    order = row(base, "orders", given["order_id"])
    if order["status"] != status:
        raise ToolError(f"the order is {order['status']}, not {status}")
    return order


def _payment(base: Base, order: Mapping[str, Any], id_: str) -> dict[str, Any]:
    methods: dict[str, dict[str, Any]] = row(base, "users", order["user_id"])["payment_methods"]
    if id_ not in methods:
        raise ToolError(f"the user has no payment method {id_}")
    return methods[id_]


def _pay(method: dict[str, Any], amount: float) -> None:
    """Takes from a gift card; a negative amount is given back."""
    if method["source"] != "gift_card":
        return
    if method["balance"] < amount:
        raise ToolError("the gift card has too little on it")
    method["balance"] = round(method["balance"] - amount, 2)


def _chosen(order: Mapping[str, Any], ids: Sequence[str]) -> list[dict[str, Any]]:
    """The items of an order by these ids, each item once."""
    left, found = list(order["items"]), []
    for id_ in ids:
        item = next((each for each in left if each["item_id"] == id_), None)
        if item is None:
            raise ToolError(f"the order has no item {id_}")
        left.remove(item)
        found.append(item)
    if not found:
        raise ToolError("name at least one item")
    return found


def _swapped(
    base: Base, order: Mapping[str, Any], given: Arguments
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """Items of an order, the variants to take their place, and what these cost more."""
    old, new = _chosen(order, given["item_ids"]), []
    if len(given["new_item_ids"]) != len(old):
        raise ToolError("give as many new items as items")
    for item, id_ in zip(old, given["new_item_ids"], strict=True):
        variant = row(base, "products", item["product_id"])["variants"].get(id_)
        if variant is None or not variant["available"]:
            raise ToolError(f"{id_} is no available variant of {item['name']}")
        new.append(variant)
    more = sum(each["price"] for each in new) - sum(each["price"] for each in old)
    return old, new, round(more, 2)


def _by_email(base: Base, given: Arguments) -> Any:
    for id_, user in base["users"].items():
        if user["email"].lower() == given["email"].lower():
            return id_
    raise ToolError("no user has this email")


def _by_name(base: Base, given: Arguments) -> Any:
    wanted = (given["first_name"].lower(), given["last_name"].lower(), given["zip"])
    for id_, user in base["users"].items():
        name = user["name"]
        here = (name["first_name"].lower(), name["last_name"].lower(), user["address"]["zip"])
        if here == wanted:
            return id_
    raise ToolError("no user has this name and zip code")


def _products(base: Base, _: Arguments) -> Any:
    return {each["name"]: each["product_id"] for each in base["products"].values()}


def _cancel(base: Base, given: Arguments) -> Any:
    order = _order(base, given, "pending")
    for paid in list(order["payment_history"]):
        _pay(_payment(base, order, paid["payment_method_id"]), -paid["amount"])
        order["payment_history"].append({**paid, "transaction_type": "refund"})
    order |= {"status": "cancelled", "cancel_reason": given["reason"]}
    return order


def _exchange(base: Base, given: Arguments) -> Any:
    order = _order(base, given, "delivered")
    method = _payment(base, order, given["payment_method_id"])
    _, _, more = _swapped(base, order, given)
    if method["source"] == "gift_card" and method["balance"] < more:
        raise ToolError("the gift card has too little on it")
    pairs = sorted(zip(given["item_ids"], given["new_item_ids"], strict=True))
    order |= {
        "status": "exchange requested",
        "exchange": [list(pair) for pair in pairs],
        "exchange_payment_method_id": given["payment_method_id"],
        "exchange_price_difference": more,
    }
    return order


def _return(base: Base, given: Arguments) -> Any:
    order = _order(base, given, "delivered")
    method = _payment(base, order, given["payment_method_id"])
    first = order["payment_history"][0]["payment_method_id"]
    if method["source"] != "gift_card" and given["payment_method_id"] != first:
        raise ToolError("the refund goes to the original payment method or a gift card")
    _chosen(order, given["item_ids"])
    order |= {
        "status": "return requested",
        "return_items": sorted(given["item_ids"]),
        "return_payment_method_id": given["payment_method_id"],
    }
    return order


def _modify_items(base: Base, given: Arguments) -> Any:
    order = _order(base, given, "pending")
    method = _payment(base, order, given["payment_method_id"])
    old, new, more = _swapped(base, order, given)
    _pay(method, more)
    for item, variant in zip(old, new, strict=True):
        item |= {name: variant[name] for name in ("item_id", "price", "options")}
    kind = "payment" if more > 0 else "refund"
    paid = {"amount": abs(more), "payment_method_id": given["payment_method_id"]}
    order["payment_history"].append({"transaction_type": kind, **paid})
    order["status"] = "pending (items modified)"
    return order


def _modify_address(base: Base, given: Arguments) -> Any:
    order = row(base, "orders", given["order_id"])
    if not order["status"].startswith("pending"):
        raise ToolError(f"the order is {order['status']}, not pending")
    order["address"] = {name: given[name] for name in _PLACE}
    return order


def _modify_payment(base: Base, given: Arguments) -> Any:
    order = _order(base, given, "pending")
    method = _payment(base, order, given["payment_method_id"])
    paid = [each for each in order["payment_history"] if each["transaction_type"] == "payment"]
    if len(paid) != 1 or paid[0]["payment_method_id"] == given["payment_method_id"]:
        raise ToolError("the order was not paid by one other payment method")
    amount, before = paid[0]["amount"], paid[0]["payment_method_id"]
    _pay(method, amount)
    _pay(_payment(base, order, before), -amount)
    for kind, id_ in (("payment", given["payment_method_id"]), ("refund", before)):
        new = {"transaction_type": kind, "amount": amount, "payment_method_id": id_}
        order["payment_history"].append(new)
    return order


def _user_address(base: Base, given: Arguments) -> Any:
    user = row(base, "users", given["user_id"])
    user["address"] = {name: given[name] for name in _PLACE}
    return user


def calculate(_: Base, given: Arguments) -> Any:
    """The value of `given["expression"]`, as a text. Raises ToolError where it has none."""
    try:
        value = _value(ast.parse(given["expression"], mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        value = math.nan
    if not math.isfinite(value):
        raise ToolError("give numbers, + - * / and brackets")
    return f"{round(value, 2)}"


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
        return float(_SUMS[type(node.op)](_value(node.left), _value(node.right)))
    raise ValueError


def _details(table: str, argument: str) -> Run:
    return lambda base, given: row(base, table, given[argument])


def _operation(name: str, description: str, names: str, run: Run, changes: bool) -> Operation:
    """Arguments are texts; those that end in `ids` are lists of texts."""
    given = {each: _LIST if each.endswith("ids") else TEXT for each in names.split()}
    if "reason" in given:
        given["reason"] = {"type": "string", "enum": ["no longer needed", "ordered by mistake"]}
    if "expression" in given:
        given["expression"] = {"type": "string", "maxLength": 200}
    return Operation(Tool(name, description, given, changes=changes), run)


_PAY, _PLACED = "order_id payment_method_id", " ".join(_PLACE)
_SWAP = "order_id item_ids new_item_ids payment_method_id"
_BACK = "order_id item_ids payment_method_id"
_Row = tuple[str, str, str, Run]
_LOOKS: tuple[_Row, ...] = (
    ("find_user_id_by_email", "The user of an email.", "email", _by_email),
    ("find_user_id_by_name_zip", "The user of a name.", "first_name last_name zip", _by_name),
    ("get_user_details", "A user.", "user_id", _details("users", "user_id")),
    ("get_order_details", "An order.", "order_id", _details("orders", "order_id")),
    ("get_product_details", "A product.", "product_id", _details("products", "product_id")),
    ("list_all_product_types", "Names and ids of all products.", "", _products),
    ("calculate", "The value of numbers, + - * / and brackets.", "expression", calculate),
    ("transfer_to_human_agents", "Hands over to a person.", "summary", lambda *_: "transferred"),
)
_CHANGES: tuple[_Row, ...] = (
    ("cancel_pending_order", "Cancels an order.", "order_id reason", _cancel),
    ("exchange_delivered_order_items", "Exchanges items.", _SWAP, _exchange),
    ("return_delivered_order_items", "Returns items.", _BACK, _return),
    ("modify_pending_order_items", "Replaces items, once.", _SWAP, _modify_items),
    ("modify_pending_order_address", "Sets where to.", f"order_id {_PLACED}", _modify_address),
    ("modify_pending_order_payment", "Pays otherwise.", _PAY, _modify_payment),
    ("modify_user_address", "Sets a user's address.", f"user_id {_PLACED}", _user_address),
)
RETAIL = operations(
    *(_operation(*each, False) for each in _LOOKS),
    *(_operation(*each, True) for each in _CHANGES),
)
