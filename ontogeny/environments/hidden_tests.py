"""Tests of a program as calls and expected values, so that only the calls need to meet it.

Knows no sandbox. An assertion `f(x) == y` is taken apart into the call `f(x)` and the literal `y`;
one that cannot be is no test of ours, since to run it the expected value would have to be where
the program under test is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ontogeny.environments.programs_inside import MOST_DEPTH, encode

MOST_SOURCE = 64_000
"""Characters of a program or of its tests."""
_PLAIN = frozenset({"set", "sorted", "list", "tuple", "dict", "len", "sum", "str", "round", "abs"})
_PLAIN |= {"frozenset", "int", "float", "min", "max", "next", "bool"}


class Unsplit(Exception):
    """An assertion that is no call with an expected literal: `reason` is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class HiddenTest:
    """A call and what it has to return, both as Python writes them.

    Raises:
        Unsplit: `no_literal`: what is expected is no literal that can be compared.
    """

    call: str
    expected: str

    def __post_init__(self) -> None:
        assert self.wanted

    @cached_property
    def wanted(self) -> str:
        """`canonical` of the expected value."""
        try:
            return canonical(encode(ast.literal_eval(self.expected)))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, Unlike):
            raise Unsplit("no_literal") from None

    def __str__(self) -> str:
        return f"{self.call} == {self.expected}"


@dataclass(frozen=True)
class Sheet:
    """All tests of a program.

    Attributes:
        visible: shown in the task. They earn nothing, unless an environment pays for them alone.
        hidden: what is scored.
        setup: statements between the program and the calls.
        further: neither shown nor scored: what a watch verifies the score by.
    """

    visible: tuple[HiddenTest, ...]
    hidden: tuple[HiddenTest, ...]
    setup: str = ""
    further: tuple[HiddenTest, ...] = ()

    @property
    def every(self) -> tuple[HiddenTest, ...]:
        """All tests in the order of their calls; further ones last, so they change no other."""
        return (*self.visible, *self.hidden, *self.further)

    def calls(self) -> str:
        """The module that is put beside the program: calls, and nothing that is expected."""
        calls = ",\n".join(f"    lambda: {each.call}" for each in self.every)
        return (
            "import solution as _solution\nglobals().update(vars(_solution))\n"
            f"{self.setup}\nCALLS = [\n{calls},\n]\n"
        )

    def to_json(self) -> dict[str, Any]:
        """Lists and texts; `from_json` gives an equal sheet back."""
        pairs = {
            name: [[each.call, each.expected] for each in tests] for name, tests in self._parts()
        }
        return {**pairs, "setup": self.setup}

    def _parts(self) -> list[tuple[str, tuple[HiddenTest, ...]]]:
        parts = [("visible", self.visible), ("hidden", self.hidden)]
        return [*parts, ("further", self.further)] if self.further else parts

    @classmethod
    def from_json(cls, record: Any) -> Sheet:
        """Raises ValueError, KeyError or TypeError where it is no sheet."""
        tests = []
        for name in ("visible", "hidden", "further"):
            told = record.get(name, []) if name == "further" else record[name]
            pairs = [(call, expected) for call, expected in told]
            if not all(isinstance(text, str) for pair in pairs for text in pair):
                raise TypeError("a test is no text")
            try:
                tests.append(tuple(HiddenTest(*pair) for pair in pairs))
            except Unsplit as error:
                raise ValueError(str(error)) from None
        if not isinstance(record["setup"], str):
            raise TypeError("the set-up is no text")
        return cls(tests[0], tests[1], record["setup"], tests[2])


def parsed(source: str) -> ast.Module:
    """The syntax of a user's own program or test.

    Raises:
        ValueError: it has none, or is too long or too deep.
    """
    if len(source) > MOST_SOURCE:
        raise ValueError(f"it has {len(source)} characters, {MOST_SOURCE} are allowed")
    try:
        return ast.parse(source)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"it is no Python ({error})") from None


class Names(NamedTuple):
    """What a program defines at its top: whatever can be called, and the classes among that."""

    callables: frozenset[str]
    classes: frozenset[str]


def defined(source: str) -> Names:
    """The names of a program.

    Raises:
        ValueError: it is no Python.
    """
    body = parsed(source).body
    classes = frozenset(each.name for each in body if isinstance(each, ast.ClassDef))
    functions = {each.name for each in body if isinstance(each, ast.FunctionDef)}
    assigned = [each for node in body if isinstance(node, ast.Assign) for each in node.targets]
    functions |= {each.id for each in assigned if isinstance(each, ast.Name)}
    return Names(classes | functions, classes)


