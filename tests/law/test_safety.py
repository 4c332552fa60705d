"""No path of ours runs what it loads, and every public name says what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ontogeny", "recipes", "benchmarks")
# Reading any of these formats can run code (CWE-502).
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
MODULES |= {"jsonpickle", "pickletools", "imp"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "os.system",
    "os.popen",
}
KEYWORDS = {"trust_remote_code", "allow_pickle", "shell"}  # refused where they are true


def dangers(file: Path) -> Iterator[str]:
    """Every place in `file` that could run what it reads."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    aliases = _aliases(tree)
    for node in ast.walk(tree):
        for name in _imported(node):
            if name.split(".")[0] in MODULES or name in CALLS:
                yield f"{file}:{node.lineno}: imports {name}"  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            called = _dotted(node.func, aliases)
            if called in CALLS or called in BUILTINS:
                yield f"{file}:{node.lineno}: calls {called}"
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in KEYWORDS and not off:
                    yield f"{file}:{node.lineno}: passes {keyword.arg}"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Local name -> imported module, for `import torch as t`."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import))
    return {alias.asname: alias.name for node in imports for alias in node.names if alias.asname}


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return "?"


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_runs_what_it_loads(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert [danger for file in files for danger in dangers(file)] == []


PLANTED = [
    "import pickle",
    "from pickle import loads",
    "import dill as d",
    "from torch import load",
    "import torch\ntorch.load('x')",
    "import torch as t\ndef f():\n    return t.load('x', weights_only=True)",
    "import yaml\nyaml.load('x', Loader=None)",
    "eval('1')",
    "exec('1')",
    "class A:\n    def f(self): return __import__('os')",
    "import os\nos.system('ls')",
    "AutoModel.from_pretrained('x', trust_remote_code=True)",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "import subprocess\nsubprocess.run('ls', shell=flag)",
]


@pytest.mark.parametrize("source", PLANTED)
def test_a_planted_danger_is_found(tmp_path: Path, source: str) -> None:
    file = tmp_path / "a.py"
    file.write_text(source)
    assert list(dangers(file))


def test_what_only_looks_dangerous_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "import re, json\nre.compile('a')\nmodel.eval()\njson.load(f)\n"
        "np.load('x', allow_pickle=False)\ntorch.compile(model)\nrun('exec')"
    )
    assert list(dangers(file)) == []


def undocumented(file: Path) -> Iterator[str]:
    """Every public module, class, function and method of `file` without a docstring."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if not ast.get_docstring(tree):
        yield f"{file}:1: the module"
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("_"):
                    continue
                if not ast.get_docstring(node):
                    yield f"{file}:{node.lineno}: {node.name}"
                if isinstance(node, ast.ClassDef):
                    waiting.append(node)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_public_name_has_a_docstring(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert [line for file in files for line in undocumented(file)] == []


def test_a_missing_docstring_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "def f():\n    def g(): pass\nclass A:\n    'x'\n    async def m(self): pass\n"
        "    def _p(self): pass\nclass _B:\n    def q(self): pass\n"
    )
    assert sorted(line.rsplit(" ", 1)[1] for line in undocumented(file)) == ["f", "m", "module"]
