"""Names of environments resolve in one place, whatever they are played by."""

from __future__ import annotations

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.catalogue import TOOLED, environment
from ontogeny.environments.own import check_names
from ontogeny.environments.playable import check_playable, playable
from ontogeny.environments.tooled import ToolEnvironment
from ontogeny.stages.measure import Measure
from ontogeny.stages.pairs import Pairs


def test_names_are_found_whatever_plays_them() -> None:
    found = playable(["library-2", "vowels-3", "programs-list-1", "needle-4"])
    assert [each.name for each in found.values()] == list(found)
    assert [name for name, each in found.items() if isinstance(each, ToolEnvironment)] == [
        "library-2"
    ]
    check_playable([*found, "tasks/mine"])


def test_a_name_that_nothing_has_is_one_line_that_names_both_kinds() -> None:
    for refused in (check_playable, playable):
        with pytest.raises(InputError, match="no environment 'library'") as caught:
            refused(["library"])
        assert "vowels-3" in str(caught.value)
        assert "with tools library-1" in str(caught.value)
    with pytest.raises(InputError, match="no tasks 'tasks/mine' among the parents"):
        playable(["tasks/mine"])


@pytest.mark.parametrize("name", TOOLED)
def test_a_stage_that_asks_for_one_answer_says_that_it_cannot_play_with_tools(name: str) -> None:
    for refused in (
        lambda: environment(name),
        lambda: check_names([name]),
        lambda: Measure(domains=(), exam={name: 4}),
        lambda: Pairs(environments={name: 4}),
    ):
        with pytest.raises(InputError, match=f"environment '{name}' is played with tools"):
            refused()
