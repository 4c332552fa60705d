"""Whether a bundle is what it says: every byte, every record, every number of its card.

Loads no model, runs nothing that the bundle brings, and never leaves its directory. It shows that
the parts agree with each other, not who made them: with the `store` that the model came from the
evidence is compared as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.artifact import RECORD, Record
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.store import Store
from ontogeny.base.tensor_header import read_header
from ontogeny.release.card_check import split_card
from ontogeny.release.documents import check_documents, text_of
from ontogeny.release.evidence import CONFIG, FILE, WEIGHTS, Evidence, file_of, parse_record
from ontogeny.release.files import (
    AGAIN,
    BILL,
    CARD,
    GENERATION,
    OF_MODEL,
    POLICY,
    SIGNATURE,
    SUMS,
    TEMPLATE,
    TOKENIZER_CONFIG,
    Files,
    open_once,
    read_files,
)
from ontogeny.release.jsons import parse_json
from ontogeny.release.materials import check_bill
from ontogeny.release.price import PRICES, read_price
from ontogeny.text.artifact_files import is_ours
from ontogeny.text.open_language import compile_open_template
from ontogeny.text.template_language import compile_template

CODE_KEYS = frozenset(
    [
        "auto_map",
        "custom_pipelines",
        "custom_generate",
        "trust_remote_code",
        "base_model_name_or_path",
    ]
)
"""Keys by which a configuration can make a loader run or fetch something else."""


@dataclass(frozen=True)
class Check:
    """One group of checks that passed: its name, how much was looked at, one line for a person."""

    name: str
    count: int
    line: str


Signed = Callable[[Path], Mapping[str, str]]
"""Path of a bundle -> sha256 of each of its files as somebody signed it (see `signing`)."""


def check_bundle(
    directory: Path, store: Store | None = None, signed: Signed | None = None
) -> Iterator[Check]:
    """Each group of checks as it passes.

    Args:
        signed: where it is given there must be a signature, which is checked before all else.

    Raises:
        InputError: there is no bundle in `directory`.
        CorruptArtifact: FILE:LINE of the first thing that is not as it should be.
    """
    trusted = None if signed is None else signed(directory)
    files = read_files(directory)
    if trusted is not None:
        yield _signature(files, trusted)
    elif (directory / SIGNATURE).exists():
        yield Check("signature", 0, "signed, not checked: give --key PUB.pem")
    count = len(files.sums) + 1
    yield Check(
        "files", count, f"{count} files, {files.size / 1e6:.1f} MB: each sha256 as listed, no other"
    )
    parameters, tensors = _weights(directory / WEIGHTS)
    config = _configs(files)
    yield Check(
        "load",
        tensors,
        f"{tensors} tensors, {parameters:,} parameters in a sound safetensors file; "
        "nothing to unpickle, no code to load",
    )
    evidence = _evidence(files, config, parameters)
    model = evidence.records[evidence.model]
    yield Check(
        "evidence",
        len(evidence.records),
        f"{len(evidence.records)} sealed records, none without its ancestors; weights and "
        f"tokenizer are those of {model.name} ({model.id})",
    )
    yield from _materials(files, evidence)
    names = {*files.sums, SUMS}
    cited, documents = check_documents(files.held, evidence, names, directory)
    where = f" on {documents} documents" if documents > 1 else ""
    yield Check(
        "card", cited, f"{cited} values{where}, each as its evidence says; no number beside them"
    )
    if store is not None:
        _compare(files, evidence, store)
        yield Check("store", len(evidence.records), f"every record is the one in {store.root}")


def _signature(files: Files, trusted: Mapping[str, str]) -> Check:
    """Compares what was signed with the bytes that all later checks see.

    Raises:
        CorruptArtifact: a file is another than the signed one.
    """
    found = {**files.sums, SUMS: files.list_sha256}
    for name in sorted(found.keys() | trusted.keys()):
        if found.get(name) != trusted.get(name):
            reason = f"not the file that was signed; {AGAIN}"
            raise CorruptArtifact(reason, file=files.directory / name)
    count = len(found)
    return Check("signature", count, f"{count} files, each as the owner of that key signed it")


def _materials(files: Files, evidence: Evidence) -> Iterator[Check]:
    """Computes the bill of materials again; bundles from before there was one pass without.

    Raises:
        CorruptArtifact: it is missing, or says something else.
    """
    if BILL in files.sums:
        path = files.directory / CARD
        license_id = split_card(text_of(files[CARD], path), path)[0].license
        count = check_bill(files, evidence, license_id)
        yield Check("materials", count, f"{count} components, as evidence and files say")
    elif POLICY in files.sums:
        reason = f"{SUMS} does not list it, and bundles of this form have it; {AGAIN}"
        raise CorruptArtifact(reason, file=files.directory / BILL)


def _weights(path: Path) -> tuple[int, int]:
    """Numbers and tensors of the weights, from the header alone."""
    try:
        with open_once(path) as file:
            entries = read_header(file, path)
    except OSError as error:
        raise CorruptArtifact(f"cannot be read ({error.strerror})", file=path) from None
    return sum(entry.elements for entry in entries), len(entries)


def _configs(files: Files) -> dict[str, Any]:
    """config.json, after every configuration was looked through for a way to run code.

    Raises:
        CorruptArtifact: there is one, or the configurations do not fit together.
    """
    found = {}
    for name in (CONFIG, GENERATION, TOKENIZER_CONFIG):
        path = files.directory / name
        found[name] = parse_json(files[name], path)
        key = _runs_code(found[name])
        if key:
            raise CorruptArtifact(f"'{key}' makes a loader run or fetch code; refused", file=path)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if found[GENERATION].get(name) != found[CONFIG].get(name):
            raise CorruptArtifact(
                f"{name} is not that of {CONFIG}", file=files.directory / GENERATION
            )
    if TEMPLATE in files.sums:
        _check_template(files)
    return found[CONFIG]


def _check_template(files: Files) -> None:
    """Refuses a chat template outside the language of ours, or of that of open weights."""
    path = files.directory / TEMPLATE
    compiled = compile_template if is_ours(files[TOKENIZER_CONFIG]) else compile_open_template
    try:
        compiled(files[TEMPLATE].decode("utf-8"), file=path)
    except UnicodeDecodeError:
        raise CorruptArtifact("the chat template is not UTF-8", file=path) from None
    except InputError as error:
        raise CorruptArtifact(error.reason, file=path, line=error.line) from None


def _runs_code(value: object) -> str | None:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            refused = sorted(CODE_KEYS & each.keys())
            if refused:
                return refused[0]
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return None


def _evidence(files: Files, config: Mapping[str, Any], parameters: int) -> Evidence:
    """The records of the bundle, of the model that its card names, and the price in it."""
    directory = files.directory
    records: dict[str, Record] = {}
    for name in files.sums:
        found = FILE.fullmatch(name)
        if found:
            record = parse_record(files[name], directory / name)
            if record.id != found[1]:
                raise CorruptArtifact(f"the record is of {record.id}", file=directory / name)
            records[record.id] = record
    for record in records.values():
        for parent in record.parents:
            if parent not in records:
                raise CorruptArtifact(
                    f"its parent {parent} is not in the evidence",
                    file=directory / file_of(record.id),
                )
    text = text_of(files[CARD], directory / CARD)
    model = split_card(text, directory / CARD)[0].model
    if model not in records or records[model].kind != "model":
        raise CorruptArtifact(f"the model {model} is not in the evidence", file=directory / CARD)
    _loops(records, directory)
    for name in OF_MODEL:
        listed = records[model].files.get(name, {}).get("sha256")
        if listed != files.sums.get(name):
            raise CorruptArtifact(
                f"not the bytes that the sealed record of {records[model].name} ({model}) lists",
                file=directory / name,
            )
    price = read_price(files[PRICES], directory / PRICES) if PRICES in files.sums else None
    return Evidence(model, records, config, parameters, price)


def _loops(records: Mapping[str, Record], directory: Path) -> None:
    """Refuses records that are their own ancestors."""
    left = {name: set(record.parents) for name, record in records.items()}
    while ready := {name for name, parents in left.items() if not parents & left.keys()}:
        left = {name: parents for name, parents in left.items() if name not in ready}
    for name in sorted(left):
        raise CorruptArtifact("a record that comes from itself", file=directory / file_of(name))


def _compare(files: Files, evidence: Evidence, store: Store) -> None:
    """Refuses a record that the store does not have, or has with other bytes."""
    for each in sorted(evidence.records):
        path = files.directory / file_of(each)
        if not store.has(each):
            raise CorruptArtifact(f"{store.root} has no artifact {each}", file=path)
        if store.get(each).path.joinpath(RECORD).read_bytes() != files[file_of(each)]:
            raise CorruptArtifact(f"not the record of {each} in {store.root}", file=path)
