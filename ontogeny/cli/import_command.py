"""`ontogeny import`: one stage, made as a recipe would make it, so that both find one artifact."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.store import Store, valid_name
from ontogeny.cli.arguments import position
from ontogeny.cli.writing import NO_PLAN, writing
from ontogeny.run.run import Run
from ontogeny.run.work import Stage
from ontogeny.stages.import_weights import ImportAdapter, ImportWeights

LONGEST_NAME = 60


def import_weights(
    source: str, root: Path, *, name: str | None, base: str | None, as_json: bool
) -> None:
    """Makes a model of the weights at `source`, or finds it made; says what it is.

    Args:
        name: what it is called; made from `source` without it.
        base: `source` is an adapter of PEFT's, this the model it is merged into.

    Raises:
        OntogenyError: one line for whatever went wrong; the store is as it was.
    """
    called = name or name_of(source)
    if not valid_name(called):
        raise InputError(
            f"'{called}' is no name; give letters, digits, _ . - and / between parts",
            file=COMMAND_LINE,
            line=position(called, "--name", f"--name={called}"),
        )
    # a stage says which parents it takes, which the protocol of all stages cannot
    stage = cast(Stage, ImportAdapter(source) if base else ImportWeights(source))
    store = Store.create(root)
    with writing(store) as desk:
        store.clear_leftovers()
        parents = (store.resolve(base),) if base else ()
        run = Run(store, NO_PLAN, seed=0, events=desk.events, stop=desk.stop)
        artifact = run(stage, *parents, name=called)
    _tell(artifact, called, root, as_json=as_json)


def name_of(source: str) -> str:
    """A name made from a source: of a repository or package its own, of a file its stem."""
    kind, colon, rest = source.partition(":")
    if colon and kind in ("hf", "package"):
        found = re.split(r"@|==", rest)[0].rpartition("/")[2]
    else:
        path = Path(rest if colon and kind == "gguf" else source).absolute()
        found = path.stem if path.suffix == ".gguf" else path.name
    found = re.sub(r"[^A-Za-z0-9_.-]+", "-", found).strip("-_.")
    return found[:LONGEST_NAME] or "imported"


def _tell(artifact: Artifact, name: str, root: Path, *, as_json: bool) -> None:
    record = artifact.record
    if as_json:
        told = {"name": name, "id": artifact.id, "kind": record.kind, "metrics": record.metrics}
        print(json.dumps(told, indent=1))
        return
    print(printable(f"{name} ({artifact.id})"))
    for line in record.summary:
        print(printable(f"  {line}"))
    where = "" if root == Path("life") else f" --store {root}"
    print(printable(f"talk to it: ontogeny chat {name}{where}"))
