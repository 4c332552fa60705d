"""A directory in Hugging Face's format -> form, numbers, tokenizer's files. Knows no torch.

Believes nothing: tensors are those of the shards that the list names, each in its own; what old
files carry besides weights (rotary frequencies, the embedding again as a head) is compared with
what it should be and left out; whatever would run code in a loader is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.tensor_header import Entry, read_header
from ontogeny.edge.open_weights import Floats, OpenWeights, by_frequency
from ontogeny.edge.source import (
    CONFIG,
    GENERATION,
    INDEX,
    LARGEST_JSON,
    TOKENIZER_FILES,
    Source,
    shard_of,
)
from ontogeny.plan.hf_config import shape_from_config
from ontogeny.plan.shape import Shape
from ontogeny.release.check import CODE_KEYS
from ontogeny.release.jsons import parse_json

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TOKENIZER, TOKENIZER_CONFIG, TEMPLATE = TOKENIZER_FILES
TYPES = ("F32", "F16", "BF16")
_FREQUENCIES = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor's bytes are."""

    path: Path
    entry: Entry
    begin: int

    def raw(self) -> npt.NDArray[np.uint8]:
        size = self.entry.size
        return (
            np.memmap(self.path, np.uint8, "r", self.begin, (size,))
            if size
            else np.empty(0, np.uint8)
        )


def read_directory(source: Source) -> OpenWeights:
    """The model in the directory of `source`.

    Raises:
        InputError: it is of a family or type that is not read, or has no tokenizer.json.
        CorruptArtifact: a file is not what it says; tensors are in other shards than listed.
    """
    config, code = _without_code(_json(source, CONFIG), CONFIG)
    shape = shape_from_config(config, source.path / CONFIG)
    places = _places(source)
    notes = _leave_out(places, shape)
    for name, place in places.items():
        if place.entry.dtype not in TYPES:
            raise InputError(
                f"tensor {name!r} is {place.entry.dtype}; read are {', '.join(TYPES)}",
                file=place.path,
            )
    matrices = [each.entry.dtype for each in places.values() if len(each.entry.shape) > 1]
    return OpenWeights(
        shape=shape,
        specials=_specials(config, source),
        shapes={name: each.entry.shape for name, each in places.items()},
        load=lambda name: _floats(places[name]),
        tokenizer=_tokenizer(source),
        dtypes=by_frequency(matrices),
        config=config,
        licence=source.licence(),
        notes=(*notes, *code, *_without_code(_json(source, TOKENIZER_CONFIG), TOKENIZER_CONFIG)[1]),
    )


