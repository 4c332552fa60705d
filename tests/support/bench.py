"""A store to play single stages in: a small tokenizer, files of rows, what a stage makes."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from conftest import publish

from ontogeny.base.artifact import Artifact
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape
from ontogeny.run.request import request
from ontogeny.run.work import Made, Stage, Work
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.train_tokenizer import train


@functools.cache
def small_tokenizer() -> Tokenizer:
    """600 ids, trained on one module of the standard library."""
    return train([Path(str(argparse.__file__)).read_text(encoding="utf-8")], 600)


def sometimes_right(context: int) -> Transformer:
    """Untrained, and fond of saying 3 and of ending its turn: sometimes that is right."""
    tokenizer = small_tokenizer()
    made = Transformer(Shape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, context))
    initialise(made, 2)
    with torch.no_grad():
        made.embedding.mul_(5.0)
        made.embedding[:, 0] = 1.0
        made.embedding[[*tokenizer.encode("3"), tokenizer.end_of_turn], 0] = 3.0
    return made


class Bench:
    """Artifacts in a store under `root`, files under `root`/data."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.create(root / "life")
        self.count = 0
        small_tokenizer().save(self.payload())
        self.tokenizer = self.keep("train_tokenizer", "tokenizer")

    def payload(self) -> Path:
        """An empty payload of the next artifact."""
        self.count += 1
        payload = self.store.work / f"{self.count:016x}" / "payload"
        payload.mkdir(parents=True)
        return payload

    def keep(self, stage: str, kind: str) -> Artifact:
        """Publishes the payload begun last."""
        payload = self.store.work / f"{self.count:016x}" / "payload"
        return publish(self.store, payload, stage, kind, f"{kind}/{self.count}")

    def rows(self, name: str, rows: Iterable[Mapping[str, Any] | str]) -> Path:
        """A file of rows; a text is a line as it stands."""
        file = self.root / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [each if isinstance(each, str) else json.dumps(each) for each in rows]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return file

    def play(self, stage: Stage, *parents: Artifact, seed: int = 0) -> tuple[Artifact, Made]:
        """What a stage makes of its parents, which must be of the kinds it takes."""
        known = tuple((parent.id, parent.record.kind) for parent in parents)
        request(stage, known, name="played", seed=seed, settings=[])
        payload = self.payload()
        work = Work("played", payload.parent, seed, Events(), StopRequest())
        made = stage(work, *parents)
        json.dumps(made.metrics, allow_nan=False)  # a record holds only plain numbers
        return self.keep(stage.stage, stage.makes), made


def lines(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    """The rows of one file of an artifact."""
    text = artifact.file(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]
