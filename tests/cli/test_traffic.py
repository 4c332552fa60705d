"""`ontogeny traffic` tells a ledger in one page, and ends with 1 where something has drifted."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from support.exchanges import Crowd

from ontogeny.base.errors import InputError
from ontogeny.cli.app import run_app
from ontogeny.cli.serve_command import Options
from ontogeny.feedback.ledger import Ledger


def ledger(directory: Path, crowd: Crowd) -> str:
    path = directory / "ledger.db"
    with Ledger.open(path) as kept:
        kept.add(crowd.exchanges, crowd.ratings)
    return str(path)


def test_a_page_for_a_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = Crowd()
    crowd.ask(1200, "oldoldoldoldoldo", liked=0.9)
    crowd.ask(100, "newnewnewnewnewn", arm="canary", liked=0.1)
    assert run_app(["traffic", "--ledger", ledger(tmp_path, crowd)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("arm", "model", "exchanges", "users", "ratings", "score", "refused", "cut"),
        *("tokens", "each"),
    ]
    assert lines[1].startswith("live    oldoldoldoldoldo      1,200     50 ")
    assert lines[2].startswith("canary  newnewnewnewnewn        100 ")
    page = "\n".join(lines)
    assert "canary newnewnewnewnewn less live oldoldoldoldoldo: score -1." in page
    assert re.search(r"drift of oldoldoldoldoldo: refused watched over \d{3}, reference 0\.0", page)
    assert lines[-1] == "no alarm"


def test_drift_ends_with_1_and_says_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = Crowd(seed=1)
    crowd.ask(300, "old")
    crowd.ask(300, "old", refused=0.6)
    path = ledger(tmp_path, crowd)
    assert run_app(["traffic", "--ledger", path, "--reference", "100"]) == 1
    assert "alarm: old: refused rose: 0." in capsys.readouterr().out
    assert run_app(["traffic", "--ledger", path, "--reference", "100", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (alarm,) = told["alarms"]
    assert (alarm["model"], alarm["signal"], alarm["way"]) == ("old", "refused", "rose")
    assert told["groups"][0]["exchanges"] == 600
    assert told["references"]["old"]["refused"]["units"] == 100
    # nothing is judged, so refusals cannot be told
    assert run_app(["traffic", "--ledger", path, "--sample", "0", "--reference", "100"]) == 0
    assert "cannot tell of refused; 100 observations" in capsys.readouterr().out


def test_an_alarm_of_a_model_that_is_live_no_more_is_told_and_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a timer would call somebody for ever."""
    crowd = Crowd(seed=1)
    crowd.ask(300, "old")
    crowd.ask(300, "old", refused=0.6)
    crowd.ask(30, "new")
    path = ledger(tmp_path, crowd)
    assert run_app(["traffic", "--ledger", path, "--reference", "100"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("no longer live: old: refused rose: 0.")
    assert lines[-1] == "no alarm"
    assert run_app(["traffic", "--ledger", path, "--reference", "100", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["live"], told["alarms"]) == ("new", [])
    assert [each["model"] for each in told["past"]] == ["old"]


def test_only_what_is_young(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = Crowd()
    crowd.ask(30, "old", at=1000.0)
    crowd.ask(20, "old", at=time.time())
    path = ledger(tmp_path, crowd)
    for since, count in (("1h", 20), ("1970-01-02", 20), ("1970-01-01", 50), ("30000d", 50)):
        assert run_app(["traffic", "--ledger", path, "--json", "--since", since]) == 0
        (group,) = json.loads(capsys.readouterr().out)["groups"]
        assert group["exchanges"] == count
    for wrong in ("soon", "5x", "2026-99-01", r"2026-11-22T10:00\+05:00"):
        with pytest.raises(InputError, match=rf"'{wrong}' is no age .* and no day"):
            run_app(["traffic", "--ledger", path, "--since", wrong.replace("\\", "")])


def test_a_ledger_without_exchanges_has_nothing_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["traffic", "--ledger", ledger(tmp_path, Crowd())]) == 0
    assert capsys.readouterr().out == "no exchanges\n"


def test_no_ledger_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run_app(["traffic", "--ledger", str(tmp_path / "none.db")])


def test_a_server_judges_only_what_a_ledger_keeps() -> None:
    with pytest.raises(InputError, match="give --ledger FILE, too"):
        Options(sampled=0.1)
