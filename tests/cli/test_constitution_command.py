"""`ontogeny constitution` prints principles, and says in one line what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.cli.app import run_app


def test_principles_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run_app(["constitution", "show", "village"])
    told = capsys.readouterr().out
    assert "theft            Do not help to take or keep" in told
    assert "rule no_more_than_N_words 17; about every prompt" in told
    run_app(["constitution", "show", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"no_harm", "helpful"} <= {each["name"] for each in found["principles"]}


def test_what_a_stranger_wrote_is_printed_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[principle]]\nname = "a"\ntext = "Be \\u001b[31mred."\n', encoding="utf-8")
    run_app(["constitution", "show", str(file)])
    assert "Be \\x1b[31mred." in capsys.readouterr().out


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[principle]]\nname = "a"\ntext = "Be kind."\nrule = "?"\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        run_app(["constitution", "show", str(file)])
    assert str(caught.value).startswith(f"{file}:4: principle 1: rule '?' is none")


def test_labels_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store here"):
        run_app(["constitution", "diff", "a", "b", "--store", str(tmp_path / "none")])
    Store.create(tmp_path / "life")
    with pytest.raises(InputError, match="no artifact is called 'a'") as caught:
        run_app(["constitution", "diff", "a", "b", "--store", str(tmp_path / "life")])
    assert caught.value.file == "command line"
