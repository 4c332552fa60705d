"""Files and functions stay small, and nothing is named after nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ontogeny", "recipes", "benchmarks")
FILE_LINES, FUNCTION_LINES = 350, 60
EMPTY_NAMES = ("utils.py", "util.py", "common.py", "helpers.py", "misc.py")
EMPTY_SUFFIXES = ("Manager", "Handler", "Helper", "Util", "Utils")


def too_large(folder: Path) -> list[str]:
    """Every file and function below `folder` over the limits, and every empty name."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        if lines > FILE_LINES:
            found.append(f"{file}:1: {lines} lines")
        if file.name in EMPTY_NAMES:
            found.append(f"{file}:1: a name that says nothing")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    found.append(f"{file}:{node.lineno}: {node.name} has {length} lines")
            elif isinstance(node, ast.ClassDef) and node.name.endswith(EMPTY_SUFFIXES):
                found.append(f"{file}:{node.lineno}: a name that says nothing: {node.name}")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_and_functions_are_small(folder: str) -> None:
    assert too_large(ROOT / folder) == []


def test_what_is_too_large_is_found(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("x = 1\n" * (FILE_LINES + 1))
    (tmp_path / "fits.py").write_text("x = 1\n" * FILE_LINES)
    (tmp_path / "utils.py").write_text("")
    body = "    x = 1\n" * FUNCTION_LINES
    (tmp_path / "f.py").write_text(f"class TaskManager:\n    pass\n\nasync def f():\n{body}")
    found = too_large(tmp_path)
    assert [line.removeprefix(str(tmp_path)) for line in found] == [
        "/f.py:1: a name that says nothing: TaskManager",
        "/f.py:4: f has 61 lines",
        "/long.py:1: 351 lines",
        "/utils.py:1: a name that says nothing",
    ]
