"""Model artifacts: weights, shape and tokenizer in one directory that stock transformers loads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import read_json, write_json
from ontogeny.bridge.device import device
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.infer.engine import Engine
from ontogeny.model.int8 import quantise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import load_weights, save_weights
from ontogeny.plan.hf_config import config_json, shape_from_config
from ontogeny.plan.shape import Shape
from ontogeny.rollout.rolled import FILE as ROLLED
from ontogeny.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
Weights = Literal["fp32", "int8", "bf16"]
ADAPTER = "adapter"
"""Folder of the adapter that a stage has learnt; the model beside it has it merged."""


def save_model(directory: Path, model: Transformer, source: Artifact, *, chats: bool) -> None:
    """Writes weights and config.json, and copies the tokenizer's files beside them.

    Args:
        source: a tokenizer, or the model that this one comes from.
        chats: it has learnt to answer in turns; the end of a turn then also ends a generation.

    Raises:
        NoSpace: when the disk is full or fails.
        CorruptArtifact: when the tokenizer's files are damaged.
    """
    for name in source.record.files:
        if name not in (WEIGHTS, CONFIG, ROLLED) and not name.startswith(f"{ADAPTER}/"):
            shutil.copyfile(source.file(name), directory / name)
    like = read_json(source.file(CONFIG)) if CONFIG in source.record.files else None
    specials = _specials(Tokenizer.load(directory), like or {}, chats=chats)
    write_json(directory / CONFIG, config_json(model.shape, specials, like))
    save_weights(model, directory / WEIGHTS)


def _specials(
    vocabulary: Tokenizer, like: Mapping[str, Any], *, chats: bool
) -> dict[str, int | list[int] | None]:
    """What config.json says of special tokens; a model keeps what it came with."""
    known = like.get("eos_token_id", vocabulary.end_of_text)
    ends = _ids(known)
    if chats and vocabulary.end_of_turn not in ends:
        known = list(dict.fromkeys([*vocabulary.stops(chats=True), *ends]))
    return {
        "bos_token_id": like.get("bos_token_id", vocabulary.begin),
        "eos_token_id": known,
        "pad_token_id": like.get("pad_token_id", vocabulary.pad),
    }


def chats(model: Artifact) -> bool:
    """Whether a model has learnt to answer in turns: the end of a turn ends a generation."""
    ends = _ids(read_json(model.file(CONFIG)).get("eos_token_id"))
    vocabulary = Tokenizer.load(model.path)
    return bool(vocabulary.chat_template) and vocabulary.end_of_turn in ends


def _ids(value: int | list[int] | None) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]


def load_model(artifact: Artifact) -> tuple[Transformer, Tokenizer]:
    """The model, in evaluation mode on this machine's device, and its tokenizer, all verified.

    Raises:
        InputError: when the artifact is no model.
        CorruptArtifact: when a file is not what was written.
    """
    if artifact.record.kind != "model":
        raise InputError(
            f"'{artifact.name}' is a {artifact.record.kind}, no model; "
            "`ontogeny show` lists what there is",
            file=artifact.path,
        )
    artifact.verify()
    config = artifact.path / CONFIG
    model = Transformer(shape_from_config(read_json(config), config))
    load_weights(model, artifact.path / WEIGHTS)
    return model.to(device()).eval(), Tokenizer.load(artifact.path)


def load_policy(
    artifact: Artifact,
    slots: int,
    length: int | None = None,
    *,
    admission: Literal["lockstep", "ready"] = "lockstep",
    weights: Weights = "fp32",
    prefill_tokens: int = 4096,
) -> tuple[LocalPolicy, Tokenizer]:
    """The model behind our engine, and its tokenizer.

    Args:
        slots: sequences at once.
        length: most tokens of a sequence; the model's context unless told.
        admission: see `infer.engine`.
        weights: what generation multiplies by (`model.int8`); scoring stays with float32.
        prefill_tokens: see `infer.engine`; fewer let answers under way go on sooner.

    Raises:
        InputError: when the artifact is no model, or smaller weights do not work here.
        CorruptArtifact: when a file is not what was written.
    """
    model, tokenizer = load_model(artifact)
    room = min(length or model.shape.context, model.shape.context)
    if weights != "fp32":
        quantise(model, weights)
    engine = Engine(
        model, slots=slots, length=room, admission=admission, prefill_tokens=prefill_tokens
    )
    return LocalPolicy(engine, tokenizer), tokenizer


def context_of(policy: LocalPolicy) -> int:
    """The most tokens, prompt and answer together, that a sequence of this policy holds."""
    return policy.engine.length


def shape_of(model: Artifact) -> Shape:
    """The shape of a model artifact, its config.json verified.

    Raises:
        InputError: when the artifact is no model.
        CorruptArtifact: when the file is not what was written.
    """
    path = model.file(CONFIG)
    return shape_from_config(read_json(path), path)
