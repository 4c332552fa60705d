"""The report says what the records say, and no more."""

import json
from typing import Any

import pytest

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.evaluate.claims import Claim
from ontogeny.report.compute import GROUPS, PUBLISHED
from ontogeny.report.contents import report_of
from ontogeny.report.write import as_json, write_report


def effects(grown: Any, *claims: Claim, seed: int = 0) -> dict[str, Any]:
    """Name -> row."""
    rows = report_of(grown.store, grown.life(*claims, seed=seed))["effects"]
    return {row["name"]: row for row in rows}


def test_claims_come_in_order_measured_or_not(lived: Any, claims: Any) -> None:
    lived.effect("unclaimed.thing", 0.7)
    rows = effects(lived, *claims)
    assert list(rows) == ["base.bpb", "continue.gain", "dpo.winrate", "unclaimed.thing"]
    assert [row["verdict"] for row in rows.values()] == ["holds", "holds", "untested", "holds"]
    bits, gain, wins, _ = rows.values()
    assert (bits["stage"], bits["null"], bits["estimate"]) == ("base", 1.76, 1.40)
    assert gain["control"] == "arm/english"
    assert [seed["seed"] for seed in gain["seeds"]] == [0, 1, 2]
    assert (wins["estimate"], wins["low"], wins["seeds"], wins["null"]) == (None, None, [], 0.5)


def test_the_claim_and_not_the_measurement_says_target_sense_and_null(grown: Any) -> None:
    grown.effect("x.y", 0.3, target=0.1, null=-9.0, sense="within")
    row = effects(grown, Claim("x.y", "m", "u", "at_least", 0.5, null=0.2))["x.y"]
    assert (row["target"], row["sense"], row["null"]) == (0.5, "at_least", 0.2)
    assert row["verdict"] == "short"


def test_an_effect_without_the_control_it_needs_is_untested(grown: Any) -> None:
    grown.effect("x.y", 0.8, control="")
    claim = Claim("x.y", "m", "u", "at_least", 0.5, needs_control=True)
    row = effects(grown, claim)["x.y"]
    assert (row["verdict"], row["estimate"], row["seeds"]) == ("untested", None, [])


def test_other_seeds_without_the_runs_own_are_no_test(grown: Any) -> None:
    grown.effect("x.y", 0.8, seed=1)
    claim = Claim("x.y", "m", "u", "at_least", 0.5)
    assert effects(grown, claim)["x.y"]["verdict"] == "untested"
    assert effects(grown, claim, seed=1)["x.y"]["verdict"] == "holds"
    assert effects(grown)["x.y"]["verdict"] == "untested"


def test_another_seed_on_the_other_side_makes_it_null(grown: Any) -> None:
    grown.effect("x.y", 0.8)
    grown.effect("x.y", -0.1, seed=1)
    assert effects(grown, Claim("x.y", "m", "u", "at_least", 0.5))["x.y"]["verdict"] == "null"


@pytest.mark.parametrize(
    ("reached", "other", "expected"),
    [(0.95, 0.96, "holds"), (0.94, 0.96, "null"), (0.96, 0.94, "null")],
)
def test_behind_a_shut_gate_an_effect_is_null(
    grown: Any, reached: float, other: float, expected: str
) -> None:
    grown.effect("x.y", 0.8, gate={"reached": reached, "needed": 0.95})
    grown.effect("x.y", 0.8, seed=1, gate={"reached": other, "needed": 0.95})
    row = effects(grown, Claim("x.y", "m", "u", "at_least", 0.5))["x.y"]
    assert row["verdict"] == expected
    assert row["gate"] == {"reached": reached, "needed": 0.95}


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"effect": 1},
        {"effect": {"name": "x"}},
        {"effect": "low"},
    ],
)
def test_an_effect_that_says_nothing_is_one_line(grown: Any, metrics: dict[str, Any]) -> None:
    grown.make("effect/x", "effect", "effect", metrics=metrics)
    with pytest.raises(CorruptArtifact, match=r"record\.json:1: 'effect/x' is no effect"):
        report_of(grown.store, grown.life())


@pytest.mark.parametrize("said", [{"sense": "up"}, {"low": 9.0}, {"estimate": "much"}, {"gate": 1}])
def test_an_effect_with_a_wrong_number_is_one_line(grown: Any, said: dict[str, Any]) -> None:
    grown.effect("x.y", 0.8, **said)
    with pytest.raises(CorruptArtifact, match="is no effect"):
        report_of(grown.store, grown.life())


