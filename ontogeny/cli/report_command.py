"""`ontogeny report`: the last run of a recipe told again, from what it left in the store."""

from __future__ import annotations

import json
from pathlib import Path

from ontogeny.base.errors import printable
from ontogeny.base.store import Store
from ontogeny.report.life import read_life
from ontogeny.report.table import effects_table
from ontogeny.report.write import JSON, write_report


def report(recipe: str | None, root: Path, *, as_json: bool) -> None:
    """Writes report.json and report.html; prints the table of effects, or the JSON.

    Raises:
        InputError: no such store, no run of the recipe, or one of its artifacts is gone.
        CorruptArtifact: what the run left is damaged.
        NoSpace: the disk is full or fails.
    """
    store = Store.open(root)
    page = write_report(store, read_life(store, recipe))
    text = (page.parent / JSON).read_text(encoding="utf-8")
    if as_json:
        print(text, end="")
        return
    for line in effects_table(json.loads(text)):
        print(line)
    print(printable(f"report in {page}"))
