"""Imports run down, the halves do not touch, and each check finds a violation that is planted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ontogeny"

# A package may import itself and packages of a lower rank (docs/architecture.md). "" is the top:
# __init__ and __main__.
RANK = {
    "base": 0,
    "plan": 1,
    "text": 2,
    "objectives": 2,
    "corpus": 3,
    "rollout": 3,
    "model": 3,
    "environments": 4,
    "train": 4,
    "infer": 4,
    "evaluate": 5,
    "safety": 5,
    "feedback": 5,
    "anatomy": 5,
    "report": 6,
    "serve": 6,
    "release": 6,
    "run": 6,  # above the halves, which never see a run; bridge reports through it
    "bridge": 7,
    "edge": 8,
    "stages": 9,
    "cli": 10,
    "": 11,
}
LANGUAGE = {"text", "corpus", "rollout", "environments", "evaluate", "safety", "feedback"}
LANGUAGE |= {"report", "serve", "release"}
LEARNING = {"objectives", "model", "train", "infer", "anatomy"}
ONLY = {"objectives": set[str](), "run": {"base", "plan"}, "base": set[str]()}
MAY_LOAD_TORCH = LEARNING | {"bridge", "edge"}
TORCH = ("torch", "transformers", "peft", "accelerate", "safetensors.torch")
LAZY = {"cli", "edge"}
SEAMS = {("bridge", "__getattr__"), ("environments", "collection")}  # PEP 562; an extra's module


@dataclass(frozen=True)
class Import:
    """One imported module: where, what, and the function it stands in."""

    file: Path
    line: int
    source: str  # package of the importing file, e.g. "text"
    target: str  # absolute dotted name; "?" when only known at run time
    function: str | None

    @property
    def package(self) -> str | None:
        """The package of ours that is imported, or None."""
        parts = self.target.split(".")
        if parts[0] != PACKAGE:
            return None
        return parts[1] if len(parts) > 1 and parts[1] in {*RANK, "recipes"} else ""

    def tells(self, reason: str) -> str:
        """One line for a person."""
        return f"{self.file}:{self.line}: {reason}"


def imports_of(file: Path, root: Path) -> Iterator[Import]:
    """Every import in `file`, at any depth, relative ones and `import_module` included."""
    parts = file.relative_to(root).with_suffix("").parts
    source = parts[1] if parts[0] == PACKAGE and len(parts) > 2 else ""
    package = parts[:-1]  # of a module and of an __init__ alike
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node, function in _with_function(tree, None):
        for target in _targets(node, package):
            yield Import(file, node.lineno, source, target, function)


def _with_function(node: ast.AST, function: str | None) -> Iterator[tuple[ast.stmt, str | None]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield child, function  # type: ignore[misc]
        inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        name = getattr(child, "name", "lambda") if inner else function
        yield from _with_function(child, name)


def _targets(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        stem = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{stem}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            known = isinstance(first, ast.Constant) and isinstance(first.value, str)
            return [first.value if known else "?"]  # type: ignore[union-attr,list-item]
    return []


def violations(root: Path) -> list[str]:
    """Every broken rule below `root`, which holds `ontogeny/` and perhaps `recipes/`."""
    found = []
    for directory in sorted((root / PACKAGE).iterdir()):
        if directory.is_dir() and list(directory.glob("*.py")) and directory.name not in RANK:
            found.append(f"{directory}:1: a package without a rank")
    for file in sorted((root / PACKAGE).rglob("*.py")):
        for item in imports_of(file, root):
            found += [item.tells(reason) for reason in _broken(item)]
    for file in sorted((root / "recipes").rglob("*.py")):
        for item in imports_of(file, root):
            if item.package is not None and RANK.get(item.package, 99) > RANK["stages"]:
                found.append(item.tells(f"a recipe imports {item.target}"))
    return found


def _broken(item: Import) -> Iterator[str]:
    source, target = item.source, item.package
    if item.target.split(".")[0] == "recipes" or target == "recipes":
        yield "the package imports a recipe"
    elif target is not None and target != source:
        # `from ontogeny import __version__` loads nothing but the top __init__.
        if target == "" and item.target != PACKAGE and item.target.endswith("__version__"):
            pass
        elif RANK[target] >= RANK[source]:
            yield f"{source} imports {target}: not downwards"
        if {source, target} & LANGUAGE and {source, target} & LEARNING:
            yield f"{source} imports {target}: the halves touch"
        if source in ONLY and target not in ONLY[source]:
            yield f"{source} imports {target}: it may import {sorted(ONLY[source]) or 'nothing'}"
    if source not in MAY_LOAD_TORCH and any(
        item.target == name or item.target.startswith(name + ".") for name in TORCH
    ):
        yield f"{source or 'the top'} imports {item.target}: torch belongs below bridge"
    lazy = source in LAZY or (source, item.function) in SEAMS
    if item.function is not None and not lazy:
        yield f"import inside {item.function}"


def test_imports_run_down() -> None:
    assert violations(ROOT) == []


def test_the_checks_read_the_whole_package() -> None:
    seen = {item.source for f in (ROOT / PACKAGE).rglob("*.py") for item in imports_of(f, ROOT)}
    assert {"base", "text", "corpus", "objectives", "model", "train", "bridge", "cli"} <= seen


PLANTED = {
    "upwards": ("text/a.py", "from ontogeny.corpus.table import x", "not downwards"),
    "upwards, module": ("base/a.py", "import ontogeny.plan.shape", "not downwards"),
    "upwards, package": ("text/a.py", "from ontogeny import stages", "not downwards"),
    "upwards, relative": ("text/a.py", "from ..corpus import table", "not downwards"),
    "upwards, deep": ("text/deep/a.py", "from ...corpus.table import x", "not downwards"),
    "upwards, from an init": ("text/__init__.py", "from ..corpus import x", "not downwards"),
    "upwards, for types": (
        "text/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ontogeny.cli.app",
        "not downwards",
    ),
    "sideways": ("train/a.py", "from ontogeny.infer import engine", "not downwards"),
    "edge from below": ("bridge/a.py", "from ontogeny.edge import x", "not downwards"),
    "the top": ("text/a.py", "import ontogeny.__main__", "not downwards"),
    "halves": ("train/a.py", "from ontogeny.text import tokenizer", "halves touch"),
    "halves, other way": ("evaluate/a.py", "from ontogeny.model import head", "halves touch"),
    "objectives": ("objectives/a.py", "from ontogeny.base import errors", "may import nothing"),
    "run": ("run/a.py", "from ontogeny.text import tokenizer", "may import ['base', 'plan']"),
    "torch": ("text/a.py", "import torch", "torch belongs"),
    "torch, part": ("rollout/a.py", "from torch.nn import functional", "torch belongs"),
    "torch, stage": ("stages/a.py", "import torch.nn", "torch belongs"),
    "torch, disguised": ("serve/a.py", "from safetensors.torch import load", "torch belongs"),
    "torch, dynamic": ("cli/a.py", "import importlib\nimportlib.import_module('torch')", "torch"),
    "inside": ("text/a.py", "def f():\n    import json", "import inside f"),
    "inside a method": (
        "run/a.py",
        "class A:\n    async def f(self):\n        import json",
        "import inside f",
    ),
    "inside, dynamic": ("text/a.py", "import importlib\ng = lambda n: import_module(n)", "lambda"),
    "inside bridge": ("bridge/a.py", "def load():\n    import torch", "import inside load"),
    "recipe": ("stages/a.py", "from ontogeny.recipes import quickstart", "imports a recipe"),
    "recipe, outside": ("cli/a.py", "import recipes.quickstart", "imports a recipe"),
    "no rank": ("helpers/a.py", "", "without a rank"),
    "recipe upwards": ("../recipes/a.py", "from ontogeny.cli import app", "a recipe imports"),
}


@pytest.mark.parametrize(("name", "source", "reason"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_found(tmp_path: Path, name: str, source: str, reason: str) -> None:
    file = tmp_path / PACKAGE / name
    (tmp_path / PACKAGE).mkdir()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source + "\n")
    assert [line for line in violations(tmp_path) if reason in line]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("text/a.py", "import json\nfrom ontogeny.base import errors\nfrom . import b"),
        ("bridge/__init__.py", "def __getattr__(name):\n    import torch"),
        ("bridge/a.py", "import torch\nfrom ontogeny.text import a\nfrom ontogeny.model import b"),
        ("cli/a.py", "from ontogeny import __version__\ndef f():\n    from ontogeny.cli import b"),
        ("../recipes/a.py", "from ontogeny.stages import a\nfrom ontogeny.run import b"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, name: str, source: str) -> None:
    file = tmp_path / PACKAGE / name
    (tmp_path / PACKAGE).mkdir()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source + "\n")
    assert violations(tmp_path) == []


def test_an_init_says_what_the_package_is_and_imports_nothing() -> None:
    lazy = ROOT / PACKAGE / "bridge" / "__init__.py"
    for file in (ROOT / PACKAGE).rglob("__init__.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), file
        if file != lazy:
            assert not list(imports_of(file, ROOT)), file
