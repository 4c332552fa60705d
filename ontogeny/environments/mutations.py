"""Small faults put into a function by its syntax: one place of the source, another text there.

Knows no tests and runs nothing. The rest of the file stays as it is, byte for byte, so a fault
cannot be found by how the file is set.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COMPARED = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "is not": "is",
    "not in": "in",
}
"""A comparison -> the one that takes its place; `is` and `in` have none of one word."""
COMPUTED = {"+": "-", "-": "+", "*": "+", "//": "*", "%": "//", "<<": ">>", ">>": "<<", "&": "|"}
COMPUTED |= {"|": "&", "^": "|"}
JOINED = {"and": "or", "or": "and"}
KINDS = ("comparison", "operator", "junction", "constant", "arguments", "condition", "branch")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a file.

    Attributes:
        kind: one of `KINDS`.
        start: place in the file's UTF-8 bytes.
        before: what stands there.
        after: what takes its place.
    """

    kind: str
    start: int
    before: str
    after: str

    def applied(self, source: str) -> str:
        """The source with the fault.

        Raises:
            ValueError: `before` does not stand there.
        """
        data, old = source.encode(), self.before.encode()
        if data[self.start : self.start + len(old)] != old:
            raise ValueError("the source is not the one that the fault was made for")
        data = data[: self.start] + self.after.encode() + data[self.start + len(old) :]
        return data.decode()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `Mutation(**record)` is equal."""
        return {name: getattr(self, name) for name in self.__slots__}


def functions(source: str) -> dict[str, ast.FunctionDef]:
    """Functions at the top of a file whose name is defined there once, and that yield or return."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return {name: nodes[0] for name, nodes in found.items() if len(nodes) == 1}


def mutations(source: str, function: ast.FunctionDef) -> list[Mutation]:
    """All faults of our kinds in a function of `source` after which it still has a syntax."""
    places = _Places(source)
    start, end = places.span(function)
    alone = places.text(start, end)
    found = set()
    for node in _body(function):
        for made in _of(node, places):
            inside = Mutation(made.kind, made.start - start, made.before, made.after)
            if made.before != made.after and _has_syntax(inside.applied(alone)):
                found.add(made)
    return sorted(found, key=lambda each: (each.start, each.kind, each.after))


def _has_syntax(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


class _Places:
    """Where nodes stand in the bytes of a source."""

    def __init__(self, source: str) -> None:
        self.data = source.encode()
        self._starts = [0]
        for line in self.data.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, start: int, end: int) -> str:
        return self.data[start:end].decode()


def _body(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Nodes below its statements; not its decorators, defaults and docstring."""
    for number, statement in enumerate(function.body):
        said = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (number == 0 and said):
            yield from ast.walk(statement)


def _of(node: ast.AST, places: _Places) -> Iterator[Mutation]:
    match node:
        case ast.Compare(left=left, comparators=[right]):
            yield from _between("comparison", left, right, COMPARED, places)
        case ast.BinOp(left=left, right=right):
            yield from _between("operator", left, right, COMPUTED, places)
        case ast.BoolOp(values=[left, right, *_]):
            yield from _between("junction", left, right, JOINED, places)
        case ast.Constant(value=bool(truth)):
            yield _instead("constant", node, repr(not truth), places)
        case ast.Constant(value=int(number)):
            for other in (number + 1, number - 1)[: 2 if number else 1]:
                yield _instead("constant", node, repr(other), places)
        case ast.Call(args=[first, second, *_]) if not isinstance(second, ast.Starred):
            start, end = places.span(first)
            start_2, end_2 = places.span(second)
            one, gap, two = (
                places.text(*s) for s in ((start, end), (end, start_2), (start_2, end_2))
            )
            yield Mutation("arguments", start, f"{one}{gap}{two}", f"{two}{gap}{one}")
        case ast.If(test=test):
            start, end = places.span(test)
            yield _instead("condition", test, f"not ({places.text(start, end)})", places)
            if not node.orelse and len(node.body) == 1:
                yield _instead("branch", node.body[0], "pass", places)


def _instead(kind: str, node: ast.expr | ast.stmt, after: str, places: _Places) -> Mutation:
    start, end = places.span(node)
    return Mutation(kind, start, places.text(start, end), after)


def _between(
    kind: str, left: ast.expr, right: ast.expr, table: dict[str, str], places: _Places
) -> Iterator[Mutation]:
    """The sign between two operands, among brackets and white space."""
    start, end = places.span(left)[1], places.span(right)[0]
    found = re.fullmatch(r"[\s)]*(\S+|is not|not in)[\s(]*?[\s(]*", places.text(start, end))
    sign = found and found.group(1).rstrip("(")
    if found and sign in table:
        yield Mutation(kind, start + found.start(1), sign, table[sign])
