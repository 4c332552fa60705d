"""Which stage of ours a record's `stage` is: found in the sources' text, then imported alone."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from ontogeny.base.errors import InputError
from ontogeny.run.work import Stage

STAGES = Path(__file__).resolve().parents[1] / "stages"


def stage_named(name: str, directory: Path = STAGES) -> type[Stage]:
    """The class whose `stage` is `name`.

    Raises:
        InputError: no stage of ours is called so; a recipe may define its own.
    """
    for path in sorted(directory.glob("*.py")):
        called = stages_in(path).get(name)
        if called is not None:
            found: type[Stage] = getattr(
                importlib.import_module(f"ontogeny.stages.{path.stem}"), called
            )
            return found
    raise InputError(f"'{name}' is no stage of ontogeny's; run the recipe that has it")


def stages_in(path: Path) -> dict[str, str]:
    """{stage: class} of one module, which is read and not imported."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for each in node.body if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(node, ast.ClassDef)
                and isinstance(each, ast.AnnAssign)
                and isinstance(each.target, ast.Name)
                and each.target.id == "stage"
                and isinstance(each.value, ast.Constant)
            ):
                found[str(each.value.value)] = node.name
    return found
