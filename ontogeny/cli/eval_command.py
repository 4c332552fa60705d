"""`ontogeny eval`: one stage a suite, made as a recipe would make it; what is made is skipped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError, printable
from ontogeny.base.store import Store, valid_name
from ontogeny.cli.arguments import at
from ontogeny.cli.writing import NO_PLAN, model_called, writing
from ontogeny.edge.lm_eval_tasks import present
from ontogeny.evaluate.series import read_series
from ontogeny.evaluate.suite import OWN, SUITES
from ontogeny.evaluate.suite_rows import SuiteFile, by_name, parse
from ontogeny.evaluate.suite_scores import SCORES
from ontogeny.run.run import Run
from ontogeny.run.work import Stage
from ontogeny.stages.evaluate import FILE, Evaluate

Way = Literal["ours", "lm_eval"]
WAYS: dict[str, tuple[Way, ...]] = {
    "ours": ("ours",),
    "lm_eval": ("lm_eval",),
    "both": ("ours", "lm_eval"),
}


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; `through` is a key of `WAYS`."""

    suites: tuple[str, ...]
    limit: int
    shots: int
    shots_from: tuple[str, ...]
    through: str
    max_tokens: int


def list_suites(*, as_json: bool) -> None:
    """Prints every known suite: what it asks, its columns, its prompt."""
    every = (*SUITES.values(), *OWN)
    if as_json:
        keys = ("name", "kind", "about", "forms", "prompt")
        print(json.dumps([{key: getattr(each, key) for key in keys} for each in every], indent=1))
        return
    for each in every:
        called = "FILE" if each in OWN else f"{each.name}=FILE"
        print(f"--suite {called}: {each.about}")
        for form in each.forms:
            print(f"    columns  {form}")
        print(f"    prompt   {json.dumps(each.prompt)}")


def evaluate(reference: str | None, root: Path, asked: Asked, *, as_json: bool) -> None:
    """Measures a model on every suite, or finds it measured, and prints a table.

    Raises:
        InputError: no model, no suite, or a row that does not fit; nothing is published of it.
        OntogenyError: one line for whatever else went wrong; finished suites stay.
    """
    if reference is None or not asked.suites:
        raise InputError(
            "name a model and at least one suite: ontogeny eval MODEL --suite arc_easy=FILE; "
            "--list says which suites there are"
        )
    if asked.through not in WAYS:
        raise at("--through", f"--through is '{asked.through}'; give {', '.join(WAYS)}")
    store = Store.open(root)
    model = model_called(store, reference)
    ways = WAYS[asked.through]
    _check(asked)
    stages = [{way: _stage(asked, suite, way) for way in ways} for suite in asked.suites]
    _try(stages)
    found: list[dict[Way, Artifact]] = []
    with writing(store) as desk:
        store.clear_leftovers()
        run = Run(store, NO_PLAN, seed=0, events=desk.events, stop=desk.stop)
        for each in stages:
            made = {
                way: run(cast(Stage, stage), model, name=_name(model, stage))
                for way, stage in each.items()
            }
            found.append(made)
    rows = [_row(parse(suite).name, made) for suite, made in zip(asked.suites, found, strict=True)]
    if as_json:
        print(json.dumps({"model": model.name, "id": model.id, "suites": rows}, indent=1))
        return
    for line in _table(rows, ways):
        print(printable(line))


def _check(asked: Asked) -> None:
    """Raises InputError where the options do not fit together, at the one that is wrong."""
    if asked.shots and not asked.shots_from:
        told = f"--shots {asked.shots} needs --shots-from FILE, where the examples stand"
        raise at("--shots", told)
    if asked.shots_from and not asked.shots:
        told = "--shots-from needs --shots N, how many examples stand before each question"
        raise at("--shots-from", told)
    files: dict[str, SuiteFile] = {}
    for spec in asked.suites:
        file = _parsed("--suite", spec)
        if file.name in files:
            told = f"a second suite is called {file.name}; give one of them another name, NAME=FILE"
            raise at("--suite", told, spec)
        files[file.name] = file
    examples = [_parsed("--shots-from", spec) for spec in asked.shots_from]
    try:
        by_name(examples, list(files.values()))
    except InputError as error:
        raise at("--shots-from", error.reason) from None


