"""A GGUF file of llama.cpp -> a model's form, numbers under Hugging Face's names, tokenizer.

Knows no store. The file is mapped and a tensor dequantised, by the gguf library, when it is asked
for; memory is that of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.edge.gguf_header import Entry, Header, read_header
from ontogeny.edge.gguf_library import gguf
from ontogeny.edge.gguf_names import (
    FACTORS,
    OUTPUT,
    TOKEN_EMBEDDING,
    Floats,
    from_gguf,
    theirs_of_ours,
)
from ontogeny.edge.gguf_shape import shape_from_fields
from ontogeny.edge.open_weights import OpenWeights, by_frequency
from ontogeny.plan.shape import Shape
from ontogeny.text.gguf_vocabulary import tokenizer_files

LONGEST_WORDS = 100
_IDS = {"bos": "bos", "eos": "eos", "pad": "padding"}


def read_gguf(path: Path) -> OpenWeights:
    """The model in the GGUF file at `path`.

    Raises:
        InputError: it is of an architecture, a type or a tokenizer that is not read.
        CorruptArtifact: its header does not describe exactly its bytes, or a tensor is missing or
            not of this shape.
    """
    header = read_header(path)
    if header.fields.get("split.count", 1) not in (0, 1):
        raise InputError("one part of several; join them by llama-gguf-split --merge", file=path)
    if TOKEN_EMBEDDING not in header.entries:
        raise CorruptArtifact(f"tensor '{TOKEN_EMBEDDING}' is missing", file=path)
    factors = _floats(header, FACTORS).tolist() if FACTORS in header.entries else None
    rows = header.entries[TOKEN_EMBEDDING].shape[0]
    tied = OUTPUT not in header.entries or _same(header, OUTPUT, TOKEN_EMBEDDING)
    shape = shape_from_fields(header.fields, path, vocab_size=rows, tied=tied, factors=factors)
    names = _names(header, shape)
    matrices = [each.kind.name for each in header.entries.values() if len(each.shape) > 1]
    return OpenWeights(
        shape=shape,
        specials=_specials(header.fields),
        shapes={ours: header.entries[theirs].shape for ours, theirs in names.items()},
        load=lambda name: from_gguf(shape, name, _floats(header, names[name])),
        tokenizer={k: v.encode() for k, v in tokenizer_files(header.fields, path).items()},
        dtypes=by_frequency(matrices),
        title=_text(header.fields, "general.name"),
        licence=_text(header.fields, "general.license"),
    )


def _names(header: Header, shape: Shape) -> dict[str, str]:
    """Hugging Face name -> name in the file, of every tensor that holds weights."""
    known = {theirs: ours for ours, theirs in theirs_of_ours(shape).items()}
    found = {}
    for name in header.entries:
        if name == FACTORS or (name == OUTPUT and shape.tied):
            continue
        if name not in known:
            raise CorruptArtifact(f"tensor {name!r} belongs to no {shape.family}", file=header.path)
        found[known[name]] = name
    return found


def _floats(header: Header, name: str) -> Floats:
    """One tensor, dequantised.

    Raises:
        InputError: it is of a type that the gguf library cannot dequantise.
    """
    entry = header.entries[name]
    block, block_bytes = gguf.GGML_QUANT_SIZES[entry.kind]
    raw = _raw(header, entry).reshape(*entry.shape[:-1], entry.shape[-1] // block * block_bytes)
    try:
        values = gguf.quants.dequantize(raw, entry.kind)
    except NotImplementedError:
        reason = f"tensor {name!r} is of the type {entry.kind.name}, which is not read"
        raise InputError(reason, file=header.path) from None
    return np.asarray(values, np.float32).reshape(entry.shape)


def _same(header: Header, one: str, other: str) -> bool:
    """Whether two tensors have the same bytes."""
    a, b = header.entries[one], header.entries[other]
    if (a.kind, a.shape) != (b.kind, b.shape):
        return False
    return bool(np.array_equal(_raw(header, a), _raw(header, b)))


def _raw(header: Header, entry: Entry) -> npt.NDArray[np.uint8]:
    return np.frombuffer(header.data, np.uint8, entry.size, entry.begin)


def _specials(fields: Mapping[str, Any]) -> dict[str, int | list[int] | None]:
    count = len(fields.get("tokenizer.ggml.tokens") or ())
    found: dict[str, int | list[int] | None] = {}
    for ours, theirs in _IDS.items():
        value = fields.get(f"tokenizer.ggml.{theirs}_token_id")
        usable = type(value) is int and 0 <= value < count
        found[f"{ours}_token_id"] = value if usable else None
    eos, turn = found.get("eos_token_id"), fields.get("tokenizer.ggml.eot_token_id")
    if type(turn) is int and 0 <= turn < count and turn != eos:
        found["eos_token_id"] = [eos, turn] if isinstance(eos, int) else turn
    return found


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return " ".join(value.split())[:LONGEST_WORDS] if isinstance(value, str) else ""
