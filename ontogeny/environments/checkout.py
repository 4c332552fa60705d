"""Installed packages as repositories: their files, their tests, a tree to show, an agent's edits.

Knows no fault and no sandbox. The source files that faults are put into (`Target`) are left out
of the tree: whoever runs code over it sees them only as the host sends them, never the original.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from ontogeny.base.errors import InputError

MOST_SHOWN = 80
"""Lines of a window."""
MOST_HITS = 30
MOST_FILE = 400_000
"""Bytes of a file that an agent may come to."""


@dataclass(frozen=True, slots=True)
class Target:
    """A source file that faults are put into, and the tests that are run for it.

    Attributes:
        package: the top package, named as its distribution.
        file: below site-packages.
        tests: test files below site-packages.
    """

    package: str
    file: str
    tests: tuple[str, ...]


def _mpmath(name: str, *tests: str) -> Target:
    files = tuple(f"mpmath/tests/test_{each}.py" for each in tests)
    return Target("mpmath", f"mpmath/libmp/{name}.py", files)


def _networkx(file: str, *tests: str) -> Target:
    folder, name = os.path.split(file)
    names = tests or (name.removesuffix(".py"),)
    files = tuple(f"networkx/{folder}/tests/test_{each}.py" for each in names)
    return Target("networkx", f"networkx/{file}", files)


_NUMBERS = ("basic_ops", "bitwise", "division", "power", "str", "special", "trig")
TARGETS = (
    _mpmath("libintmath", *_NUMBERS),
    _mpmath("libmpf", *_NUMBERS),
    _mpmath("libmpc", *_NUMBERS),
    _mpmath("libelefun", *_NUMBERS),
    _networkx("utils/misc.py"),
    _networkx("algorithms/graphical.py"),
    _networkx("algorithms/euler.py"),
    _networkx("algorithms/chains.py"),
    _networkx("algorithms/core.py"),
    _networkx("algorithms/dominating.py"),
    _networkx("algorithms/covering.py"),
    _networkx("algorithms/richclub.py"),
    _networkx("algorithms/tournament.py"),
    _networkx("algorithms/cuts.py"),
    _networkx("algorithms/tree/coding.py"),
    _networkx("algorithms/tree/recognition.py"),
    _networkx("generators/degree_seq.py"),
    _networkx("generators/classic.py"),
)
PACKAGES = tuple(dict.fromkeys(each.package for each in TARGETS))


@dataclass(frozen=True)
class Source:
    """An installed package.

    Raises:
        InputError: it is not installed.
    """

    package: str
    version: str
    root: Path

    @classmethod
    @cache
    def of(cls, package: str) -> Source:
        """The installed one."""
        try:
            found = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            raise InputError(f"{package} is not installed; `pip install {package}`") from None
        return cls(package, found.version, Path(str(found.locate_file(""))))

    def text(self, file: str) -> str:
        """A file as it is installed. Raises InputError where there is none."""
        try:
            return (self.root / file).read_bytes().decode()
        except OSError:
            raise InputError(f"{self.package} {self.version} has no file {file}") from None

    def files(self) -> tuple[str, ...]:
        """All of its Python files, sorted."""
        return _files(self.root, self.package)


@cache
def _files(root: Path, package: str) -> tuple[str, ...]:
    found = (root / package).rglob("*.py")
    return tuple(sorted(path.relative_to(root).as_posix() for path in found))


def digest(text: str) -> str:
    """Of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_test(file: str) -> bool:
    """Whether a file belongs to the tests: its edits reach no judge."""
    return "tests" in file.split("/") or os.path.basename(file).startswith(("test_", "conftest"))


def known_tests(target: Target) -> list[str]:
    """Ids FILE::test or FILE::Class::test of tests that are plain functions.

    Those with a decorator, an argument or a foreign base class are left out: they need pytest to
    run them.
    """
    found: list[str] = []
    for file in target.tests:
        for node in ast.parse(Source.of(target.package).text(file)).body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test") and not node.bases:
                inner = [each for each in node.body if _plain(each, ["self"])]
                found += (f"{file}::{node.name}::{each.name}" for each in inner)  # type: ignore[attr-defined]
            elif isinstance(node, ast.FunctionDef) and _plain(node, []):
                found.append(f"{file}::{node.name}")
    return found


def _plain(node: ast.stmt, arguments: list[str]) -> bool:
    return (
        isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and not node.decorator_list
        and [each.arg for each in node.args.args] == arguments
    )


