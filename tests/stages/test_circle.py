"""The circle's recipe traces behind quickstart, and its arms differ in nothing but the votes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from conftest import TinyLife

from ontogeny.base.config import to_dict
from ontogeny.run.recipe import load, shared


@pytest.mark.parametrize(
    ("function", "stages"),
    [
        ("", ("released ", "round/traffic ", "round/gate ", "poisoned/gate ", "round/release ")),
        (":evidence", ("placebo/gate ", "circle.specific ", "seed-2/round/gate ")),
    ],
)
def test_the_recipe_traces(
    life: TinyLife, tmp_path: Path, function: str, stages: tuple[str, ...]
) -> None:
    options = ("--dry-run", "--plan", str(life.plan), "--store", str(tmp_path / "store"))
    traced = life.ontogeny("run", f"circle{function}", *options)
    assert traced.returncode == 0, traced.stderr
    for name in ("grpo ", *stages):
        assert f"\n  {name}" in traced.stderr
    assert ("placebo" in traced.stderr) == (function == ":evidence")


def test_it_goes_on_from_quickstart() -> None:
    assert load("circle").key == "quickstart"


def test_the_arms_differ_in_their_votes_alone() -> None:
    circle: Any = shared("circle")
    crowds = [to_dict(each) for each in (circle.CROWD, circle.POISONED, circle.COIN)]
    honest, poisoned, coin = crowds
    assert honest | {"hostile": poisoned["hostile"]} == poisoned
    assert poisoned["hostile"] > 0.5 > honest["hostile"] > 0
    assert honest | {"votes": "coin"} == coin


def test_every_claim_is_measured_and_says_when_it_is_null() -> None:
    circle: Any = shared("circle")
    source = Path(circle.__file__).read_text(encoding="utf-8")
    for name, claim in circle.CLAIMS.items():
        assert source.count(f'"{name}"') > 1, name
        assert claim.null is not None
        assert dataclasses.is_dataclass(claim)
