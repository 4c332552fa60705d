"""`ontogeny run`: store, lock, plan, trace, play, and the last lines a person reads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import from_dict, to_dict
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.events import Sink
from ontogeny.base.files import read_json
from ontogeny.base.store import Store
from ontogeny.cli.arguments import position
from ontogeny.cli.console import Console
from ontogeny.cli.writing import writing
from ontogeny.evaluate.claims import Claim
from ontogeny.plan.plan import Plan
from ontogeny.report.life import Life, Named, write_life
from ontogeny.report.table import effects_table
from ontogeny.report.write import JSON, write_report
from ontogeny.run.pinned import pinned_plan
from ontogeny.run.recipe import Recipe, load
from ontogeny.run.request import Request, Setting
from ontogeny.run.run import Run, Span, peak_memory_bytes, trace


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    recipe: str
    budget: str | None
    settings: list[str]
    begin: str | None
    until: str | None
    seed: int
    store: Path
    replan: bool
    plan: Path | None
    dry: bool
    tensorboard: Path | None


def run(options: Options) -> int:
    """Plays the recipe; returns 0.

    Raises:
        OntogenyError: one line for whatever went wrong; what is finished stays.
    """
    began = time.monotonic()
    recipe = load(options.recipe)
    settings = [Setting.parse(text, position(text, f"--set={text}")) for text in options.settings]
    store = Store.create(options.store)
    with writing(store, lambda: _optional_sinks(options)) as desk:
        if desk.dead is not None:
            desk.console.line(
                f"a run that ended without a word (pid {desk.dead.get('pid')}) is continued"
            )
        store.clear_leftovers()
        plan = pinned_plan(
            store,
            recipe.key,
            options.budget,
            options.plan,
            options.replan,
            lambda: bridge.calibrate(),
        )
        requests = trace(recipe, plan, options.seed, settings)
        _check_stage_names(options, requests)
        _print_plan(desk.console, store, recipe, plan, requests, options.dry)
        if options.dry:
            return 0
        _check_room(store, requests, options.until)
        span = Span(options.begin, options.until)
        runner = Run(store, plan, options.seed, desk.events, desk.stop, settings, span)
        desk.events.log("run", recipe=recipe.name, budget=plan.budget, seed=options.seed)
        made = runner.play(recipe)
        page = _report(store, recipe, runner)
        _print_end(made, store, time.monotonic() - began, page)
    return 0


def _optional_sinks(options: Options) -> list[Sink]:
    if options.tensorboard is None:
        return []
    from ontogeny.edge.tensorboard import TensorBoard

    return [TensorBoard(options.tensorboard)]


def _check_stage_names(options: Options, requests: list[Request]) -> None:
    names = [request.name for request in requests]
    for option, name in (("--from", options.begin), ("--until", options.until)):
        if name is not None and name not in names:
            raise InputError(
                f"{option} {name}: the recipe has no such stage; it has {', '.join(names)}",
                file=COMMAND_LINE,
                line=position(name, f"{option}={name}"),
            )


def _check_room(store: Store, requests: list[Request], until: str | None) -> None:
    """Refuses before the first stage what is known not to fit into memory; others refuse later."""
    names = [request.name for request in requests]
    last = len(names) if until is None else names.index(until) + 1
    for request in requests[:last]:
        check = getattr(request.stage, "check_room", None)
        if check is not None and not store.has(request.id):
            check(request.name)


def _print_plan(
    console: Console,
    store: Store,
    recipe: Recipe,
    plan: Plan,
    requests: list[Request],
    dry: bool,
) -> None:
    missing = [request for request in requests if not store.has(request.id)]
    if not missing and not dry:
        return
    console.line(f"plan: {recipe.name}, budget {plan.budget}, rung {plan.rung}")
    if plan.machine is not None:
        console.line(
            f"  this machine: {plan.machine.train / 1e9:,.0f} GFLOP/s in training, "
            f"{plan.machine.matmul_peak / 1e9:,.0f} at its matmul peak, "
            f"{plan.machine.decode:,.0f} tokens/s decoding alone"
        )
    for request in requests:
        state = "to make" if request in missing else "exists"
        console.line(
            f"  {request.name:<12} {request.stage.stage:<16} {request.id}  {state}"
            f"{_estimate(request, plan)}"
        )
        for path, value in _numbers(to_dict(request.stage)):
            console.line(f"      {request.name}.{path} = {value}")


def _estimate(request: Request, plan: Plan) -> str:
    """How long a gradient stage will take on the machine that the plan was made for."""
    flops = getattr(request.stage, "flops", None)
    if flops is None or plan.machine is None:
        return ""
    return f", {flops():.2g} FLOPs, about {flops() / plan.machine.train / 60:,.1f} minutes here"


def _numbers(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            rows.append((prefix + key, ",".join(str(item) for item in value)))
        else:
            rows.append((prefix + key, f"{value}"))
    return rows


def _report(store: Store, recipe: Recipe, runner: Run) -> tuple[list[str], Path]:
    """The table of effects and the path of the page, both written into the store."""
    life = Life(
        recipe=recipe.name,
        budget=runner.budget.budget,
        seed=runner.seed,
        artifacts=tuple(Named(name, artifact.id) for name, artifact in runner.made),
        claims=tuple(from_dict(Claim, each) for each in runner.claims),
    )
    write_life(store, life)
    page = write_report(store, life)
    return effects_table(read_json(page.with_name(JSON))), page


def _print_end(
    made: list[tuple[str, Artifact]],
    store: Store,
    seconds: float,
    report: tuple[list[str], Path],
) -> None:
    shown: set[str] = set()
    for name, artifact in made:
        if artifact.record.kind == "effect" or artifact.id in shown:
            continue
        shown.add(artifact.id)
        for text in artifact.record.summary:
            print(printable(f"{name:<14} {text}"))
    table, page = report
    for line in table:
        print(line)
    print(f"report: {page} (open it in a browser)")
    print(f"artifacts in {store.root}; look at them with `ontogeny show --store {store.root}`")
    print(f"{seconds:.1f} s, peak memory {peak_memory_bytes() / 1e9:.2f} GB")
