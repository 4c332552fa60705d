"""A recipe goes on where a shipped one ends: its functions and its pinned plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.run.recipe import load, shared

TEXT = """from ontogeny.run.recipe import shared
{line}
FIRST = shared("quickstart")


def more(run):
    return FIRST.quickstart(run)
"""


def written(directory: Path, line: str) -> Path:
    file = directory / "more.py"
    file.write_text(TEXT.format(line=line))
    return file


def test_a_recipe_that_goes_on_plays_by_the_plan_of_the_first(tmp_path: Path) -> None:
    recipe = load(str(written(tmp_path, 'GOES_ON = "quickstart"')))
    assert recipe.key == load("quickstart").key == "quickstart"
    assert recipe.name == "more"


def test_one_that_only_uses_functions_has_a_plan_of_its_own(tmp_path: Path) -> None:
    assert load(str(written(tmp_path, ""))).key.startswith("more-")


def test_there_must_be_something_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shipped recipe"):
        load(str(written(tmp_path, 'GOES_ON = "nothing"')))
    with pytest.raises(InputError, match="which is no shipped recipe"):
        load(str(written(tmp_path, 'GOES_ON = ["quickstart"]')))
    with pytest.raises(InputError, match="no recipe 'nothing'"):
        shared("nothing")
