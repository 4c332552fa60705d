"""A model and its evidence -> a directory that other tools load, with a card. Knows no store.

The bytes follow from the artifacts, the words and the metadata of installed packages alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base import files
from ontogeny.base.artifact import RECORD, Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.lineage import with_ancestors
from ontogeny.base.tensor_header import read_header
from ontogeny.release import documents
from ontogeny.release.evidence import CONFIG, WEIGHTS, Evidence, file_of, parse_record
from ontogeny.release.files import (
    BILL,
    GENERATION,
    LICENCES,
    OF_MODEL,
    REQUIRED,
    SUMS,
    write_sums,
)
from ontogeny.release.licences import licence_notes
from ontogeny.release.materials import bill_of, write_bill
from ontogeny.release.price import Price
from ontogeny.release.words import Words

KINDS = ("measurement", "effect", "comparison", "corpus", "attacks", "watch", "gate")
END_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
TEMPERATURE, TOP_P = 0.8, 0.95


@dataclass(frozen=True)
class Written:
    """What a bundle came to: its files, and the values on its documents with their evidence.

    Its size is left out: records keep a clock, so it differs between equal runs.
    """

    files: int
    numbers: int

    def __str__(self) -> str:
        return f"{self.files} files; {self.numbers} values on its documents, each with its evidence"


def write_bundle(
    directory: Path, model: Artifact, measured: Sequence[Artifact], words: Words
) -> Written:
    """Writes the bundle of `model` into an empty `directory`.

    Args:
        measured: what the card tells of: measurements, effects, comparisons, corpora. Their
            records and those of all ancestors become the evidence.

    Raises:
        InputError: `model` is none, something measured is not of its life, two effects are of one
            claim and seed, or the user's words have a number without evidence.
        CorruptArtifact: an artifact is damaged or an ancestor missing.
        NoSpace: the disk is full or fails.
    """
    if model.record.kind != "model" or not REQUIRED.intersection(OF_MODEL) <= (
        model.record.files.keys()
    ):
        raise InputError(f"'{model.name}' is a {model.record.kind}, no model that others can load")
    model.verify()
    ancestry = with_ancestors([model, *measured])
    evidence = _evidence(model, ancestry, words.price)
    _fit(evidence, measured)
    with files.disk_errors(directory):
        for name in set(OF_MODEL) & model.record.files.keys():
            shutil.copyfile(model.file(name), directory / name)
        files.write_json(directory / GENERATION, generation(evidence.config))
        for each in ancestry:
            target = directory / file_of(each.id)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(each.path / RECORD, target)
        notes = licence_notes(evidence, words.license)
        (directory / LICENCES).write_text(notes, encoding="utf-8")
        loaded = [name for name in (*OF_MODEL, GENERATION) if (directory / name).exists()]
        sums = {name: files.sha256(directory / name) for name in loaded}
        write_bill(directory / BILL, bill_of(evidence, sums, words.license))
        texts = documents.written(evidence, words)
        for name, text in texts.items():
            (directory / name).write_text(text, encoding="utf-8")
        names = {str(path.relative_to(directory)) for path in directory.rglob("*")} | {SUMS}
        numbers = documents.cited(texts, evidence, names, words)
        write_sums(directory)
    return Written(sum(path.is_file() for path in directory.rglob("*")), numbers)


def _evidence(model: Artifact, ancestry: Sequence[Artifact], price: Price | None) -> Evidence:
    with model.file(WEIGHTS).open("rb") as file:
        parameters = sum(entry.elements for entry in read_header(file, model.path / WEIGHTS))
    records = {}
    for each in ancestry:
        path = each.path / RECORD
        record = parse_record(path.read_bytes(), path)
        if record != each.record:
            raise CorruptArtifact("the record changed while it was read", file=path)
        records[each.id] = record
    return Evidence(model.id, records, files.read_json(model.file(CONFIG)), parameters, price)


def _fit(evidence: Evidence, measured: Sequence[Artifact]) -> None:
    """Refuses what says nothing of this model, and two effects that say one thing."""
    shared = {each for each in evidence.lineage if evidence.records[each].kind == "corpus"}
    claims: dict[tuple[str, int], str] = {}
    for each in measured:
        record = each.record
        if record.kind not in KINDS:
            raise InputError(
                f"'{each.name}' is a {record.kind}; a card tells of {', '.join(KINDS)}"
            )
        related = shared.intersection(evidence.ancestors(each.id)) or evidence.concerns(record)
        if not related and record.kind != "corpus":
            raise InputError(
                f"'{each.name}' measures another life than that of '{model_name(evidence)}'"
            )
        if record.kind == "effect":
            key = str(record.metrics["effect"]["name"]), record.seed
            if claims.setdefault(key, each.id) != each.id:
                raise InputError(
                    f"two effects are of the claim {key[0]} under seed {key[1]}; give one"
                )


def model_name(evidence: Evidence) -> str:
    """What the model's recipe called it."""
    return evidence.records[evidence.model].name


def generation(config: Mapping[str, Any]) -> dict[str, Any]:
    """generation_config.json: what `generate` does when it is told nothing.

    It samples as `ontogeny chat` does and ends at the model's own end tokens. How long an answer
    may be is the caller's: a `max_new_tokens` here would overrule the `max_length` by which other
    tools (lm_eval) bound an answer, and a `max_length` makes each call with `max_new_tokens` warn.
    """
    return {
        **{name: config[name] for name in END_IDS},
        "do_sample": True,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
    }
