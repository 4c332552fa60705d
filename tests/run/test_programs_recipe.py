"""The recipe `programs`: runs from one model differ in what pays, and all are watched."""

from __future__ import annotations

from pathlib import Path

from ontogeny.evaluate.watch_claims import CLAIMS
from ontogeny.plan.plan import Plan
from ontogeny.run.pinned import read_plan
from ontogeny.run.recipe import load
from ontogeny.run.request import Request
from ontogeny.run.run import trace

PLAN = Path(__file__).parents[1] / "support" / "tiny_plan.json"


def requests(recipe: str) -> dict[str, Request]:
    plan: Plan = read_plan(PLAN)
    return {each.name: each for each in trace(load(recipe), plan, 0, [])}


def test_the_runs_differ_in_what_pays_and_in_nothing_else() -> None:
    made = requests("programs")
    arms = [made[name] for name in ("grpo", "placebo", "mended", "farmed")]
    parents = [tuple(each.parents) for each in arms]
    assert parents[0] == parents[1] != parents[2] == parents[3]
    honest, placebo, mended, farmed = (vars(each.stage) for each in arms)
    assert {name for name in honest if honest[name] != placebo[name]} == {"shuffled"}
    assert {name for name in mended if mended[name] != farmed[name]} == {"environments"}
    assert honest["environments"] == mended["environments"]
    (task,) = honest["environments"]
    assert list(farmed["environments"]) == [f"{task}-shown"]


def test_every_claim_is_measured_and_quickstart_is_found_by_its_ids() -> None:
    made, quickstart = requests("programs"), requests("quickstart")
    assert set(CLAIMS) <= set(made)
    assert [made[name].id for name in ("base", "sft")] == [
        quickstart[name].id for name in ("base", "sft")
    ]
