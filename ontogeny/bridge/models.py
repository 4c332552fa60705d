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
from ontogeny.model.weights import config_json, load_weights, save_weights, shape_from_config
from ontogeny.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_model(directory: Path, model: Transformer, tokenizer: Artifact) -> None:
    """Writes weights and config.json, and copies the tokenizer's files beside them.

    Raises:
        NoSpace: when the disk is full or fails.
        CorruptArtifact: when the tokenizer's files are damaged.
    """
    for name in tokenizer.record.files:
        shutil.copyfile(tokenizer.file(name), directory / name)
    vocabulary = Tokenizer.load(directory)
    specials = {
        "bos_token_id": vocabulary.end_of_text,
        "eos_token_id": vocabulary.end_of_text,
        "pad_token_id": vocabulary.pad,
    }
    write_json(directory / CONFIG, config_json(model.shape, specials))
    save_weights(model, directory / WEIGHTS)


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


def load_policy(artifact: Artifact, slots: int) -> tuple[LocalPolicy, Tokenizer]:
    """The model behind our engine with `slots` sequences at once, and its tokenizer.

    Raises:
        InputError: when the artifact is no model.
        CorruptArtifact: when a file is not what was written.
    """
    model, tokenizer = load_model(artifact)
    return LocalPolicy(Engine(model, slots=slots, length=model.shape.context)), tokenizer


def context_of(policy: LocalPolicy) -> int:
    """The most tokens, prompt and answer together, that a sequence of this policy holds."""
    return policy.engine.model.shape.context