def _parsed(option: str, spec: str) -> SuiteFile:
    try:
        return parse(spec)
    except InputError as error:
        raise at(option, error.reason, spec) from None


def _try(stages: Sequence[Mapping[Way, Evaluate]]) -> None:
    """Reads all that is asked, so that no fault comes to light once something was measured.

    Raises:
        InputError: a file does not fit, or lm_eval is asked for and is not there.
    """
    for each in stages:
        next(iter(each.values())).loaded()
    if any("lm_eval" in each for each in stages):
        try:
            present()
        except InputError as error:
            raise at("--through", error.reason) from None


def _stage(asked: Asked, suite: str, way: Way) -> Evaluate:
    name = parse(suite).name
    examples = asked.shots_from
    if len(asked.suites) > 1:
        examples = tuple(each for each in examples if parse(each).name == name)
    return Evaluate(
        suites=(suite,),
        shots_from=examples,
        limit=asked.limit,
        shots=asked.shots,
        through=way,
        max_tokens=asked.max_tokens,
    )


def _name(model: Artifact, stage: Evaluate) -> str:
    """eval/MODEL/SUITE, and what else tells it from another evaluation of the two."""
    marks = [parse(stage.suites[0]).name]
    marks += [f"first-{stage.limit}"] * bool(stage.limit)
    marks += [f"{stage.shots}-shot"] * bool(stage.shots)
    marks += ["lm_eval"] * (stage.through == "lm_eval")
    called = "-".join(marks)
    name = f"eval/{model.name}/{called}"
    return name if valid_name(name) else f"eval/{model.id}/{called}"


def _row(suite: str, made: dict[Way, Artifact]) -> dict[str, Any]:
    """What is known of one suite, way by way, and where the ways differ."""
    row: dict[str, Any] = {"suite": suite}
    for way, artifact in made.items():
        row[way] = {
            "id": artifact.id,
            **{name.removeprefix(f"{suite}."): value for name, value in artifact.metrics.items()},
        }
    if len(made) == 2:
        row |= _difference(suite, *made.values())
    return row


def _difference(suite: str, one: Artifact, other: Artifact) -> dict[str, Any]:
    """In how many verdicts two measurements of the same items differ, and log-probs at most."""
    first, second = read_series(one), read_series(other)
    flips = sum(
        a != b
        for score in SCORES
        if (name := f"{suite}.{score}") in first
        for a, b in zip(first[name].values, second[name].values, strict=True)
    )
    pairs = zip(_log_probs(one), _log_probs(other), strict=True)
    apart = (abs(a - b) for own, others in pairs for a, b in zip(own, others, strict=True))
    return {"verdicts_that_differ": flips, "largest_log_prob_difference": max(apart, default=0.0)}


def _log_probs(artifact: Artifact) -> list[list[float]]:
    lines = artifact.file(FILE).read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line).get("log_probs", []) for line in lines]


def _table(rows: list[dict[str, Any]], ways: tuple[Way, ...]) -> list[str]:
    cells = [["suite", "items", "through", "acc [95 % interval]", "acc_norm", "nats"]]
    notes = []
    for row in rows:
        for way in ways:
            found = row[way]
            other = _share(found.get("norm"))
            if "flexible" in found:
                other = f"flexible {_share(found['flexible'])}"
            told = [_share(found["right"]), other, _nats(row["suite"], found.get("nats"))]
            cells.append([row["suite"], f"{found['right']['units']:,}", way, *told])
        if len(ways) == 2:
            notes.append(
                f"{row['suite']}: the two differ in {row['verdicts_that_differ']} verdicts, "
                f"in log-probabilities by at most {row['largest_log_prob_difference']:.1e}"
            )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells] + notes


def _nats(suite: str, metric: dict[str, float] | None) -> str:
    """Of the gold answer; of last words their perplexity, too, which is exp of it."""
    if metric is None:
        return "-"
    value, low, high = (metric[each] for each in ("estimate", "low", "high"))
    told = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    word = suite in SUITES and SUITES[suite].kind == "word"
    return f"{told}, perplexity {math.exp(value):.4g}" if word else told


def _share(metric: dict[str, float] | None) -> str:
    if metric is None:
        return "-"
    value, low, high = (100 * metric[each] for each in ("estimate", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
