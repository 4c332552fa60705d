"""Open weights -> the files of a model artifact. Knows no format they came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import write_json
from ontogeny.bridge.models import CONFIG, WEIGHTS
from ontogeny.model.tensor_file import write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import views
from ontogeny.plan.hf_config import config_json
from ontogeny.plan.shape import Shape
from ontogeny.text.tokenizer import Tokenizer


class Weights(Protocol):
    """A model that was trained elsewhere (see `ontogeny.edge.open_weights`)."""

    @property
    def shape(self) -> Shape:
        """Its form."""

    @property
    def specials(self) -> Mapping[str, int | list[int] | None]:
        """Ids of special tokens, as config.json names them."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Hugging Face name -> shape of every tensor."""

    @property
    def load(self) -> Callable[[str], npt.NDArray[np.float32]]:
        """The numbers of one tensor."""

    @property
    def tokenizer(self) -> Mapping[str, bytes]:
        """The tokenizer's files."""

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The config.json that it came with."""


def save_open_weights(
    directory: Path, weights: Weights, path: Path, told: Callable[[float, float, str], None]
) -> Tokenizer:
    """Writes weights in float32, config.json and the tokenizer's files; the tokenizer.

    Args:
        path: where the weights came from, named in errors.
        told: called with (done, total, unit) as tensors are read.

    Raises:
        InputError: a part of the tokenizer is of a kind that is not read.
        CorruptArtifact: a tensor is missing, of no use, of another shape, or holds NaN or infinity;
            or the tokenizer has more tokens than the embedding rows.
        NoSpace: the disk is full or fails.
    """
    for name, data in weights.tokenizer.items():
        (directory / name).write_bytes(data)
    try:
        tokenizer = Tokenizer.load(directory)
    except (InputError, CorruptArtifact) as error:
        file = path / Path(error.file).name if error.file and path.is_dir() else path
        raise type(error)(error.reason, file=file, line=error.line) from None
    if tokenizer.vocab_size > weights.shape.vocab_size:
        raise CorruptArtifact(
            f"the tokenizer has {tokenizer.vocab_size:,} tokens, the embedding "
            f"{weights.shape.vocab_size:,} rows; they are not of one model",
            file=path,
        )
    tensors = _filled(weights, path, told)
    specials = {**weights.specials, "eos_token_id": _ends(weights, tokenizer)}
    write_json(directory / CONFIG, config_json(weights.shape, specials, weights.config))
    write_tensors(directory / WEIGHTS, tensors)
    return tokenizer


def _ends(weights: Weights, tokenizer: Tokenizer) -> int | list[int] | None:
    """What ends a generation; a list says that the model answers in turns (see `chats`).

    It does where its chat template ends an answer by one of its own ends. Base models are given
    templates, too, but theirs end by a token at which the model was not taught to stop.
    """
    ends = weights.specials.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if tokenizer.chat_template and tokenizer.end_of_turn in listed:
        return listed
    if tokenizer.end_of_text in listed:
        return tokenizer.end_of_text
    return listed[0] if listed else None


def _filled(
    weights: Weights, path: Path, told: Callable[[float, float, str], None]
) -> dict[str, Tensor]:
    """Hugging Face name -> float32 numbers, of every tensor that the shape has."""
    with torch.device("meta"):
        parameters = dict(Transformer(weights.shape).named_parameters())
    wanted = {name: tuple(view.shape) for _, name, view in views(weights.shape, parameters)}
    for name in sorted(wanted.keys() ^ weights.shapes.keys()):
        what = "is missing" if name in wanted else "does not belong to this model"
        raise CorruptArtifact(f"tensor {name!r} {what}", file=path)
    for name, shape in wanted.items():
        found = weights.shapes[name]
        if found != shape:
            raise CorruptArtifact(
                f"tensor {name!r} is {list(found)}, the config says {list(shape)}", file=path
            )
    tensors: dict[str, Tensor] = {}
    for done, name in enumerate(wanted):
        told(done, len(wanted), "tensors")
        values = weights.load(name)
        if not np.isfinite(values).all():
            raise CorruptArtifact(f"tensor {name!r} holds NaN or infinity", file=path)
        # torch writes where it pleases; a part of a mapped file is read-only
        tensors[name] = torch.from_numpy(values if values.flags.writeable else values.copy())
    told(len(wanted), len(wanted), "tensors")
    return tensors
