"""The recipe of safety rounds measures every claim it makes, and its arms differ in one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ontogeny.base.config import identity_dict
from ontogeny.evaluate.safety_rounds import CLAIMS
from ontogeny.run.pinned import read_plan
from ontogeny.run.recipe import load
from ontogeny.run.request import Request
from ontogeny.run.run import trace
from ontogeny.stages.contrasts import Contrasts
from ontogeny.stages.effect import Effect

PLAN = Path(__file__).parents[1] / "support" / "tiny_plan.json"


@pytest.fixture(scope="module")
def asked() -> dict[str, Request]:
    plan = read_plan(PLAN)
    return {each.name: each for each in trace(load("safety"), plan, 0, [])}


def test_every_claim_is_measured(asked: dict[str, Request]) -> None:
    measured = {name for name, each in asked.items() if isinstance(each.stage, Effect)}
    assert set(CLAIMS) <= measured


def test_a_claim_that_needs_a_control_names_an_arm_that_is_run(asked: dict[str, Request]) -> None:
    for name, claim in CLAIMS.items():
        stage = asked[name].stage
        assert isinstance(stage, Effect)
        assert claim.needs_control == bool(stage.control)
        assert not stage.control or stage.control in asked


def test_the_arm_without_contrasts_differs_in_nothing_else(asked: dict[str, Request]) -> None:
    main, arm = (asked[f"{name}/requests"].stage for name in ("safety", "arm/no-contrasts"))
    assert isinstance(main, Contrasts) and isinstance(arm, Contrasts)
    assert (arm.counts()["borderline"], main.contrasts > 0) == (0, True)
    assert {**identity_dict(main), "contrasts": 0.0} == identity_dict(arm)
    first, second = (asked[f"{name}/model"] for name in ("safety", "arm/no-contrasts"))
    assert first.identity == second.identity
    assert first.parents[0] == second.parents[0]


def test_the_placebo_takes_as_many_steps_as_the_rounds(asked: dict[str, Request]) -> None:
    for number in (1, 2):
        round_, placebo = asked[f"repaired/{number}/model"], asked[f"arm/placebo/{number}"]
        assert round_.identity == placebo.identity
    assert asked["arm/placebo/1"].parents[0] == asked["repaired/1/model"].parents[0]


def test_the_rounds_go_on_where_quickstart_ends(asked: dict[str, Request]) -> None:
    alone = {each.name: each.id for each in trace(load("quickstart"), read_plan(PLAN), 0, [])}
    assert asked["grpo"].id == alone["grpo"]
    assert asked["helpful/model"].parents[0] == alone["grpo"]
