"""Shares are of what is known, in one unit; a plan split as another life was keeps its FLOPs."""

import pytest

from ontogeny.plan.budget import parse
from ontogeny.plan.plan import SHARES, Machine, Plan, resolve, stage_tokens
from ontogeny.plan.published import find, library
from ontogeny.plan.spending import OPERATIONS, flops_by_6nd, parameters, spending
from ontogeny.plan.split import GROUP_OF, TOGETHER, beside, slices, stage_context

NOWHERE = Machine(0.0, 0.0, 0.0, 1)


def plan(text: str = "6e13flops") -> Plan:
    """The plan for a budget in FLOPs."""
    return resolve(parse(text), NOWHERE)


def test_shares_of_every_life_add_up_to_one_or_are_unknown() -> None:
    for run in library().runs:
        shares = [part.share for part in spending(run).parts if part.share is not None]
        assert not shares or sum(shares) == pytest.approx(1), run.name


def test_deepseek_v3_is_shared_by_its_hours() -> None:
    spent = spending(find("deepseek-v3"))
    assert (spent.unit, spent.total) == ("H800 hours", 2_788_000)
    assert spent.share_of("extend_context") == pytest.approx(119 / 2788)
    assert spent.share_of("sft", "rl", "post_training") == pytest.approx(5 / 2788)
    assert spent.share_of("sft") is spent.share_of("preference") is None


def test_instructgpt_is_shared_by_petaflop_days_of_it_and_gpt3() -> None:
    spent = spending(find("instructgpt"))
    assert spent.total == pytest.approx(3704.9 * OPERATIONS["PF-days"])
    assert spent.share_of("rl") == pytest.approx(60 / 3704.9)


def test_where_hours_are_of_pretraining_alone_shares_are_of_flops() -> None:
    run = find("llama-3.1-405b")
    spent = spending(run)
    assert spent.unit == "FLOP"
    printed, context, anneal = (part.spent for part in spent.parts[:3])
    assert printed is not None and context is not None and anneal is not None
    assert (printed.value, printed.standing) == (3.8e25, "published")
    assert context.value == pytest.approx(6 * 405.85e9 * 800e9, rel=1e-4)
    assert context.standing == "derived"
    assert [part.spent for part in spent.parts[3:]] == [None, None]


def test_one_known_stage_of_several_is_no_share() -> None:
    spent = spending(find("llama-2-7b"))
    assert spent.parts[0].spent is not None
    assert [part.share for part in spent.parts] == [None] * 4


def test_what_rests_on_an_assumption_stays_estimated() -> None:
    spent = spending(find("qwen2.5-7b")).parts[0].spent
    assert spent is not None and spent.standing == "estimated"


def test_6nd_takes_the_active_parameters() -> None:
    run = find("deepseek-v3")
    assert parameters(run) == pytest.approx(37.55e9, rel=1e-3)
    assert flops_by_6nd(run, run.stages[0]) == pytest.approx(6 * 37.55e9 * 14.8e12, rel=1e-3)
    mistral = find("mistral-7b")
    assert flops_by_6nd(mistral, mistral.stages[0]) is None


@pytest.mark.parametrize("text", ["1e11flops", "6e13flops", "8xh100:4h", "3.8e25flops"])
def test_our_slices_are_the_tokens_of_the_plan(text: str) -> None:
    mine = plan(text)
    assert [part.stage for part in slices(mine)] == list(SHARES) == list(GROUP_OF)
    assert sum(part.share for part in slices(mine)) == pytest.approx(1)
    for part in slices(mine):
        assert part.context == stage_context(part.stage, mine.shape)
        whole = max(mine.batch_tokens, part.context)
        nominal = mine.flops * SHARES[part.stage] / mine.shape.train_flops_per_token(part.context)
        assert part.tokens == stage_tokens(part.stage, mine.flops, mine.shape, mine.batch_tokens)
        assert abs(part.tokens - nominal) <= max(whole / 2, whole - nominal)


def test_the_split_is_theirs_and_spends_no_more_than_the_plan() -> None:
    mine, run = plan(), find("deepseek-v3")
    rows = {row.ours.stage: row for row in beside(run, mine)}
    first = rows["pretrain"].theirs
    assert first is not None
    assert first.flops == pytest.approx(mine.flops * 2664 / 2788)
    assert first.tokens == pytest.approx(first.flops / mine.shape.train_flops_per_token(256))
    spent = sum(row.theirs.flops for row in rows.values() if row.theirs is not None)
    assert spent == pytest.approx(mine.flops)
    assert {name: row.why for name, row in rows.items() if row.theirs is None} == {
        "continue": "no such stage",
        "sft": "in their sum below",
        "wash": "no such stage",
        "dpo": "no such stage",
        "grpo": "in their sum below",
    }
    together = rows[TOGETHER].ours
    parts = [rows[name].ours for name in ("sft", "dpo", "grpo")]
    assert together.tokens == sum(part.tokens for part in parts)
    assert together.flops == sum(part.flops for part in parts)


def test_hours_beside_flops_have_no_share() -> None:
    rows = {row.ours.stage: row for row in beside(find("olmo-3-32b"), plan())}
    assert rows["pretrain"].theirs is not None
    assert (rows["sft"].why, rows["dpo"].why) == ("share unknown", "not published")


def test_what_is_not_published_is_not_split() -> None:
    for name in ("gpt-4", "mistral-7b", "constitutional-ai"):
        rows = beside(find(name), plan())
        assert {row.theirs for row in rows} == {None}
        assert {row.why for row in rows} == {"not published", "no such stage"}
