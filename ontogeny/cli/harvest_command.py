"""`ontogeny harvest`: a harvest and what a model learns of it, made as a recipe makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ontogeny.base import config
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError, printable
from ontogeny.base.store import Store, valid_name
from ontogeny.cli.arguments import at
from ontogeny.cli.writing import NO_PLAN, model_called, writing
from ontogeny.feedback.ledger import Ledger
from ontogeny.run.run import Run
from ontogeny.run.work import Stage
from ontogeny.stages.feedback_conversations import FeedbackConversations
from ontogeny.stages.feedback_pairs import FeedbackPairs
from ontogeny.stages.harvest import Harvest

LEARNT = {"pairs": FeedbackPairs, "conversations": FeedbackConversations}


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    ledger: Path
    model: str | None
    name: str
    since: str | None
    tasks: tuple[str, ...]
    heldout: float
    settings: tuple[str, ...]


def harvest(wanted: Wanted, root: Path, *, as_json: bool) -> None:
    """Makes the harvest and what follows from it, or finds it made; says what it holds.

    Raises:
        OntogenyError: one line for whatever went wrong; what was finished stays.
    """
    if not valid_name(wanted.name):
        told = f"'{wanted.name}' is no name; give letters, digits, _ . - and / between parts"
        raise at("--name", told)
    with Ledger.read(wanted.ledger) as ledger:  # nothing is made where there is none
        until = ledger.last
    store = Store.create(root)
    stage = _stage(wanted, store, until)
    learnt = [_learnt(kind, wanted.heldout) for kind in LEARNT if wanted.model]
    models = (model_called(store, wanted.model),) if wanted.model else ()
    tasks = tuple(_tasks(store, each) for each in wanted.tasks)
    made: dict[str, Artifact] = {}
    with writing(store) as desk:
        store.clear_leftovers()
        run = Run(store, NO_PLAN, seed=0, events=desk.events, stop=desk.stop)
        made["harvest"] = run(cast(Stage, stage), name=wanted.name)
        for each in learnt:
            if made["harvest"].metric(f"kept.{each.makes}"):
                called = f"{wanted.name}/{each.makes}"
                made[each.makes] = run(each, made["harvest"], *models, *tasks, name=called)
    if as_json:
        print(json.dumps({kind: _row(each) for kind, each in made.items()}, indent=1))
    else:
        _tell(made, wanted, root)
        for name in _older(store, wanted.name, made):
            print(printable(f"{name} is still that of another harvest; do not learn from it now"))


def _stage(wanted: Wanted, store: Store, until: int) -> Harvest:
    """The stage with its settings.

    Raises:
        InputError: a setting or a number does not fit, told where it stands.
    """
    since = _row_of(store, wanted.since) if wanted.since else 0
    if since > until:
        raise at("--since", f"the ledger has {until:,} rows; --since says {since:,}")
    stage = Harvest(ledger=str(wanted.ledger), since=since, until=until)
    for each in wanted.settings:
        field, equals, value = each.partition("=")
        if not equals:
            raise at("--set", f"'{each}' is not of the form field=value", each)
        if field in ("ledger", "since", "until"):
            raise at("--set", f"{field} is an option of its own, or follows", each)
        try:
            stage = config.override(stage, (field, value))
        except InputError as error:
            raise at("--set", error.reason, each) from None
    return stage


def _learnt(kind: str, heldout: float) -> Stage:
    try:
        return cast(Stage, LEARNT[kind](heldout=heldout))
    except InputError as error:
        raise at("--heldout", error.reason) from None


def _row_of(store: Store, since: str) -> int:
    """The row that a former harvest read up to, or that row itself."""
    if since.isdecimal() and len(since) < 16:
        return int(since)
    former = store.resolve(since)
    if former.record.kind != "harvest" or not former.metric("until"):
        raise at("--since", f"'{since}' is no harvest of a ledger; name one, or give a row")
    return int(former.metric("until"))


def _tasks(store: Store, reference: str) -> Artifact:
    artifact = store.resolve(reference)
    if artifact.record.kind != "tasks":
        raise at("--tasks", f"'{reference}' is a {artifact.record.kind}, no tasks", reference)
    return artifact


def _older(store: Store, name: str, made: Mapping[str, Artifact]) -> list[str]:
    """Names beside the harvest's that say what was made of another one."""
    named = store.named()
    beside = {f"{name}/{kind}" for kind in LEARNT if kind not in made} & named.keys()
    harvested = made["harvest"].id
    return [each for each in sorted(beside) if harvested not in store.resolve(each).record.parents]


def _row(artifact: Artifact) -> Mapping[str, Any]:
    return {"id": artifact.id, "name": artifact.name, "metrics": artifact.metrics}


def _tell(made: Mapping[str, Artifact], wanted: Wanted, root: Path) -> None:
    where = "" if root == Path("life") else f" --store {root}"
    for kind, artifact in made.items():
        name = wanted.name if kind == "harvest" else f"{wanted.name}/{kind}"
        print(printable(f"{name} ({artifact.id})"))
        for line in artifact.record.summary:
            print(printable(f"  {line}"))
    harvested = made["harvest"]
    if not any(harvested.metric(f"kept.{kind}") for kind in LEARNT):
        print("nothing to learn yet; users rate answers by POST /v1/feedback")
    elif wanted.model is None:
        ledger = f"--ledger {wanted.ledger} --name {wanted.name}{where}"
        print(printable(f"learn from it: ontogeny harvest {ledger} --model MODEL"))
    else:
        print(printable(f"what was left out, one by one: {harvested.path / 'removed.parquet'}"))
        if not wanted.tasks:
            print("no exam's questions were looked for; --tasks NAME keeps them out")
    print(
        printable(
            f"the next round: ontogeny harvest --ledger {wanted.ledger} --since {wanted.name} "
            f"--name NEW{where}"
        )
    )
