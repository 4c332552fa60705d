"""The files of a source: a folder, an installed distribution, the standard library.

Knows names and kinds of files, opens none of them. What is passed over is returned by name with
a reason. Orders are by name, so equal trees give equal lists on every file system.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ontogeny.base.errors import InputError

TEXT_SUFFIXES = (".txt", ".md", ".jsonl", ".json", ".py")
SUFFIXES = (*TEXT_SUFFIXES, *(suffix + ".gz" for suffix in TEXT_SUFFIXES), ".parquet")
EVAL = "eval"

# Left out of the standard library: tests and what is bundled for them, installed packages,
# files written when this Python was built, and one 750 kB string of documentation.
STDLIB_LEFT_OUT = frozenset(
    [
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idle_test",
        "idlelib",
        "ensurepip",
        "pydoc_data",
        "__pycache__",
        "__phello__",
        "lib-dynload",
    ]
)


class File(NamedTuple):
    """A file to read: `name` is relative and the same on every machine, `path` is not."""

    name: str
    path: Path


class Passed(NamedTuple):
    """A file or folder that is not read."""

    name: str
    reason: str
    detail: str


class Listing(NamedTuple):
    """What a source consists of. `label` names the source in every document."""

    label: str
    files: list[File]
    passed: list[Passed]


def shown(name: str) -> str:
    """A file name as valid Unicode; bytes that are no UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_examination(path: Path) -> bool:
    """Whether `path`, as given or as resolved, is or lies under a folder named `eval`.

    What is there measures models; no source that is trained on may hold it.
    """
    parts = (*path.parts, *Path(os.path.realpath(path)).parts)
    return any(part.casefold() == EVAL for part in parts)


def list_path(path: Path, *, trains: bool = True) -> Listing:
    """A file, or the text files of a folder and its folders.

    Symbolic links to files are followed, those to folders are not, so no loop is possible.
    Hidden names are passed over, and where the files are trained on, so is every `eval` folder.

    Raises:
        InputError: `path` is missing, is no file or folder, has an unknown suffix, or lies under
            an `eval` folder and is trained on.
    """
    if trains and is_examination(path):
        raise InputError(
            "lies under a folder named eval, and nothing there is ever trained on; copy what may "
            "be learned from to another folder",
            file=path,
        )
    label = shown(path.name or path.resolve().name)
    if path.is_dir():
        files: list[File] = []
        passed: list[Passed] = []
        for found in _walk(path, "", trains):
            (files if isinstance(found, File) else passed).append(found)  # type: ignore[arg-type]
        return Listing(label, files, passed)
    if not path.exists():
        raise InputError("no such file or folder; give one that exists", file=path)
    if not path.is_file():
        raise InputError("a pipe, socket or device; give a regular file or a folder", file=path)
    if not path.name.endswith(SUFFIXES):
        known = ", ".join(SUFFIXES)
        raise InputError(f"unknown kind of file; known are {known}", file=path)
    return Listing(label, [File(label, path)], [])


def _walk(folder: Path, prefix: str, trains: bool) -> Iterator[File | Passed]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield Passed(prefix or ".", "unreadable", error.strerror or "cannot be listed")
        return
    for entry in found:
        name = prefix + shown(entry.name)
        try:
            folder_itself, is_folder = entry.is_dir(follow_symlinks=False), entry.is_dir()
            is_file = entry.is_file()
        except OSError as error:  # a symbolic link that leads round to itself
            yield Passed(name, "unreadable", error.strerror or "cannot be looked at")
            continue
        if entry.name.startswith("."):
            yield Passed(name, "hidden", "the name begins with a dot")
        elif trains and _examines(entry, folder_itself):
            yield Passed(name, *EVAL_FOLDER)
        elif folder_itself:
            yield from _walk(Path(entry.path), name + "/", trains)
        elif is_folder:
            yield Passed(name, "linked_folder", "a symbolic link to a folder")
        elif not is_file:
            yield Passed(name, "not_a_file", "a pipe, socket, device or dangling link")
        elif not entry.name.endswith(SUFFIXES):
            yield Passed(name, "unknown_suffix", "not one of " + ", ".join(SUFFIXES))
        else:
            yield File(name, Path(entry.path))


EVAL_FOLDER = ("eval_folder", "what lies under a folder named eval is never trained on")


def _examines(entry: os.DirEntry[str], folder: bool) -> bool:
    if entry.is_symlink():
        return is_examination(Path(entry.path))
    return folder and entry.name.casefold() == EVAL


def list_package(requirement: str, *, trains: bool = True) -> Listing:
    """The text files that the installed distribution `NAME==VERSION` brings; imports nothing.

    Where they are trained on, what is in an `eval` folder of it is passed over.

    Raises:
        InputError: not pinned, not installed, another version, or no texts in it.
    """
    name, pin, version = requirement.partition("==")
    if not (name and pin and version):
        raise InputError(f"package:{requirement} is not pinned; write package:NAME==VERSION")
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise InputError(f"{name} is not installed; pip install '{requirement}'") from error
    if distribution.version != version:
        raise InputError(
            f"{name} {distribution.version} is installed, {version} is asked for; "
            f"pip install '{requirement}'"
        )
    names = sorted(
        str(file)
        for file in distribution.files or ()
        if str(file).endswith((".txt", ".md", ".jsonl")) and ".dist-info" not in file.parts[0]
    )
    if not names:
        raise InputError(f"{requirement} brings no .txt, .md or .jsonl file; name another package")
    inside = len(os.path.commonpath([os.path.dirname(file) for file in names]))
    listed = [
        File(file[inside:].lstrip("/"), Path(str(distribution.locate_file(file)))) for file in names
    ]
    barred = {file for file in listed if trains and EVAL in Path(file.name.casefold()).parts}
    passed = [Passed(file.name, *EVAL_FOLDER) for file in listed if file in barred]
    return Listing(requirement, [file for file in listed if file not in barred], passed)


def list_stdlib() -> Listing:
    """The Python sources of this interpreter's standard library, less `STDLIB_LEFT_OUT`.

    Raises:
        InputError: this Python keeps no sources on disk.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    files: list[File] = []
    passed: list[Passed] = []
    for folder, folders, names in os.walk(root):
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else inside.replace(os.sep, "/") + "/"
        for left_out in sorted((set(folders) & STDLIB_LEFT_OUT) - {"__pycache__"}):
            passed.append(Passed(prefix + left_out, "left_out", "tests, packages or built files"))
        folders[:] = sorted(
            name
            for name in set(folders) - STDLIB_LEFT_OUT
            if not name.startswith("config-")  # holds this build's own compiler settings
        )
        for name in sorted(names):
            if name.startswith("_sysconfigdata"):
                passed.append(Passed(prefix + name, "left_out", "written by this Python's build"))
            elif name.endswith(".py"):
                files.append(File(prefix + name, Path(folder, name)))
    if not files:
        raise InputError("this Python keeps no sources of its standard library; use path:FOLDER")
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Listing(f"python-{version}", sorted(files), passed)
