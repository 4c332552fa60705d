"""Models that can be served and gates that let them, published without a run."""

from __future__ import annotations

from pathlib import Path

import torch
from support.bench import small_tokenizer
from support.shelf import identity

from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.files import write_json
from ontogeny.base.store import Store
from ontogeny.bridge import save_model
from ontogeny.feedback.decision import FILE, KIND, PROMOTE, STAY
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape

KINDNESS = {"name": "kindness", "series": "s", "kind": "gain", "margin": 0.0, "better": "higher"}


def keep(
    store: Store, number: int, kind: str, parents: tuple[str, ...], promote: float
) -> Artifact:
    """Publishes the payload that was begun under this number."""
    payload = begun(store, number)
    gated = kind == KIND
    metrics = {PROMOTE: promote, "kindness": {"holds": promote}} if gated else {}
    name = f"{kind}-{number}"
    plain = Record("", "", "", "", 1, {}, [], 0, {}, [], {"seconds": 1.0}, {}, "c", {})
    told = {"id": identity(number), "name": name, "kind": kind, "stage": kind}
    told |= {"parents": list(parents), "metrics": metrics, "files": describe_files(payload)}
    told |= {"config": {"criteria": [KINDNESS]} if gated else {}}
    return store.publish(Record(**{**vars(plain), **told}))


def begun(store: Store, number: int) -> Path:
    """Where the payload of this number lies before it is published."""
    payload = store.work / identity(number) / "payload"
    payload.mkdir(parents=True, exist_ok=True)
    return payload


def gate_of(
    store: Store, number: int, candidate: str, released: str, *, promote: bool = True
) -> Artifact:
    """What the stage gate would make of the two."""
    line = "gain kindness: 0.40 [0.31, 0.49], more than 0.00" if promote else "gain kindness: 0.00"
    rows = [{**KINDNESS, "holds": promote, "line": line}]
    word = PROMOTE if promote else STAY
    told = {"decision": word, "candidate": candidate, "released": released, "criteria": rows}
    write_json(begun(store, number) / FILE, told)
    return keep(store, number, KIND, (candidate, released), float(promote))


def fond_of(says: str, context: int = 512) -> Transformer:
    """A model that says one letter again and again, so that one hears which of them answers."""
    tokenizer = small_tokenizer()
    made = Transformer(Shape(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, context))
    initialise(made, 2)
    with torch.no_grad():
        made.embedding.mul_(5.0)
        made.embedding[:, 0] = 1.0
        made.embedding[list(tokenizer.encode(says)), 0] = 30.0
    return made.eval()


def model_of(store: Store, number: int, says: str, context: int = 512) -> Artifact:
    """`fond_of` in a store."""
    directory = begun(store, number).parent / "tokenizer"
    directory.mkdir()
    small_tokenizer().save(directory)
    plain = Record("", "", "tokenizer", "", 1, {}, [], 0, {}, [], {}, {}, "c", {})
    files = {"files": describe_files(directory)}
    source = Artifact(directory, Record(**{**vars(plain), **files}))
    save_model(begun(store, number), fond_of(says, context), source, chats=True)
    return keep(store, number, "model", (), 0.0)