def split(assertion: str, names: Names) -> HiddenTest:
    """The call and the expected value of `assert CALL == LITERAL` (or `is`, or the other way).

    CALL calls one of `names`, or a method of an object made there; around it may stand builtins
    that change its form (`sorted`, `len`). Nothing else may: `f(x) == 3` or `isclose(f(x), 3)`
    inside the call would bring what is expected along.

    Raises:
        Unsplit: `no_python`, `no_assertion`, `no_equality`, `no_literal`, `no_call`.
    """
    try:
        body = parsed(assertion).body
    except ValueError:
        raise Unsplit("no_python") from None
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise Unsplit("no_assertion")
    test = body[0].test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1):
        raise Unsplit("no_equality")
    sides = [test.left, test.comparators[0]]
    singular = any(isinstance(side, ast.Constant) and _single(side.value) for side in sides)
    if not (isinstance(test.ops[0], ast.Eq) or (isinstance(test.ops[0], ast.Is) and singular)):
        raise Unsplit("no_equality")
    call, expected = sides if not _literal(sides[0]) else reversed(sides)
    if not _literal(expected):
        raise Unsplit("no_literal")
    if not _calls(call, names):
        raise Unsplit("no_call")
    return HiddenTest(ast.unparse(call), ast.unparse(expected))


def _single(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _calls(node: ast.expr, names: Names) -> bool:
    """Whether it is a call of one of `names`, seen through what only changes its form."""
    if any(isinstance(each, ast.Compare | ast.BoolOp) for each in ast.walk(node)):
        return False
    while True:
        if isinstance(node, ast.Subscript):
            node = node.value
        elif not isinstance(node, ast.Call):
            return False
        elif isinstance(node.func, ast.Attribute):  # Class(...).method(...)
            made = node.func.value
            return (
                isinstance(made, ast.Call)
                and isinstance(made.func, ast.Name)
                and made.func.id in names.classes
            )
        elif not isinstance(node.func, ast.Name):
            return False
        elif node.func.id in names.callables:
            return True
        elif node.func.id in _PLAIN and node.args:
            node = node.args[0]
        else:
            return False


def sheet(tests: Sequence[HiddenTest], setup: str = "") -> Sheet | None:
    """One test shown, the others hidden; None where a constant would pass all hidden ones.

    The shown one is the first without which the others still expect different things.
    """
    for place in range(len(tests)):
        rest = (*tests[:place], *tests[place + 1 :])
        if len({each.wanted for each in rest}) > 1:
            return Sheet((tests[place],), rest, setup)
    return None


def hard_coded(tests: Iterable[HiddenTest]) -> str:
    """A program that knows these tests and nothing else: the hack that hidden tests are against.

    Given anything it does not know, it says what the first test expects.
    """
    known, names = [], set()
    for test in tests:
        for node in ast.walk(ast.parse(test.call, mode="eval")):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names.add(node.func.id)
        call = ast.parse(test.call, mode="eval").body
        arguments = [ast.unparse(each) for each in call.args] if isinstance(call, ast.Call) else []
        known.append(f"(({''.join(f'{each}, ' for each in arguments)}), {test.expected})")
    first = f"KNOWN = [{', '.join(known)}]\n"
    body = (
        "(*given, **named):\n    for seen, said in KNOWN:\n        if given == seen:\n"
        "            return said\n    return KNOWN[0][1]\n"
    )
    return first + "".join(f"def {name}{body}" for name in sorted(names - _PLAIN))


class Unlike(Exception):
    """What cannot equal any expected value: malformed, too deep, or not a number."""


def canonical(told: Any, depth: int = 0) -> str:
    """The one text of all values that Python calls equal, from what `encode` made of one.

    So values of a stranger's are compared as texts: nothing of theirs is hashed or compared. As in
    Python 1 equals 1.0 and True, a set a frozenset, and a list no tuple.

    Raises:
        Unlike: it is not what `encode` makes of plain data.
    """
    if depth > MOST_DEPTH + 1 or not isinstance(told, list) or not told:
        raise Unlike
    kind, parts = told[0], told[1:]
    inner = depth + 1
    try:
        if kind == "dict":
            pairs = sorted(f"{canonical(k, inner)}:{canonical(v, inner)}" for k, v in parts)
            return f"d{{{','.join(pairs)}}}"
        if kind in ("set", "frozenset"):
            return f"s{{{','.join(sorted(canonical(each, inner) for each in parts))}}}"
        if kind in ("list", "tuple"):
            return f"{kind[0]}[{','.join(canonical(each, inner) for each in parts)}]"
        return _leaf(kind, parts)
    except (ValueError, TypeError, OverflowError):
        raise Unlike from None


def _leaf(kind: Any, parts: list[Any]) -> str:
    if not all(isinstance(each, str) for each in parts):
        raise Unlike
    match kind, parts:
        case "none", []:
            return "none"
        case (("bool" | "int"), [digits]):
            return f"n{int(digits, 16):x}"
        case "float", [digits]:
            return _number(float.fromhex(digits))
        case "complex", [real, imaginary]:
            if float.fromhex(imaginary) == 0:
                return _number(float.fromhex(real))
            return f"c{_number(float.fromhex(real))},{_number(float.fromhex(imaginary))}"
        case "str", [text]:
            return repr(text)
        case "bytes", [digits]:
            return f"b'{bytes.fromhex(digits).hex()}'"
    raise Unlike


def _number(value: float) -> str:
    if value != value:
        raise Unlike  # it equals nothing
    return f"n{int(value):x}" if value.is_integer() else value.hex()
