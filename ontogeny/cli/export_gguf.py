"""`ontogeny export --to gguf`: a model as one file for llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError, printable
from ontogeny.base.lineage import with_ancestors
from ontogeny.base.store import Store
from ontogeny.edge.gguf_write import write_gguf
from ontogeny.edge.hf_directory import read_directory
from ontogeny.edge.source import directory
from ontogeny.text.gguf_vocabulary import gguf_fields
from ontogeny.text.tokenizer import Tokenizer


def export(store: Store, artifact: Artifact, target: Path, dtype: str, licence: str) -> None:
    """Writes `target` and says what it is.

    Args:
        dtype: of the matrices: f32, f16 or q8_0.
        licence: of the weights; "" for what the model's life says of it.

    Raises:
        InputError: it is no model, or one that llama.cpp would compute otherwise.
        CorruptArtifact: the artifact is damaged.
        NoSpace: the disk is full or fails; nothing is left at `target`.
    """
    if artifact.record.kind != "model":
        raise InputError(
            f"'{artifact.name}' is a {artifact.record.kind}; give a model", file=store.root
        )
    artifact.verify()
    weights = read_directory(directory(artifact.path))
    fields: dict[str, Any] = {"general.type": "model", "general.name": artifact.name}
    said = licence or _licence(artifact)
    if said:
        fields["general.license"] = said
    tokenizer = Tokenizer.load(artifact.path)
    fields |= gguf_fields(tokenizer, weights.shape.vocab_size, weights.specials)
    size = write_gguf(target, weights.shape, weights.shapes, weights.load, fields, dtype)
    print(printable(f"{artifact.name} ({artifact.id}) is in {target}"))
    print(f"  {size / 1e6:,.1f} MB, matrices in {dtype}, norms in f32")
    print("load it by llama.cpp: " + printable(f"llama-cli -m {target}"))


def _licence(artifact: Artifact) -> str:
    """What the weights that this life began with said of theirs; "" where it began here."""
    for each in with_ancestors([artifact]):
        if each.record.stage == "import_weights":
            said = str(each.metrics.get("licence", ""))
            return "" if said == "not stated" else said
    return ""
