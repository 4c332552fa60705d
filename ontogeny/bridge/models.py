"""Model artifacts: weights, shape and tokenizer in one directory that stock transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.files import read_json, write_json
from ontogeny.bridge.device import device
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.infer.engine import Engine
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import load_weights, save_weights
from ontogeny.plan.hf_config import config_json, shape_from_config
from ontogeny.plan.shape import Shape
from ontogeny.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


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
        if name not in (WEIGHTS, CONFIG):
            shutil.copyfile(source.file(name), directory / name)
    vocabulary = Tokenizer.load(directory)
    ends = [vocabulary.end_of_turn, vocabulary.end_of_text]
    specials = {
        "bos_token_id": vocabulary.end_of_text,
        "eos_token_id": ends if chats else vocabulary.end_of_text,
        "pad_token_id": vocabulary.pad,
    }
    write_json(directory / CONFIG, config_json(model.shape, specials))
    save_weights(model, directory / WEIGHTS)


def chats(model: Artifact) -> bool:
    """Whether a model has learnt to answer in turns (see `save_model`)."""
    return isinstance(read_json(model.file(CONFIG)).get("eos_token_id"), list)


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
    artifact: Artifact, slots: int, length: int | None = None
) -> tuple[LocalPolicy, Tokenizer]:
    """The model behind our engine, and its tokenizer.

    Args:
        slots: sequences at once.
        length: most tokens of a sequence; the model's context unless told.

    Raises:
        InputError: when the artifact is no model.
        CorruptArtifact: when a file is not what was written.
    """
    model, tokenizer = load_model(artifact)
    room = min(length or model.shape.context, model.shape.context)
    return LocalPolicy(Engine(model, slots=slots, length=room)), tokenizer


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
