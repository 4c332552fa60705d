"""Finds a recipe: one of ours by name, or a Python function in a user's file.

A mistake in a recipe becomes one line that names the recipe's own file and line.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError, OntogenyError

HERE = Path(__file__).resolve().parents[1]
GOES_ON = "GOES_ON"


@dataclass(frozen=True)
class Recipe:
    """A recipe's name, its file and its function (run -> last artifact).

    `goes_on` names the shipped recipe behind which it goes on, by that one's plan; see `shared`.
    """

    name: str
    path: Path
    function: Callable[..., Any]
    goes_on: str = ""

    @property
    def key(self) -> str:
        """Whose plan it plays by: all functions of one file share a plan, files of one name do not.

        The file's name alone is the shipped recipe's.
        """
        if self.goes_on:
            return self.goes_on
        stem = self.path.stem
        if shipped().get(stem) == self.path:
            return stem
        return f"{stem}-{hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:8]}"


def shipped() -> dict[str, Path]:
    """The recipes that came with the package: inside the wheel, or beside it in a checkout."""
    for directory in (HERE / "recipes", HERE.parent / "recipes"):
        if directory.is_dir():
            return {path.stem: path for path in sorted(directory.glob("*.py"))}
    return {}


def load(reference: str) -> Recipe:
    """The recipe called `reference`: a shipped name or FILE.py, perhaps with :FUNCTION behind.

    Raises:
        InputError: when there is none, or its file does not run.
    """
    file, colon, wanted = reference.rpartition(":")
    if not colon or not wanted.isidentifier():
        file, wanted = reference, ""
    if file.endswith(".py"):
        path = Path(file)
        if not path.is_file():
            raise InputError("no such recipe file; check the path", file=path)
    else:
        known = shipped()
        if file not in known:
            raise InputError(
                f"no recipe '{reference}'; give one of {', '.join(known)}, or a path ending in .py"
            )
        path = known[file]
    module = _module(path)
    function = _function(module, wanted or path.stem, path)
    goes_on = getattr(module, GOES_ON, "")
    if goes_on and (not isinstance(goes_on, str) or goes_on not in shipped()):
        raise InputError(f"{GOES_ON} is {goes_on!r}, which is no shipped recipe", file=path)
    return Recipe(function.__name__, path, function, goes_on)


def shared(name: str) -> Any:
    """The module of a shipped recipe, for one that goes on where it ends.

    Such a recipe also says `GOES_ON = NAME`: it then plays by the same pinned plan, so that what
    the other has made is found by its id.

    Raises:
        InputError: there is no such recipe.
    """
    known = shipped()
    if name not in known:
        raise InputError(f"no recipe {name!r} to go on from; there are {', '.join(known)}")
    return _module(known[name])


def _module(path: Path) -> types.ModuleType:
    name = f"ontogeny_recipe_{path.stem}"
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    with mistakes_in(path):
        loader.exec_module(module)
    return module


def _function(module: types.ModuleType, name: str, path: Path) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not inspect.isfunction(function):
        raise InputError(
            f"no function '{name}(run)' here; a recipe is a function with its file's name, "
            "or :FUNCTION behind the file names another",
            file=path,
        )
    return function


@contextlib.contextmanager
def mistakes_in(path: Path) -> Iterator[None]:
    """Turns an exception raised in the recipe's own code into one line.

    Raises:
        InputError: with the deepest line of `path` in the traceback. An exception raised below
            the recipe, in our own code, is ours and passes unchanged.
    """
    try:
        yield
    except SyntaxError as error:
        raise InputError(
            f"{error.msg}; mend the recipe", file=error.filename or path, line=error.lineno or 1
        ) from None
    except InputError as error:
        if error.file is not None:
            raise
        line = _deepest_line(error, path)
        raise InputError(error.reason, file=path, line=line or 1) from None
    except OntogenyError:
        raise
    except Exception as error:
        own = _own_line(error, path)
        if own is None:
            raise
        raise InputError(
            f"{type(error).__name__}: {error}; mend the recipe", file=path, line=own
        ) from error


def _own_line(error: Exception, path: Path) -> int | None:
    """The recipe's line that led to `error`, None when code of ours stood between the two.

    A config that cannot check itself (`__post_init__`) was given something of a wrong type.
    """
    line = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path):
            line = frame.lineno
        elif line is None or frame.name == "__post_init__":
            continue
        elif HERE in Path(frame.filename).parents:
            return None
    return line


def _deepest_line(error: Exception, path: Path) -> int | None:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] if lines else None
