"""A recipe as it was last played: which artifacts, which claims; `reports/RECIPE.run.json`.

Knows no stage and no page. The run writes it, the report is made from it again and again.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from ontogeny.base import config as configs
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json, require_directory, write_json
from ontogeny.base.store import Store, valid_name
from ontogeny.evaluate.claims import Claim

SUFFIX = ".run.json"
ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Named:
    """An artifact under the name that this recipe gave it.

    Raises:
        InputError: the name is no stage's or the id none.
    """

    name: str
    id: str

    def __post_init__(self) -> None:
        if not valid_name(self.name) or not ID.fullmatch(self.id):
            raise InputError(f"'{self.name}' {self.id!r} is no artifact's name and id")


@dataclass(frozen=True)
class Life:
    """What one run of a recipe made, in order, and what had been claimed of it.

    Raises:
        InputError: the recipe's name cannot be a file's, or a claim's number is not finite.
    """

    recipe: str
    budget: str
    seed: int
    artifacts: tuple[Named, ...]
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.recipe)
        for claim in self.claims:
            if not math.isfinite(claim.target) or not math.isfinite(claim.null or 0.0):
                raise InputError(f"claim {claim.name}: give a finite target and null value")


def reports_in(store: Store) -> Path:
    """The directory of the store's reports."""
    return store.root / "reports"


def write_life(store: Store, life: Life) -> Path:
    """Writes `reports/RECIPE.run.json`; returns its path.

    Raises:
        InputError: the directory cannot be made.
        NoSpace: the disk is full or fails.
    """
    path = reports_in(store) / f"{life.recipe}{SUFFIX}"
    require_directory(path.parent)
    write_json(path, configs.to_dict(life))
    return path


def read_life(store: Store, recipe: str | None = None) -> Life:
    """What the last run of `recipe` left; of whichever recipe ran last when it is None.

    Raises:
        InputError: no run has left anything, or not of this recipe.
        CorruptArtifact: the file is not what a run writes.
    """
    known = sorted(reports_in(store).glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    if not known:
        raise InputError(
            "no run has left a report here; `ontogeny run quickstart` does", file=store.root
        )
    if recipe is None:
        return _read(known[-1])
    _check_name(recipe)
    path = reports_in(store) / f"{recipe}{SUFFIX}"
    if path not in known:
        names = ", ".join(sorted(path.name.removesuffix(SUFFIX) for path in known))
        raise InputError(f"no run of '{recipe}' has left a report; of {names} one has")
    return _read(path)


def _check_name(recipe: str) -> None:
    if not recipe or recipe.startswith(".") or "/" in recipe or not recipe.isprintable():
        raise InputError(f"'{recipe}' is no recipe's name; give the name that was run")


def _read(path: Path) -> Life:
    try:
        return configs.from_dict(Life, read_json(path), file=str(path))
    except (InputError, CorruptArtifact) as error:
        reason = "not JSON" if isinstance(error, CorruptArtifact) else error.reason
        raise CorruptArtifact(
            f"not what a run writes ({reason}); run the recipe again", file=path, line=error.line
        ) from None
