"""`ontogeny import`: one stage, made as a recipe would make it, so that both find one artifact."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.store import Store, valid_name
from ontogeny.cli.arguments import position
from ontogeny.cli.verify_command import signed_by
from ontogeny.cli.writing import NO_PLAN, writing
from ontogeny.release.check import check_bundle
from ontogeny.release.files import SIGNATURE
from ontogeny.run.run import Run
from ontogeny.run.work import Stage
from ontogeny.stages.import_weights import ImportAdapter, ImportWeights

LONGEST_NAME = 60


@dataclass(frozen=True)
class Asked:
    """What the command line said.

    Args:
        source: where the weights are.
        name: what the model is called; made from `source` without it.
        base: `source` is an adapter of PEFT's, this the model it is merged into.
        key: `source` is a bundle, which the owner of this public key must have signed.
    """

    source: str
    name: str | None = None
    base: str | None = None
    key: Path | None = None


def import_weights(asked: Asked, root: Path, *, as_json: bool) -> None:
    """Makes a model of the weights that are asked for, or finds it made; says what it is.

    Raises:
        OntogenyError: one line for whatever went wrong; the store is as it was.
    """
    called = asked.name or name_of(asked.source)
    if not valid_name(called):
        raise InputError(
            f"'{called}' is no name; give letters, digits, _ . - and / between parts",
            file=COMMAND_LINE,
            line=position(called, "--name", f"--name={called}"),
        )
    _signature(asked)
    # a stage says which parents it takes, which the protocol of all stages cannot
    made_by = ImportAdapter(asked.source) if asked.base else ImportWeights(asked.source)
    stage = cast(Stage, made_by)
    store = Store.create(root)
    with writing(store) as desk:
        store.clear_leftovers()
        parents = (store.resolve(asked.base),) if asked.base else ()
        run = Run(store, NO_PLAN, seed=0, events=desk.events, stop=desk.stop)
        artifact = run(stage, *parents, name=called)
    _tell(artifact, called, root, as_json=as_json)


def _signature(asked: Asked) -> None:
    """Checks a bundle before anything of it is read; says so where one is signed and nobody asks.

    Raises:
        InputError: a key is given and the source is no bundle, or the key is none.
        CorruptArtifact: the bundle is not signed by that key, or not whole.
    """
    directory = Path(asked.source)
    if asked.key is not None:
        for _ in check_bundle(directory, signed=signed_by(asked.key)):
            pass
    elif (directory / SIGNATURE).is_file():
        told = f"{directory} is signed, not checked: give --key PUB.pem of whoever signed it"
        print(printable(told), file=sys.stderr)


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
