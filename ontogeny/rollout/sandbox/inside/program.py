"""A program's life inside its sealed process: unpack, run as a main module would, end.

Knows no limits and no verdict: whatever it says is said by a process that the program owns.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import importlib.util
import json
import os
import shutil
import sys
import threading
import traceback
from types import ModuleType, TracebackType
from typing import Any

MAIN = "/tmp/main.py"
STREAMS = (
    (0, "stdin", "r", "surrogateescape"),
    (1, "stdout", "w", "surrogateescape"),
    (2, "stderr", "w", "backslashreplace"),
)
OUT_OF_MEMORY = 86
"""Exit code of a program whose MemoryError nobody caught. Anyone may exit so: it earns nothing."""


def unpack(bundle: int) -> dict[str, Any]:
    """Writes the files of a job where they belong; returns what else the host said of it.

    The bundle: 8 bytes, the header's length; the header, JSON; the bytes of the files in order.

    Raises:
        OSError: no room, or a name that cannot be made.
    """
    with open(bundle, "rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "big")))
        for source, target in header["copies"]:
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, copy_function=_copy)
        for name, size in header["files"]:
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as target_file:
                target_file.write(file.read(size))
    return header


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)


def run(header: dict[str, Any]) -> int:
    """Runs `/tmp/main.py` as `python FILE ARGUMENTS` would; returns its exit code."""
    _set_up(header)
    code = 0
    try:
        loader = importlib.machinery.SourceFileLoader("__main__", MAIN)
        module = ModuleType("__main__")
        module.__file__, module.__loader__ = MAIN, loader
        module.__dict__["__builtins__"] = sys.modules["builtins"]
        sys.modules["__main__"] = module
        loader.exec_module(module)
    except BaseException as error:
        code = _ended_by(error)
    return _finish(code)


def _set_up(header: dict[str, Any]) -> None:
    # made anew: those of the zygote remember what its own files were
    for fd, name, mode, errors in STREAMS:
        buffering = 1 if name == "stderr" else -1
        stream = open(fd, mode, buffering, "utf-8", errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(header["directory"])
    sys.argv[:] = [MAIN, *header["arguments"]]
    paths = [os.path.dirname(MAIN), *header["paths"]]
    sys.path[:] = [*paths, *(path for path in sys.path if path.startswith("/python/"))]
    for cached in list(sys.path_importer_cache):
        del sys.path_importer_cache[cached]
    if header["paths"]:  # for the Pythons that it may start itself
        os.environ["PYTHONPATH"] = ":".join(header["paths"])
    os.environ.update(header["environment"])


def _ended_by(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        _say(str(error.code))
        return 1
    try:
        shown = error.with_traceback(_own(error.__traceback__))
        traceback.print_exception(shown)
    except BaseException:  # what it raised may not be printable, or may be out of memory again
        _say(type(error).__name__)
    return OUT_OF_MEMORY if isinstance(error, MemoryError) else 1


def _own(found: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the program's."""
    first = found
    while first is not None and first.tb_frame.f_code.co_filename != MAIN:
        first = first.tb_next
    return first


def _say(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
    except BaseException:
        os.write(2, text.encode(errors="replace") + b"\n")


def _finish(code: int) -> int:
    """Ends as an interpreter does: waits for threads, runs `atexit`, writes what is buffered."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException as error:
        code = _ended_by(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            code = code or 120
    return code