@cache
def tree() -> Path:
    """A directory with all packages but the files of `TARGETS`, for as long as this process lives.

    Files are hard links where they can be, so that their times, and with them the compiled ones,
    stay right.
    """
    made = Path(tempfile.mkdtemp(prefix="repository-"))
    made.chmod(0o755)  # the sandbox's user reads it
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    hidden = {each.file for each in TARGETS}
    for package in PACKAGES:
        source = Source.of(package)
        for folder, folders, files in os.walk(source.root / package):
            folders.sort()
            place = Path(folder).relative_to(source.root)
            (made / place).mkdir(parents=True)
            for name in files:
                if _source(place, name) not in hidden:
                    _link(Path(folder) / name, made / place / name)
    return made


def _source(place: Path, name: str) -> str:
    """The file below site-packages, or the source that it was compiled from."""
    if place.name == "__pycache__":
        place, name = place.parent, f"{name.split('.')[0]}.py"
    return (place / name).as_posix()


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)


@dataclass
class Checkout:
    """A package with a fault, as one agent sees and edits it. Text alone; nothing runs here.

    Attributes:
        package: whose files they are.
        base: files that are not as installed: the one with the fault.
        edited: file -> text, of those that were edited.
    """

    package: str
    base: Mapping[str, str]
    edited: dict[str, str] = field(default_factory=dict)

    def text(self, file: str) -> str:
        """Raises InputError where there is no such file."""
        if file in self.edited:
            return self.edited[file]
        if file in self.base:
            return self.base[file]
        source = Source.of(self.package)
        if file not in source.files():
            raise InputError(f"there is no file {file!r}; `list` shows those there are")
        return source.text(file)

    def listed(self, folder: str) -> str:
        """Files of a folder, and folders below it with how many files they hold."""
        start = f"{folder.strip('/')}/" if folder.strip("/") else ""
        inside = [each[len(start) :] for each in self._files() if each.startswith(start)]
        if not inside:
            raise InputError(f"there is no folder {folder!r}; `list` without one shows the top")
        below: dict[str, int] = {}
        for name in inside:
            first = name.split("/")[0] + "/" * ("/" in name)
            below[first] = below.get(first, 0) + 1
        shown = [f"{name} ({n} files)" if name.endswith("/") else name for name, n in below.items()]
        return "\n".join(sorted(shown))

    def window(self, file: str, first: int, last: int) -> str:
        """Lines first to last, numbered, at most `MOST_SHOWN`."""
        lines = self.text(file).split("\n")
        last = min(last, first + MOST_SHOWN - 1, len(lines))
        if first > last:
            raise InputError(f"{file} has lines 1 to {len(lines)}")
        head = f"{file}, lines {first} to {last} of {len(lines)}"
        shown = (f"{number}\t{lines[number - 1]}" for number in range(first, last + 1))
        return "\n".join([head, *shown])

    def found(self, text: str, folder: str) -> str:
        """Where a text stands, literally; at most `MOST_HITS` lines."""
        hits = []
        for file in self._files():
            if not file.startswith(folder):
                continue
            content = self.text(file)
            if text in content:
                lines = enumerate(content.split("\n"), start=1)
                hits += [f"{file}:{number}: {line[:160]}" for number, line in lines if text in line]
        left = len(hits) - MOST_HITS
        more = [f"({left} more; search for something rarer)"] if left > 0 else []
        return "\n".join([*hits[:MOST_HITS], *more]) or "nothing was found"

    def replace(self, file: str, old: str, new: str) -> str:
        """Puts `new` where `old` stands once."""
        text = self.text(file)
        count = text.count(old) if old else 0
        if count != 1:
            raise InputError(f"the old text stands {count} times in {file}; it must stand once")
        self._write(file, text.replace(old, new))
        return f"{file} was changed"

    def rewrite(self, file: str, first: int, last: int, new: str) -> str:
        """Puts `new` instead of the lines first to last; last = first - 1 inserts before first."""
        lines = self.text(file).split("\n")
        if not 1 <= first <= last + 1 <= len(lines) + 1:
            raise InputError(f"{file} has lines 1 to {len(lines)}; give first <= last among them")
        lines[first - 1 : last] = new.split("\n") if new else []
        self._write(file, "\n".join(lines))
        return f"{file} was changed"

    def changed(self, *, judged: bool) -> dict[str, str]:
        """Files to be sent: those not as installed; with `judged`, tests as they were."""
        edits = {f: t for f, t in self.edited.items() if not (judged and is_test(f))}
        return {**self.base, **edits}

    def _write(self, file: str, text: str) -> None:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise InputError("the text is no UTF-8") from None
        if size > MOST_FILE:
            raise InputError(f"{file} would have more than {MOST_FILE} bytes")
        self.edited[file] = text

    def _files(self) -> Sequence[str]:
        return Source.of(self.package).files()
