"""Runs in the sandbox: tests of a package, and calls of its functions, over a few changed files.

Knows no expected value of a call: those stay on the host. Standard library alone, beside `encode`
of `programs_inside`, which lies next to it as a job's file.

The order is JSON on the standard input; the answer, JSON on the standard output, begins with the
order's token. The package's own prints go nowhere.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import itertools
import json
import math
import os
import random
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

HERE, TREE = "/tmp/repository/", "/trees/repository/"
GRAPH = "graph!"
MOST_ITEMS, MOST_LITERAL, MOST_CALLS = 2_000, 200, 400
CALL_SECONDS, TEST_SECONDS = 1.0, 3.0
load = importlib.import_module
"""For what is run here: modules of the package under repair, never of ours."""
_PLAIN = (int, str, bytes, bool, type(None))


class Late(BaseException):
    """It took more processor time than it may."""


class Changed(importlib.abc.MetaPathFinder):
    """Finds the modules of files that the host sent before those of the tree."""

    def __init__(self, files: list[str]) -> None:
        self.files = {dotted(file): file for file in files}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """See `importlib.abc.MetaPathFinder`."""
        del path, target
        file = self.files.get(name)
        if file is None:
            return None
        inner = [os.path.dirname(TREE + file)] if file.endswith("/__init__.py") else None
        return importlib.util.spec_from_file_location(
            name, HERE + file, submodule_search_locations=inner
        )


class Recorder:
    """Arguments of calls as literals, while tests run; seen by the interpreter's profile hook."""

    def __init__(self, file: str, names: list[str]) -> None:
        self.path, self.calls = HERE + file, {name: dict[str, None]() for name in names}

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_filename != self.path or code.co_name not in self.calls:
            return
        calls = self.calls[code.co_name]
        if code.co_flags & 0x0C or code.co_kwonlyargcount or len(calls) >= MOST_CALLS:
            return  # *args, **kwargs
        names = code.co_varnames[: code.co_argcount]
        try:
            text = repr(tuple(plain(frame.f_locals[name]) for name in names))
        except (TypeError, ValueError, KeyError, RecursionError):
            return  # no plain data, or a number of more digits than are written
        if len(text) <= MOST_LITERAL:
            calls[text] = None


def dotted(file: str) -> str:
    """The module of a file."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def plain(value: Any) -> Any:
    """`value` as something whose `repr` is a literal. Raises TypeError where it cannot be."""
    kind = type(value)
    if kind in _PLAIN or (kind is float and math.isfinite(value)):
        return value
    if kind in (tuple, list, set):
        return kind(plain(each) for each in value)
    if kind is dict:
        return {plain(key): plain(held) for key, held in value.items()}
    if hasattr(value, "is_multigraph") and hasattr(value, "adj"):
        return plain_graph(value)
    raise TypeError


def plain_graph(graph: Any) -> tuple[Any, ...]:
    """A graph of networkx as plain data."""
    nodes = [(plain(node), plain(dict(data))) for node, data in graph.nodes(data=True)]
    named = {"keys": True} if graph.is_multigraph() else {}
    edges = [
        (*(plain(each) for each in edge[:-1]), plain(dict(edge[-1])))
        for edge in graph.edges(data=True, **named)
    ]
    return (GRAPH, graph.is_directed(), graph.is_multigraph(), nodes, edges)


def alive(value: Any) -> Any:
    """What `plain` was made of; graphs at the top alone."""
    if not (type(value) is tuple and len(value) == 5 and value[0] == GRAPH):
        return value
    networkx = sys.modules["networkx"]
    _, directed, multiple, nodes, edges = value
    graph = getattr(networkx, f"{'Multi' * multiple}{'Di' * directed}Graph")()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    return graph


def said(function: Any, literal: str) -> list[Any]:
    """What a call gives: its value, that it raised, that it is no plain data or took too long."""
    encode: Any = sys.modules["programs_inside"].encode
    signal.setitimer(signal.ITIMER_VIRTUAL, CALL_SECONDS)
    try:
        value = function(*(alive(each) for each in ast.literal_eval(literal)))
        if isinstance(value, Iterator):
            value = list(itertools.islice(value, MOST_ITEMS))
    except Late:
        return ["late"]
    except BaseException as error:
        return ["raised", str(type(error).__name__)[:60]]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    try:
        return ["value", encode(plain_graph(value) if hasattr(value, "adj") else value)]
    except BaseException:
        return ["odd"]


def answers(calls: list[Any]) -> list[list[Any]]:
    """Of [module's file, function, literals] each the answers in order."""
    found = []
    for file, name, literals in calls:
        try:
            function = getattr(load(dotted(file)), name)
        except BaseException as error:
            found.append([["raised", str(type(error).__name__)[:60]] for _ in literals])
            continue
        found.append([said(function, literal) for literal in literals])
    return found


def tested(name: str) -> list[str]:
    """["passed"], or ["failed", where and why]."""
    file, *parts = name.split("::")
    signal.setitimer(signal.ITIMER_VIRTUAL, TEST_SECONDS)
    try:
        held: Any = load(dotted(file))
        if len(parts) == 2:
            kind = getattr(held, parts[0])
            getattr(kind, "setup_class", lambda: None)()
            held = kind()
            getattr(held, "setup_method", lambda: None)()
        random.seed(0)
        getattr(held, parts[-1])()
    except BaseException as error:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return ["failed", why(error)]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return ["passed"]


def why(error: BaseException) -> str:
    """The last places of the package that an error came through, and what it says."""
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        for root in (HERE, TREE):
            if frame.filename.startswith(root):
                place = f"{frame.filename.removeprefix(root)}:{frame.lineno} in {frame.name}"
                lines.append(f"{place}\n    {frame.line}")
    told = re.sub(r"0x[0-9a-f]{6,}", "0x...", f"{type(error).__name__}: {error}"[:300])
    return "\n".join([*(lines[:1] if len(lines) > 4 else []), *lines[-4:], told])


def late(*_: Any) -> None:
    """The alarm."""
    raise Late("it took too long")


def main() -> None:
    """Reads the order, runs it, answers, ends."""
    write, leave, dumps = os.write, os._exit, json.dumps
    order = json.loads(sys.stdin.buffer.read())
    token = order.pop("token")
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    load("programs_inside")
    sys.meta_path.insert(0, Changed(order["files"]))
    signal.signal(signal.SIGVTALRM, late)
    random.seed(0)
    values = answers(order["calls"])
    recorder = Recorder(*order["record"]) if order["record"] else None
    results = {}
    for name in order["tests"]:
        sys.setprofile(recorder)
        results[name] = tested(name)
        sys.setprofile(None)
    calls = {name: list(each) for name, each in recorder.calls.items()} if recorder else {}
    text = dumps([token, results, values, calls]).encode()
    while text:
        text = text[write(out, text) :]
    leave(0)


if __name__ == "__main__":
    main()
