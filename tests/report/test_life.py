"""What a run leaves is read back as it was, or refused in one line."""

import json
import os
from typing import Any

import pytest

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.report.life import Life, Named, read_life, write_life


def test_a_life_is_read_back_as_it_was_written(lived: Any, claims: Any) -> None:
    life = lived.life(*claims)
    path = write_life(lived.store, life)
    assert path == lived.store.root / "reports" / "quickstart.run.json"
    assert read_life(lived.store) == life == read_life(lived.store, "quickstart")
    assert json.loads(path.read_text())["artifacts"][0]["name"] == "corpus"


def test_without_a_name_the_newest_is_read(grown: Any) -> None:
    for age, recipe in ((20, "newest"), (30, "older")):
        path = write_life(grown.store, Life(recipe, "1m", 0, ()))
        os.utime(path, (1e9 - age, 1e9 - age))
    assert read_life(grown.store).recipe == "newest"
    with pytest.raises(
        InputError, match="no run of 'quickstart' has left a report; of newest, older"
    ):
        read_life(grown.store, "quickstart")


def test_a_store_that_no_run_reported_in_says_what_to_do(grown: Any) -> None:
    for recipe in (None, "quickstart"):
        with pytest.raises(InputError, match="`ontogeny run quickstart` does"):
            read_life(grown.store, recipe)


@pytest.mark.parametrize("recipe", ["", "../x", "a/b", ".hidden", "a\nb", "\x1b[2J"])
def test_a_recipe_that_is_no_file_name_is_refused(grown: Any, recipe: str) -> None:
    write_life(grown.store, Life("quickstart", "1m", 0, ()))
    with pytest.raises(InputError, match="no recipe's name"):
        read_life(grown.store, recipe)
    with pytest.raises(InputError, match="no recipe's name"):
        Life(recipe, "1m", 0, ())


@pytest.mark.parametrize("identity", ["", "../../../etc", "0123456789ABCDEF", "0123456789abcde"])
def test_an_id_that_is_none_is_refused(identity: str) -> None:
    with pytest.raises(InputError, match="no artifact's name and id"):
        Named("base", identity)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"recipe": "quickstart"}',
        b'{"recipe": "quickstart", "budget": "1m", "seed": "x", "artifacts": []}',
        b'{"recipe": "quickstart", "budget": "1m", "seed": 0, "artifacts": [1]}',
        b'{"recipe": "quickstart", "budget": "1m", "seed": 0, "artifacts": [], "more": 1}',
        b'{"recipe": "../x", "budget": "1m", "seed": 0, "artifacts": []}',
        b'{"recipe": "quickstart", "budget": "1m", "seed": 0,'
        b' "artifacts": [{"name": "base", "id": "../../secret"}]}',
        b'{"recipe": "quickstart", "budget": "1m", "seed": 0, "artifacts": [],'
        b' "claims": [{"name": "x", "meaning": "", "unit": "", "sense": "up", "target": 1}]}',
        b'{"recipe": "quickstart", "budget": "1m", "seed": 0, "artifacts": [],'
        b' "claims": [{"name": "x", "meaning": "", "unit": "", "sense": "within", "target": NaN}]}',
        b"[" * 100_000,
    ],
)
def test_what_no_run_writes_is_one_line_that_names_the_file(grown: Any, content: bytes) -> None:
    path = write_life(grown.store, Life("quickstart", "1m", 0, ()))
    path.write_bytes(content)
    with pytest.raises(CorruptArtifact, match="not what a run writes") as caught:
        read_life(grown.store)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)
