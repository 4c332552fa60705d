"""Every mistake a person can meet becomes one line and one exit code.

Knows nothing of stages, stores or the terminal; `cli` prints `str(error)` and exits with
`error.exit_code`. Our own mistakes are asserts and keep their traceback.
"""

from __future__ import annotations

from os import PathLike, fspath

COMMAND_LINE = "command line"


class OntogenyError(Exception):
    """One line for a person: `FILE:LINE: reason and remedy`.

    Args:
        reason: what is wrong and what to do about it, one sentence or two.
        file: the file the mistake is in; None while nobody who raised or passed it on knows one.
        line: 1-based line in the file (or position of the argument on the command line).
    """

    exit_code = 1

    def __init__(
        self, reason: str, *, file: str | PathLike[str] | None = None, line: int = 1
    ) -> None:
        self.reason = reason
        self.file = None if file is None else fspath(file)
        self.line = line
        super().__init__(reason)

    def __str__(self) -> str:
        return printable(f"{self.file or COMMAND_LINE}:{self.line}: {self.reason}")


class InputError(OntogenyError):
    """The input is wrong: a file, a recipe, an option."""

    exit_code = 2


class CorruptArtifact(OntogenyError):
    """Bytes on disk are not the bytes that were written."""

    exit_code = 3


class NoSpace(OntogenyError):
    """Disk or memory does not suffice; earlier artifacts are intact."""

    exit_code = 4


class SandboxRefused(OntogenyError):
    """Model-written code was not run because it could not be contained."""

    exit_code = 5


class Stopped(OntogenyError):
    """A signal stopped the run after a checkpoint; the same command continues it."""

    exit_code = 75


def printable(text: str) -> str:
    """`text` on one line of a terminal: control, bidi and surrogate characters are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
