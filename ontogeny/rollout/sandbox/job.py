"""What is to be run in the sandbox, and what came of it. Knows no process and no kernel."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from ontogeny.base.errors import InputError
from ontogeny.rollout.sandbox.limits import Limits

Verdict = Literal[
    "ok",
    "error",
    "cpu limit",
    "timeout",
    "memory limit",
    "output limit",
    "forbidden",
    "lost",
]
TMP, WORK, TREES = "/tmp", "/episode", "/trees"
MAIN = "/tmp/main.py"


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory or file of the host that jobs see, read-only, as /trees/NAME.

    Args:
        path: on the host. What it holds is shown as it is, and the path itself can be read inside:
            put nothing secret in either.
        name: where it appears below /trees; may have several parts ("site/pytest").
    """

    path: Path
    name: str

    def __post_init__(self) -> None:
        _checked(self.name, TREES)
        if not self.path.exists():
            raise InputError("no such file or directory for a sandbox's tree", file=self.path)

    @property
    def place(self) -> str:
        """Where jobs find it."""
        return posixpath.join(TREES, self.name)


SITE = posixpath.join(TREES, "site")


def installed(*distributions: str) -> tuple[Tree, ...]:
    """The top-level packages and modules of pip-installed distributions, below /trees/site.

    Only these are shown, not their requirements and not the whole of site-packages: that holds
    checkers too. Give `SITE` among a job's `paths`.

    Raises:
        InputError: one is not installed.
    """
    found: dict[str, Tree] = {}
    for name in distributions:
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            raise InputError(f"{name} is not installed; `pip install {name}`") from None
        for file in files:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and top not in found:
                path = Path(str(file.locate()))
                for _ in file.parts[1:]:
                    path = path.parent
                found[top] = Tree(path, f"site/{top}")
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Job:
    """One program to run, as `python FILE ARGUMENTS` would run it.

    Args:
        program: Python source; text that UTF-8 cannot hold fails as a syntax error inside.
        stdin: what it may read from its standard input.
        files: path -> bytes, put there before it starts: relative to /tmp, or below /episode in a
            session.
        limits: instead of the sandbox's own.
        arguments: of the command line.
        paths: directories inside in which imports look, after the program's own.
        copies: name of a tree -> where a copy of it is put that the job may change; places as
            those of `files`.
        directory: in which it starts.
        environment: variables to add.

    Raises:
        InputError: a name leads elsewhere, or the files do not fit.
    """

    program: str | bytes
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    limits: Limits | None = None
    arguments: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    directory: str = TMP
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.files, *self.copies.values()):
            _checked(name, TMP)
        for name in self.copies:
            _checked(name, TREES)
        if MAIN in (posixpath.join(TMP, name) for name in self.files):
            raise InputError(f"a job's file is named {MAIN}, where its program lies")
        for text in (*self.arguments, *self.paths, *self.environment.values()):
            if "\0" in text:
                raise InputError("an argument, path or variable of a job holds a NUL character")

    def bundle(self) -> bytes:
        """The job as its sealed process reads it; see `inside.program.unpack`."""
        source = self.program
        if isinstance(source, str):
            source = source.encode("utf-8", "surrogatepass")
        files = {MAIN: source, **{posixpath.join(TMP, name): f for name, f in self.files.items()}}
        copies = [
            (posixpath.join(TREES, name), posixpath.join(TMP, place))
            for name, place in self.copies.items()
        ]
        header = json.dumps(
            {
                "copies": copies,
                "files": [(name, len(content)) for name, content in files.items()],
                "arguments": self.arguments,
                "paths": self.paths,
                "directory": self.directory,
                "environment": dict(self.environment),
            }
        ).encode()
        return b"".join([len(header).to_bytes(8, "big"), header, *files.values()])


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job. Everything of it is dead.

    Attributes:
        verdict: "ok" is exit code 0 within all limits, and never by itself a success: a program
            can always exit so. "lost": it or its worker was killed from outside, twice; no score
            follows.
        exit_code: as of `subprocess`: negative is minus the signal.
        stdout: at most `output_bytes`, cut if `truncated`.
        stderr: likewise.
        cpu_seconds: of the program and of its children that it waited for.
        wall_seconds: from order to end.
        peak_bytes: of the largest process, resident.
        truncated: output was cut.
        queued_seconds: a program that was timed out stood ready so long without a processor.
    """

    verdict: Verdict
    exit_code: int
    stdout: bytes
    stderr: bytes
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    truncated: bool = False
    queued_seconds: float = 0.0

    @property
    def starved(self) -> bool:
        """A timeout that says more of the machine than of the program: run it again."""
        return self.verdict == "timeout" and self.queued_seconds > self.wall_seconds / 3


def _checked(name: str, root: str) -> None:
    whole = posixpath.join(root, name)
    outside = not any(whole.startswith(f"{place}/") for place in (root, WORK))
    if outside or posixpath.normpath(whole) != whole or "\0" in name:
        raise InputError(f"{name!r} is no plain path below {root}; leave out '..' and '.'")
