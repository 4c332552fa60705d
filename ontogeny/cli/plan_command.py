"""`ontogeny plan`: what a budget becomes, and what others spent. Writes nothing, reads no store.

Torch is loaded only when the machine is measured, that is for a budget in time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ontogeny import bridge
from ontogeny.base.config import to_dict
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.cli.amounts import columns
from ontogeny.cli.arguments import position
from ontogeny.cli.spending_table import (
    large,
    list_lines,
    percent,
    power,
    run_lines,
    split_lines,
    wrapped,
)
from ontogeny.plan.budget import parse
from ontogeny.plan.checks import checks, flops_with_attention
from ontogeny.plan.plan import IN_HAND, Machine, Plan, resolve
from ontogeny.plan.published import PublishedRun, find, library
from ontogeny.plan.spending import spending
from ontogeny.plan.split import beside, slices
from ontogeny.run.pinned import DEFAULT_BUDGET

ASSUMED_BUDGET = "6e13flops"
ASSUMPTION = (
    f"no --budget given: {ASSUMED_BUDGET} assumed, ten minutes at 100 GFLOP/s, an ordinary "
    "laptop; --budget 10m measures this machine first"
)
UNMEASURED = Machine(matmul_peak=0.0, train=0.0, decode=0.0, processors=0)


def plan(budget: str | None, *, like: str | None, listing: bool, as_json: bool) -> None:
    """Prints the plan for a budget, a published run beside it, or the list of those runs.

    Without a budget, a plan of its own is for `run`'s default and measures this machine; beside a
    published run `ASSUMED_BUDGET` serves, so that nothing needs to be measured.

    Raises:
        InputError: no such run, no such budget, or options that exclude each other.
    """
    if listing:
        _refuse_beside_list(budget, like)
        _print(list_lines(library().runs), to_dict(library()), as_json)
        return
    if like is None:
        mine = _resolved(budget or DEFAULT_BUDGET)
        _print(_plan_lines(mine), _plan_values(mine), as_json)
        return
    run = _find(like)
    mine = _resolved(budget or ASSUMED_BUDGET)
    lines = [
        *run_lines(run),
        "",
        "the same shares for your budget, over the stages whose compute is known",
    ]
    lines += wrapped(ASSUMPTION, "  ") if budget is None else []
    lines += [f"  {_summary(mine)}", "", *split_lines(run, mine)]
    _print(lines, _like_values(run, mine, assumed=budget is None), as_json)


def _print(lines: list[str], values: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, indent=1, sort_keys=True))
        return
    for line in lines:
        print(printable(line))


def _refuse_beside_list(budget: str | None, like: str | None) -> None:
    if budget is not None or like is not None:
        raise InputError(
            "--list shows all published runs; leave out --like and --budget",
            file=COMMAND_LINE,
            line=position("--list"),
        )


def _find(name: str) -> PublishedRun:
    try:
        return find(name)
    except InputError as error:
        line = position(name, f"--like={name}")
        raise InputError(error.reason, file=COMMAND_LINE, line=line) from None


def _resolved(text: str) -> Plan:
    """The plan that `run` would make; one in FLOPs, accelerators or dollars needs no machine."""
    try:
        budget = parse(text)
        if budget.seconds is None:
            return replace(resolve(budget, UNMEASURED), machine=None)
        return resolve(budget, bridge.calibrate())
    except InputError as error:
        line = position(text, f"--budget={text}")
        raise InputError(error.reason, file=COMMAND_LINE, line=line) from None


def _summary(mine: Plan) -> str:
    shape = mine.shape
    return (
        f"budget {mine.budget}: {power(mine.flops)} FLOPs for learning, a model of "
        f"{large(shape.parameters())} parameters"
    )


def _plan_lines(mine: Plan) -> list[str]:
    shape = mine.shape
    measured = []
    if mine.machine is not None:
        measured = [
            f"  this machine: {mine.machine.train / 1e9:,.0f} GFLOP/s in training, "
            f"{mine.machine.matmul_peak / 1e9:,.0f} at its matmul peak"
        ]
    rows: list[tuple[str, ...]] = [("stage", "context", "tokens", "FLOPs", "share")]
    for part in slices(mine):
        cells = (large(part.tokens), power(part.flops), percent(part.share))
        rows.append((part.stage, f"{part.context:,}", *cells))
    return [
        _summary(mine),
        *measured,
        f"  rung {mine.rung}; {100 * IN_HAND:.0f} % of the budget stays for data and measuring",
        f"  shape: {shape.layers} layers, hidden {shape.hidden}, {shape.heads} heads of "
        f"{shape.head_dim} ({shape.kv_heads} for keys), feed-forward {shape.ff}, "
        f"vocabulary {shape.vocab_size:,}",
        f"  pretraining: batch of {mine.batch_tokens:,} tokens, peak rate {mine.peak_lr:.3g}",
        "",
        *columns(rows, right=(1, 2, 3, 4)),
        "",
        "`ontogeny run` pins such a plan in its store and then keeps it",
    ]


def _plan_values(mine: Plan) -> dict[str, Any]:
    stages = [to_dict(part) for part in slices(mine)]
    sizes = {
        "parameters": mine.shape.parameters(),
        "matmul_parameters": mine.shape.matmul_parameters(),
    }
    return {"plan": mine.to_dict(), "stages": stages, **sizes}


def _like_values(run: PublishedRun, mine: Plan, *, assumed: bool) -> dict[str, Any]:
    compared = [to_dict(each) | {"difference": each.difference} for each in checks(run)]
    return {
        "run": to_dict(run) | {"slug": run.slug},
        "checks": compared,
        "flops_with_attention": flops_with_attention(run),
        "spending": to_dict(spending(run)),
        "budget_assumed": assumed,
        **_plan_values(mine),
        "split": [to_dict(row) for row in beside(run, mine)],
    }
