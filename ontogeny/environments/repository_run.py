"""Tests and calls over a changed package as one job of the sandbox, and what came of it.

Knows no task. A call's value comes back as data that the host compares; whether a test passed is
said by the process that ran it, and so by the code under test if that wants to lie.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ontogeny.base.errors import SandboxRefused
from ontogeny.environments import programs_inside, repository_inside
from ontogeny.environments.checkout import TARGETS, Source, tree
from ontogeny.environments.hidden_tests import Unlike, canonical
from ontogeny.environments.room import Room
from ontogeny.rollout.sandbox.job import SITE, TREES, Job, Result, Tree, installed
from ontogeny.rollout.sandbox.limits import MEGABYTE, Limits

LIMITS = Limits(
    cpu_seconds=12,
    wall_seconds=90.0,
    memory_bytes=512 * MEGABYTE,
    processes=4,
    output_bytes=8 * MEGABYTE,
    tmp_bytes=16 * MEGABYTE,
    tmp_files=256,
    file_bytes=4 * MEGABYTE,
)
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
"""Tests of networkx import pytest; it does not run them."""
_HARNESS = Path(repository_inside.__file__).read_text(encoding="utf-8")
_ENCODE = Path(programs_inside.__file__).read_bytes()


class Lost(SandboxRefused):
    """A job that says more of the machine than of the package."""


@dataclass(frozen=True)
class Order:
    """What is run over a package.

    Attributes:
        package: its name.
        changed: file -> text, of files that are not as installed.
        tests: ids, see `checkout.known_tests`.
        calls: (file, function, arguments as literals): before the tests.
        record: a file, and functions of it whose arguments are noted while the tests run.
        cpu_seconds: for all of it.
    """

    package: str
    changed: Mapping[str, str]
    tests: Sequence[str] = ()
    calls: Sequence[tuple[str, str, Sequence[str]]] = ()
    record: tuple[str, Sequence[str]] | None = None
    cpu_seconds: int = LIMITS.cpu_seconds


@dataclass(frozen=True)
class Ran:
    """What came of an order.

    Attributes:
        failed: why there is no answer; "" where there is one.
        tests: id -> "" where it passed, else why it failed.
        values: for each of the calls, what it gave: see `value_of`.
        said: the same as it was said.
        calls: function -> arguments that the tests called it with.
    """

    failed: str
    tests: Mapping[str, str] = field(default_factory=dict)
    values: Sequence[Sequence[str | None]] = ()
    said: Sequence[Sequence[Any]] = ()
    calls: Mapping[str, Sequence[str]] = field(default_factory=dict)


def room(workers: int) -> Room:
    """Where orders are run. Raises InputError where a package or pytest is missing."""
    tests = installed(*PYTEST)
    return Room(LIMITS, workers, (Tree(tree(), "repository"), *tests))


def job(order: Order) -> tuple[Job, str]:
    """The job, and the token that its answer has to begin with."""
    token = secrets.token_hex(16)
    source = Source.of(order.package)
    hidden = {each.file for each in TARGETS if each.package == order.package}
    changed = {file: source.text(file) for file in hidden} | dict(order.changed)
    said = {
        "token": token,
        "files": sorted(changed),
        "tests": list(order.tests),
        "calls": [[file, name, list(each)] for file, name, each in order.calls],
        "record": list(order.record) if order.record else None,
    }
    files = {f"repository/{name}": text.encode() for name, text in changed.items()}
    files["programs_inside.py"] = _ENCODE
    paths = (f"{TREES}/repository", SITE)
    stdin = json.dumps(said).encode()
    limits = replace(LIMITS, cpu_seconds=order.cpu_seconds)
    return Job(_HARNESS, stdin=stdin, files=files, limits=limits, paths=paths), token


def read(result: Result, token: str, order: Order) -> Ran:
    """What a job said, checked.

    Raises:
        Lost: the machine did not let it run.
    """
    if result.verdict == "lost" or result.starved:
        raise Lost(
            f"a job over {order.package} was {result.verdict}: the machine is too busy or kills "
            "its workers; lower the load and run it again",
            file="sandbox",
        )
    if result.verdict != "ok":
        return Ran(result.verdict)
    try:
        said_token, tests, said, calls = json.loads(result.stdout)
        if said_token != token or set(tests) != set(order.tests):
            return Ran("forged")
        why = {name: "" if each == ["passed"] else str(each[1]) for name, each in tests.items()}
        values = [[value_of(each) for each in group] for group in said]
        right = [len(group) for group in values] == [len(each[2]) for each in order.calls]
        return Ran("", why, values, said, calls) if right else Ran("forged")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Ran("ended itself")


def value_of(said: Any) -> str | None:
    """A short digest of what a call gave, equal for equal values; None where it is no plain data.

    Raises:
        TypeError: it is not what is said inside.
    """
    if said[0] == "value":
        try:
            text = f"value {canonical(said[1])}"
        except Unlike:
            return None
    elif said[0] == "raised":
        text = f"raised {said[1]}"
    else:
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def run_all(room: Room, orders: Sequence[Order]) -> list[Ran]:
    """All orders; blocks. Raises as `read` and `Room.run_all`."""
    made = [job(order) for order in orders]
    results = room.run_all([each for each, _ in made])
    return [
        read(result, token, order)
        for result, (_, token), order in zip(results, made, orders, strict=True)
    ]


async def run(room: Room, order: Order) -> Ran:
    """One order, inside an event loop."""
    made, token = job(order)
    return read(await room.run(made), token, order)