def _without_code(values: dict[str, Any], name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`values` without the keys by which a loader runs or fetches something, and their names."""
    found: set[str] = set()

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            found.update(CODE_KEYS & value.keys())
            return {key: kept(each) for key, each in value.items() if key not in CODE_KEYS}
        return [kept(each) for each in value] if isinstance(value, list) else value

    plain = kept(values)
    return plain, tuple(f"{key} of {name}, which would run or fetch code" for key in sorted(found))


def _json(source: Source, name: str) -> dict[str, Any]:
    """A configuration of the directory; empty where there is none."""
    if name not in source.files:
        return {}
    return parse_json(_bytes(source, name), source.path / name)


def _bytes(source: Source, name: str) -> bytes:
    path = source.path / name
    try:
        with source.files[name].open("rb") as file:
            data = file.read(LARGEST_JSON + 1)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    if len(data) > LARGEST_JSON:
        raise CorruptArtifact(f"more than {LARGEST_JSON >> 20} MiB", file=path)
    return data


def _places(source: Source) -> dict[str, _Place]:
    """Tensor -> where it is; with a list of shards, exactly where that says."""
    found: dict[str, _Place] = {}
    listed = shard_of(source.files[INDEX]) if INDEX in source.files else {}
    for name, real in sorted(source.files.items()):
        if not name.endswith(".safetensors"):
            continue
        path = source.path / name
        try:
            with real.open("rb") as file:
                entries = read_header(file, path)
                begin = file.tell()
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", file=path) from None
        for entry in entries:
            if listed and listed.get(entry.name) != name:
                where = listed.get(entry.name, "nowhere")
                raise CorruptArtifact(
                    f"tensor {entry.name!r} is in this shard, {INDEX} says {where}; get the shards "
                    "again",
                    file=path,
                )
            found[entry.name] = _Place(real, entry, begin)
            begin += entry.size
    for name in sorted(listed.keys() - found.keys()):
        reason = f"tensor {name!r} is missing; {INDEX} says it is here: get the shard again"
        raise CorruptArtifact(reason, file=source.path / listed[name])
    return found


def _leave_out(places: dict[str, _Place], shape: Shape) -> tuple[str, ...]:
    """Takes away what is no weight of its own; what it was.

    Raises:
        CorruptArtifact: it is not what it should be.
    """
    notes = []
    if shape.tied and {HEAD, EMBEDDING} <= places.keys():
        head, embedding = places.pop(HEAD), places[EMBEDDING]
        same = (head.entry.dtype, head.entry.shape) == (
            embedding.entry.dtype,
            embedding.entry.shape,
        )
        if not same or not np.array_equal(head.raw(), embedding.raw()):
            raise CorruptArtifact(
                f"tensor '{HEAD}' is not the embedding, but {CONFIG} says tie_word_embeddings",
                file=head.path,
            )
        notes.append("a head equal to the embedding")
    buffers = [name for name in places if _FREQUENCIES.fullmatch(name)]
    for name in buffers:
        _check_frequencies(places.pop(name), shape)
    return (*notes, *(["rotary frequencies as computed"] if buffers else []))


def _check_frequencies(place: _Place, shape: Shape) -> None:
    """Refuses rotary frequencies that are not those of the config."""
    if shape.rope.method != "plain":
        raise InputError(
            f"tensor {place.entry.name!r} holds rotary frequencies, which are compared for plain "
            f"positions only, not for {shape.rope.method}; remove these tensors and import again",
            file=place.path,
        )
    channels = np.arange(0, shape.head_dim, 2) / shape.head_dim
    wanted = shape.rope_base**-channels
    fits = place.entry.dtype in TYPES and place.entry.shape == wanted.shape
    # bfloat16 keeps three digits
    if not fits or not np.allclose(_floats(place), wanted, 1e-2, 0):
        raise CorruptArtifact(
            f"tensor {place.entry.name!r} holds other rotary frequencies than {CONFIG} says; get "
            "both again from one place",
            file=place.path,
        )


def _floats(place: _Place) -> Floats:
    """The numbers of a tensor; every float16 and bfloat16 is a float32, so nothing is rounded."""
    raw, shape = np.ascontiguousarray(place.raw()), place.entry.shape
    if place.entry.dtype == "BF16":
        wide = raw.view("<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    kind = "<f4" if place.entry.dtype == "F32" else "<f2"
    return raw.view(kind).astype(np.float32).reshape(shape)


def _specials(config: Mapping[str, Any], source: Source) -> dict[str, int | list[int] | None]:
    """The ids of config.json; the ends of generation_config.json, which `generate` obeys, too."""
    generation = _json(source, GENERATION)
    found: dict[str, int | list[int] | None] = {}
    for name in ("bos_token_id", "pad_token_id"):
        value = config.get(name, generation.get(name))
        found[name] = value if type(value) is int and value >= 0 else None
    ends: list[int] = []
    for table in (config, generation):
        value = table.get("eos_token_id")
        for each in value if isinstance(value, list) else [value]:
            if type(each) is int and each >= 0 and each not in ends:
                ends.append(each)
    plain = len(ends) == 1 and not isinstance(config.get("eos_token_id"), list)
    found["eos_token_id"] = ends[0] if plain else ends or None
    return found


def _tokenizer(source: Source) -> dict[str, bytes]:
    """The tokenizer's files; a chat template inside its configuration becomes a file."""
    if TOKENIZER not in source.files:
        raise InputError(
            f"no {TOKENIZER} in this directory; save the tokenizer by AutoTokenizer."
            "from_pretrained(...).save_pretrained(...) of transformers",
            file=source.path,
        )
    found = {TOKENIZER: _bytes(source, TOKENIZER)}
    settings = _json(source, TOKENIZER_CONFIG)
    kept, code = _without_code(settings, TOKENIZER_CONFIG)
    whole = _bytes(source, TOKENIZER_CONFIG) if TOKENIZER_CONFIG in source.files else b"{}\n"
    found[TOKENIZER_CONFIG] = (
        json.dumps(kept, indent=2, ensure_ascii=False).encode() + b"\n" if code else whole
    )
    template = settings.get("chat_template")
    if isinstance(template, list):  # several under names
        named = {
            each.get("name"): each.get("template") for each in template if isinstance(each, dict)
        }
        template = named.get("default")
    if TEMPLATE in source.files:
        found[TEMPLATE] = _bytes(source, TEMPLATE)
    elif isinstance(template, str):
        found[TEMPLATE] = template.encode()
    return found
