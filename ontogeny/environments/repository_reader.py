"""An agent that finds the fault before it repairs it: what a teacher shows.

Knows no model. It knows where the fault is, and looks as one would who does not.
"""

from __future__ import annotations

import ast

from ontogeny.environments.repository_hacks import SUBMIT
from ontogeny.environments.repository_task import Fault
from ontogeny.environments.session import Call

LINES = 40
"""Of a function, at one look."""


def reading(fault: Fault) -> list[Call]:
    """Searches the function, reads it until the fault, puts the line right, runs the tests."""
    where = fault.repair()
    text = fault.checkout().text(fault.file)
    first = _line_of(text, fault.function)
    looks = []
    for start in range(first, where["last"] + 1, LINES):
        window = {"file": fault.file, "first": start, "last": start + LINES - 1}
        looks.append(Call("read", window))
    search = Call("search", {"text": f"def {fault.function}("})
    return [search, *looks, Call("rewrite", where), Call("run", {}), SUBMIT]


def _line_of(text: str, function: str) -> int:
    """Where a function begins, counted from 1."""
    nodes = (each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef))
    return next(node.lineno for node in nodes if node.name == function)
