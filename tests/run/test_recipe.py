"""A recipe is found by name, path or function, and its plan belongs to its file."""

import re
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.run.recipe import load

TWO = """
def two(run):
    return "first"

def other(run):
    return "second"

number = 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "two.py").write_text(TWO)
    return tmp_path / "two.py"


def test_a_function_may_be_named_behind_the_file(path: Path) -> None:
    plain, named = load(str(path)), load(f"{path}:other")
    assert (plain.name, plain.function(None)) == ("two", "first")
    assert (named.name, named.function(None)) == ("other", "second")


def test_two_functions_of_one_file_share_a_plan(path: Path) -> None:
    assert load(str(path)).key == load(f"{path}:other").key
    assert load("quickstart").key == load("quickstart:evidence").key == "quickstart"


def test_two_files_of_one_name_do_not(path: Path, tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    twin = tmp_path / "deeper" / "two.py"
    twin.write_text(TWO)
    keys = {load(str(path)).key, load(str(twin)).key}
    assert len(keys) == 2
    assert all(re.fullmatch(r"two-[0-9a-f]{8}", key) for key in keys)
    (tmp_path / "quickstart.py").write_text("def quickstart(run):\n    pass\n")
    assert load(str(tmp_path / "quickstart.py")).key.startswith("quickstart-")


@pytest.mark.parametrize("name", ["third", "number"])
def test_a_function_that_is_not_there_is_one_line(path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"no function '{name}\\(run\\)' here") as caught:
        load(f"{path}:{name}")
    assert caught.value.file == str(path)


def test_an_unknown_recipe_names_the_shipped_ones() -> None:
    for reference in ("quickstrat", "quickstrat:evidence"):
        with pytest.raises(InputError, match=r"no recipe 'quickstrat.*quickstart"):
            load(reference)