def test_costs_are_the_records_and_shares_are_of_the_main_line(lived: Any) -> None:
    report = report_of(lived.store, lived.life())
    costs = {row["name"]: row for row in report["costs"]}
    assert list(costs) == [named.name for named in lived.made]
    assert costs["base"]["share"] == pytest.approx(6 / 9)
    assert costs["arm/english"]["share"] == pytest.approx(3 / 9)
    assert (costs["base"]["stage"], costs["base"]["seconds"]) == ("pretrain", 60.0)
    assert sum(row["share"] for row in costs.values() if row["main"]) == pytest.approx(1)
    aside = {name for name, row in costs.items() if not row["main"]}
    assert aside == {"arm/english", "seed-1/continue.gain", "seed-2/continue.gain"}


def test_our_compute_is_split_like_the_literatures(lived: Any) -> None:
    ours = report_of(lived.store, lived.life())["compute"]["ours"]
    assert list(ours) == list(GROUPS)
    assert ours["pretrain"] == pytest.approx(6 / 9)
    assert ours["continue_pretrain"] == 0  # the control's
    assert sum(ours.values()) == pytest.approx(1)


def test_published_shares_are_those_that_the_papers_figures_give() -> None:
    rounded = {(row.paper.model, row.group): round(100 * row.share, 2) for row in PUBLISHED}
    assert rounded == {
        ("DeepSeek-V3", "pretrain"): 95.55,
        ("DeepSeek-V3", "extend_context"): 4.27,
        ("DeepSeek-V3", "post_training"): 0.18,
        ("InstructGPT", "pretrain"): 98.25,
        ("InstructGPT", "sft"): 0.13,
        ("InstructGPT", "rl"): 1.62,
        ("DeepSeek-R1", "pretrain"): 90.92,
        ("DeepSeek-R1", "extend_context"): 4.06,
        ("DeepSeek-R1", "sft"): 0.17,
        ("DeepSeek-R1", "rl"): 4.85,
        ("DeepSeek-R1", "post_training"): 5.02,
    }
    told = {(row.paper.model, row.group): row.how for row in PUBLISHED}
    assert told["DeepSeek-V3", "pretrain"] == "2,664 K of 2,788 K H800 hours"
    assert told["InstructGPT", "rl"] == "60 of 3,704.9 PF-days"


def test_a_life_that_spent_nothing_has_no_shares(grown: Any) -> None:
    grown.make("corpus", "corpus", "prepare")
    report = report_of(grown.store, grown.life())
    assert set(report["compute"]["ours"].values()) == {0.0}
    assert report["costs"][0]["share"] == 0.0


def test_a_prompt_goes_through_the_stages_in_order(lived: Any) -> None:
    prompts = report_of(lived.store, lived.life())["prompts"]
    assert [row["prompt"] for row in prompts] == ["The state", "2 + 2"]
    told = [(stage["stage"], stage["text"]) for stage in prompts[0]["stages"]]
    assert told == [("base", " of base"), ("sft", " of sft"), ("grpo", " of grpo")]


@pytest.mark.parametrize("rows", [{}, [1], [{"prompt": "x"}], [{"prompt": 1, "continuation": ""}]])
def test_samples_that_are_none_are_one_line(grown: Any, rows: Any) -> None:
    model = grown.model("base", "pretrain")
    grown.make("samples", "samples", "samples", model, files={"samples.json": rows})
    with pytest.raises(CorruptArtifact, match=r"samples\.json:1: no samples in it"):
        report_of(grown.store, grown.life())


def test_an_artifact_that_is_gone_is_named(lived: Any) -> None:
    life = lived.life()
    gone = lived.store.path(life.artifacts[2].id)
    gone.rename(lived.store.root / "elsewhere")
    with pytest.raises(InputError, match="'base' is no longer in the store; run quickstart again"):
        report_of(lived.store, life)


def test_lineage_and_curves_are_those_of_the_life(lived: Any) -> None:
    report = report_of(lived.store, lived.life())
    ids = {node["name"]: node["id"] for node in report["lineage"]}
    parents = {node["name"]: node["parents"] for node in report["lineage"]}
    assert parents["sft"] == [ids["base"], ids["corpus"]]
    assert [(curve["name"], curve["unit"], len(curve["at"])) for curve in report["curves"]] == [
        ("base", "steps", 100),
        ("grpo", "steps", 100),
    ]
    assert report["made"]["peak_memory_bytes"] == 1_500_000_000


def test_the_same_store_gives_the_same_bytes_and_no_private_name(lived: Any, claims: Any) -> None:
    life = lived.life(*claims)
    page = write_report(lived.store, life)
    files = [page, page.parent / "report.json"]
    before = [path.read_bytes() for path in files]
    assert [path.name for path in sorted(page.parent.iterdir())] == ["report.html", "report.json"]
    assert write_report(lived.store, life) == page
    assert [path.read_bytes() for path in files] == before
    assert json.loads(before[1])["recipe"] == "quickstart"
    assert before[1].decode() == as_json(report_of(lived.store, life)) + "\n"
    for content in before:
        assert b"a-private-name" not in content
        assert str(lived.store.root).encode() not in content
