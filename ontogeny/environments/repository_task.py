"""One fault in a package as data: where it is, what it breaks, what the function gave before.

Knows no sandbox. Rows are lines of JSON, made once by `repository_making`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.environments.checkout import TARGETS, Checkout, Source, Target, digest, known_tests
from ontogeny.environments.environment import Task, side, task_id
from ontogeny.environments.mutations import Mutation

NAME = "repair"
MADE = Path(__file__).with_name("repository_tasks.jsonl")
"""Rows that come with this package."""
Known = tuple[tuple[str, str], ...]
"""Arguments as a literal, and `repository_run.value_of` what the original gives."""


@dataclass(frozen=True)
class Fault:
    """A fault, its tests and its checks.

    Attributes:
        package: the installed package.
        version: of it.
        file: where the fault is.
        sha256: of the file and its tests.
        function: that the fault is in.
        mutation: the fault.
        fail: tests that pass before and fail after (FAIL_TO_PASS).
        left_out: tests that fail before, too. All others have to go on passing (PASS_TO_PASS).
        seen: calls that the tests made.
        complete: all of the tests' calls that the fault makes go wrong are among `seen`.
        fresh: calls that no test made.
        issue: what the agent is told.
    """

    package: str
    version: str
    file: str
    sha256: str
    function: str
    mutation: Mutation
    fail: tuple[str, ...]
    left_out: tuple[str, ...]
    seen: Known
    complete: bool
    fresh: Known
    issue: str

    @property
    def key(self) -> str:
        """What decides the split: the function."""
        return f"{self.file}:{self.function}"

    @property
    def split(self) -> str:
        """Of all faults of the function."""
        return side(self.key)

    @property
    def target(self) -> Target:
        """Its file and tests."""
        return next(each for each in TARGETS if each.file == self.file)

    @cached_property
    def keep(self) -> tuple[str, ...]:
        """PASS_TO_PASS."""
        return tuple(sorted({*known_tests(self.target)} - {*self.fail, *self.left_out}))

    def original(self) -> str:
        """The file as it is installed.

        Raises:
            InputError: another version is installed.
        """
        source = Source.of(self.package)
        if self.version != source.version or self.sha256 != digest_of(self.target):
            raise InputError(
                f"this fault was made in {self.package} {self.version}, {source.version} is "
                f"installed; `pip install {self.package}=={self.version}`, or make faults anew"
            )
        return source.text(self.file)

    def checkout(self) -> Checkout:
        """The package with the fault. Raises as `original`."""
        return Checkout(self.package, {self.file: self.mutation.applied(self.original())})

    def task(self) -> Task:
        """Its task; `meta["gold"]` are the calls that repair it."""
        calls = [
            {"name": "rewrite", "arguments": self.repair()},
            {"name": "submit", "arguments": {}},
        ]
        meta = {"gold": calls, "split": self.split, "key": self.key, "kind": self.mutation.kind}
        name = task_id(NAME, json.dumps([self.key, self.mutation.to_json()]))
        return Task(name, self.issue, "Repaired.", NAME, meta)

    def repair(self) -> dict[str, Any]:
        """The arguments of `rewrite` that put the original lines back."""
        original, mutation = self.original().encode(), self.mutation
        end = mutation.start + len(mutation.before.encode())
        first = original.count(b"\n", 0, mutation.start)
        last = original.count(b"\n", 0, end)
        after = last + mutation.after.count("\n") - mutation.before.count("\n")
        new = "\n".join(original.decode().split("\n")[first : last + 1])
        return {"file": self.file, "first": first + 1, "last": after + 1, "new": new}

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives an equal fault."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**record, "mutation": self.mutation.to_json()}

    @classmethod
    def from_json(cls, record: Any) -> Fault:
        """Raises KeyError or TypeError where it is no fault."""
        pairs = {name: tuple((a, b) for a, b in record[name]) for name in ("seen", "fresh")}
        lists = {name: tuple(record[name]) for name in ("fail", "left_out")}
        return cls(**{**record, **pairs, **lists, "mutation": Mutation(**record["mutation"])})


def digest_of(target: Target) -> str:
    """Of a target's file and tests, as installed."""
    source = Source.of(target.package)
    return digest("\0".join(source.text(file) for file in (target.file, *target.tests)))


def read_faults(path: Path = MADE) -> tuple[Fault, ...]:
    """The rows of a file.

    Raises:
        InputError: it cannot be read, or a line of it is no fault.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    faults = []
    for number, line in enumerate(lines, start=1):
        try:
            faults.append(Fault.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            raise InputError(
                "this line is no fault; make them anew", file=path, line=number
            ) from None
    return tuple(faults)


def write_faults(faults: Sequence[Fault], path: Path) -> None:
    """One line each."""
    rows = (json.dumps(each.to_json(), separators=(",", ":")) for each in faults)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
