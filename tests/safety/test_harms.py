"""The table of harms is whole, and one that is not is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.policy import POLICY
from ontogeny.safety.harms import HARMS, MOST_SEVERE, read_harms, severity

ROW = '[[harm]]\nname = "noise"\nseverity = 1\npolicy = "Do not shout."\nallowed = "Singing."\n'


def test_the_table_names_what_every_policy_must_name() -> None:
    named = {"cbrn", "child_safety", "weapons", "prompt_injection", "self_harm", "privacy", "fraud"}
    assert named <= set(HARMS["plain"])


def test_the_village_has_the_rules_of_its_environment_and_no_other() -> None:
    assert {each.name: each.policy for each in HARMS["village"].values()} == dict(POLICY)


def test_mass_harm_and_children_are_the_most_severe() -> None:
    worst = {name for name, each in HARMS["plain"].items() if each.severity == MOST_SEVERE}
    assert {"cbrn", "child_safety"} <= worst
    assert severity("plain", "theft") < severity("plain", "violence")
    assert severity("plain", "ordinary") == 0


def test_a_policy_is_one_sentence() -> None:
    for world in HARMS.values():
        for each in world.values():
            assert each.policy.startswith("Do not ")
            assert each.policy.count(".") == 1
            assert each.policy.endswith(".")


def test_a_table_of_ones_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(ROW)
    assert read_harms(file)["plain"]["noise"].allowed == "Singing."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no \\[\\[harm\\]\\]"),
        ("[[harm", "no table of harms"),
        ("harm = 3", "no \\[\\[harm\\]\\]"),
        ("harm = [3]", "number 1: it is no table"),
        (ROW.replace("= 1", "= 6"), "number 1: harm noise: severity is 6"),
        (ROW.replace("= 1", "= true"), "severity is True"),
        (ROW.replace('"Singing."', "7"), "each a text"),
        (ROW.replace('"noise"', '"a b"'), "called 'a b'"),
        (ROW + "colour = 3", "number 1: .*colour"),
        (ROW + ROW, "number 2: noise comes twice"),
        (ROW + 'world = "moon"', "no world 'moon'"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=reason) as refused:
        read_harms(file)
    assert str(refused.value.file) == str(file)


def test_a_table_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table of harms"):
        read_harms(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no table of harms"):
        read_harms(tmp_path / "bytes.toml")
