"""Open weights -> model: config, float32 weights, tokenizer and chat template, as they came.

An adapter in PEFT's format is merged into the model that it belongs to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.base.files import sha256
from ontogeny.edge.open_weights import OpenWeights, open_weights
from ontogeny.edge.source import find
from ontogeny.run.work import Made, Work

EXACT = {"F32", "F16", "BF16"}
"""Types whose every number is a float32."""
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class ImportWeights:
    """Takes a model that was trained elsewhere.

    `source` is a directory in Hugging Face's format, hf:ORGANISATION/NAME[@REVISION], gguf:FILE or
    package:NAME[==VERSION] (see `ontogeny.edge.source`). Where it lies is execution, what it
    contains is identity.

    Raises:
        InputError: there is nothing, or nothing of a kind that is read.
        CorruptArtifact: a file is not what it says.
    """

    source: str = execution("")

    stage: ClassVar[str] = "import_weights"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        if not self.source:
            raise InputError("source is empty; say which weights: ImportWeights(source=...)")

    def identity(self) -> dict[str, Any]:
        """The content of the files, in place of where they lie."""
        source = find(self.source)
        return {"files": source.digests(), "licence": source.licence()}

    def disk_bytes(self) -> float:
        """What the weights take in float32."""
        return 4.0 * _parameters(open_weights(find(self.source)))

    def __call__(self, work: Work) -> Made:
        """Writes the files of a model."""
        source = find(self.source)
        weights = open_weights(source)
        tokenizer = bridge.save_open_weights(work.payload, weights, source.path, work.progress)
        shape, count = weights.shape, _parameters(weights)
        return Made(
            metrics={
                "family": shape.family,
                "parameters": count,
                "context": shape.context,
                "vocabulary": shape.vocab_size,
                "types": ", ".join(weights.dtypes),
                "licence": weights.licence or "not stated",
            },
            summary=_summary(weights, tokenizer, count),
            notes=(f"commit {source.commit}",) if source.commit else (),
        )


def _parameters(weights: OpenWeights) -> int:
    return sum(math.prod(shape) for shape in weights.shapes.values())


def _summary(weights: OpenWeights, tokenizer: Any, count: int) -> tuple[str, ...]:
    shape, types = weights.shape, weights.dtypes
    if set(types) == {"F32"}:
        how = "float32 as it came"
    elif set(types) <= EXACT:
        how = f"float32 from {', '.join(types)}, exactly"
    else:
        how = f"float32, dequantised from {', '.join(types)}"
    title = f"{weights.title}: " if weights.title else ""
    chats = "a chat template" if "chat_template.jinja" in weights.tokenizer else "no chat template"
    left = f"; left out: {', '.join(weights.notes)}" if weights.notes else ""
    return (
        f"{title}{shape.family}, {count / 1e6:,.1f} M parameters, {shape.layers} layers, context "
        f"{shape.context:,}; weights are {how}{left}",
        f"tokenizer of {tokenizer.vocab_size:,} tokens, {chats}; licence of the weights: "
        f"{weights.licence or 'not stated'}",
    )


@dataclass(frozen=True)
class ImportAdapter:
    """Merges an adapter of PEFT's, the directory `source`, into the model it was trained on.

    Where it lies is execution, what it contains is identity.

    Raises:
        InputError: it is no such directory, or asks for what is not computed here.
        CorruptArtifact: a file is damaged, or the adapter belongs to another model.
    """

    source: str = execution("")

    stage: ClassVar[str] = "import_adapter"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        if not self.source:
            raise InputError("source is empty; say which adapter: ImportAdapter(source=...)")

    def identity(self) -> dict[str, Any]:
        """The content of the files, in place of where they lie."""
        directory = Path(self.source)
        missing = next((each for each in ADAPTER if not (directory / each).exists()), None)
        if missing is not None:
            raise InputError(f"no adapter of PEFT's: it has no {missing}", file=directory)
        try:
            return {"files": {each: sha256(directory / each) for each in ADAPTER}}
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", file=directory) from None

    def __call__(self, work: Work, base: Artifact) -> Made:
        """Writes the files of the merged model, and the adapter below adapter/."""
        metrics = bridge.merge_adapter(base, Path(self.source), work.payload)
        told = ", ".join(f"{name} {value}" for name, value in sorted(metrics.items()))
        return Made(metrics=metrics, summary=(f"{base.name} with an adapter merged: {told}",))
