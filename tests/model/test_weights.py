"""Weights on disk: names of transformers, equal bytes, and no bad file gets in."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ontogeny.base.errors import CorruptArtifact, InputError, NoSpace
from ontogeny.model.initial import initialise
from ontogeny.model.rope import rope_tables
from ontogeny.model.tensor_file import read_tensors, write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import load_weights, named_weights, save_weights
from ontogeny.objectives.batch import Batch
from ontogeny.plan.hf_config import config_json, shape_from_config
from ontogeny.plan.shape import Rope, RopeMethod, Shape

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24, rope_theta=5e4)


def model(shape: Shape = SHAPE, seed: int = 3) -> Transformer:
    made = Transformer(shape)
    initialise(made, seed)
    return made


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int, end: int, dtype: Any = "F32", shape: Any = None) -> dict[str, Any]:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SHAPES = {
    "tied": SHAPE,
    "untied": dataclasses.replace(SHAPE, tied=False),
    "linear": SHAPE.extended("linear", 4),
    "ntk": SHAPE.extended("ntk", 4),
    "abf": SHAPE.extended("abf", 4),
    "yarn": SHAPE.extended("yarn", 4),
    "part of yarn's reach": dataclasses.replace(SHAPE, context=72, rope=Rope("yarn", 4, 24)),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", SHAPES)
def test_logits_equal_those_of_transformers(tmp_path: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    shape = SHAPES[name]
    made = model(shape)
    with torch.no_grad():  # norms of 1 would hide a swapped pair
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    save_weights(made, tmp_path / "model.safetensors")
    config = config_json(shape, {"eos_token_id": 1})
    (tmp_path / "config.json").write_text(json.dumps(config))
    theirs = transformers.Qwen3ForCausalLM.from_pretrained(tmp_path).eval()
    size = (3, shape.context)
    tokens = torch.randint(61, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(tokens).logits
    got = made.logits(Batch(tokens, tokens, torch.ones(size)))
    assert float((got - expected).abs().max()) < 1e-4
    assert sum(p.numel() for p in theirs.parameters()) == shape.parameters()
    theirs.save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    again = shape_from_config(json.loads(path.read_text()), path)
    assert again == shape_from_config(config, tmp_path / "config.json")


def test_saving_and_loading_keeps_every_bit(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    digest = save_weights(model(), path)
    other = model(seed=4)
    load_weights(other, path)
    assert all(
        torch.equal(a, b) for a, b in zip(other.parameters(), model().parameters(), strict=True)
    )
    assert save_weights(other, tmp_path / "again") == digest
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_the_safetensors_library_reads_what_we_write(tmp_path: Path) -> None:
    tensors = {
        "b": torch.arange(6).reshape(2, 3),
        "a": torch.randn(3),
        "none": torch.empty(0, 4),
        "scalar": torch.tensor(2.5),
        "bits": torch.tensor([True, False]),
        "half": torch.randn(2, 2).bfloat16(),
        "turned": torch.randn(3, 2).t(),
    }
    write_tensors(tmp_path / "x", tensors)
    for got in (load_file(tmp_path / "x"), read_tensors(tmp_path / "x")):
        assert got.keys() == tensors.keys()
        assert all(torch.equal(got[name], tensors[name]) for name in tensors)


def test_the_config_gives_back_its_shape(tmp_path: Path) -> None:
    config = json.loads(json.dumps(config_json(SHAPE, {})))
    assert shape_from_config(config, tmp_path / "config.json") == SHAPE
    with pytest.raises(InputError, match="GPT2LMHeadModel"):
        shape_from_config({"architectures": ["GPT2LMHeadModel"]}, tmp_path / "config.json")
    del config["hidden_size"]
    with pytest.raises(InputError, match="hidden_size"):
        shape_from_config(config, tmp_path / "config.json")


@pytest.mark.parametrize("method", ["linear", "ntk", "abf", "yarn"])
@pytest.mark.parametrize("factor", [1, 4 / 3, 1.5, 4])
def test_the_config_gives_back_equal_tables(method: RopeMethod, factor: float) -> None:
    shape = SHAPE.extended(method, factor)
    config = json.loads(json.dumps(config_json(shape, {})))
    again = shape_from_config(config, Path("config.json"))
    assert config["max_position_embeddings"] == again.context == shape.context
    if method in ("linear", "yarn"):
        assert again == shape
    for ours, read in zip(tables(shape), tables(again), strict=True):
        assert torch.equal(ours, read)


def tables(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    return rope_tables(shape.head_dim, shape.rope_theta, shape.context, shape.rope)


def test_a_config_of_transformers_4_is_read() -> None:
    shape = SHAPE.extended("yarn", 4)
    for wanted in (SHAPE, shape):
        config = config_json(wanted, {})
        del config["rope_parameters"]
        assert shape_from_config(config, Path("config.json")) == wanted
    config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
    assert shape_from_config(config, Path("config.json")) == shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_type": "llama3"}, "low_freq_factor"),
        ({"rope_type": "dynamic"}, "'dynamic'; only default, linear, yarn and llama3"),
        ({"beta_fast": 16}, "beta_fast 16"),
        ({"attention_factor": 1.0}, "attention_factor"),
        ({"factor": "much"}, "no number"),
        ({"factor": 0.5}, "rope.factor is 0.5; give at least 1"),
        ({"rope_type": "linear", "factor": 0}, "rope.factor is 0.0; give at least 1"),
    ],
)
def test_other_rotary_positions_are_refused(change: dict[str, Any], message: str) -> None:
    config = config_json(SHAPE.extended("yarn", 4), {})
    config["rope_parameters"] |= {"beta_fast": 32, "attention_factor": None}
    assert shape_from_config(config, Path("config.json")).rope.method == "yarn"
    config["rope_parameters"] |= change
    with pytest.raises(InputError, match=message):
        shape_from_config(config, Path("config.json"))
    for broken in ("yarn", [1], 4):
        with pytest.raises(InputError, match="no number"):
            shape_from_config(config | {"rope_parameters": broken}, Path("config.json"))


HUGE = 2**62
BAD = {
    "empty": b"",
    "seven bytes": b"1234567",
    "header longer than the file": raw({}, length=1000),
    "header of 2^63": raw({}, length=2**63),
    "header of 2^64 - 1": raw({}, length=2**64 - 1),
    "no JSON": raw(b"{nonsense"),
    "deep nesting": raw(b"[" * 100_000),
    "invalid UTF-8": raw(b'{"\xff": 1}'),
    "a list": raw([1, 2]),
    "duplicate key": raw(b'{"a": {}, "a": {}}'),
    "overlap": raw({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
    "gap": raw({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)),
    "data missing": raw({"a": entry(0, 8)}, bytes(4)),
    "data left": raw({"a": entry(0, 4)}, bytes(8)),
    "negative shape": raw({"a": entry(0, 4, shape=[-1, -1])}, bytes(4)),
    "overflowing shape": raw({"a": entry(0, 4, shape=[HUGE, HUGE, HUGE, HUGE])}, bytes(4)),
    "float shape": raw({"a": entry(0, 4, shape=[1.0])}, bytes(4)),
    "bool shape": raw({"a": entry(0, 4, shape=[True])}, bytes(4)),
    "NaN shape": raw(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4)),
    "unknown dtype": raw({"a": entry(0, 4, dtype="F32X")}, bytes(4)),
    "dtype is a list": raw({"a": entry(0, 4, dtype=["F32"])}, bytes(4)),
    "entry is a number": raw({"a": 3}, bytes(4)),
    "backward offsets": raw({"a": entry(4, 0, shape=[1])}, bytes(4)),
    "huge offsets": raw({"a": entry(HUGE, HUGE + 4, shape=[1])}, bytes(4)),
    "three offsets": raw(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}, bytes(4)
    ),
    "metadata of numbers": raw({"__metadata__": {"a": 1}}),
    "200,000 tensors": raw({str(n): entry(0, 0, shape=[0]) for n in range(200_000)}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(BAD[name])
    started = time.process_time()
    with pytest.raises(CorruptArtifact) as caught:
        load_weights(model(), path)
    assert time.process_time() - started < 1
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_never_run(protocol: int, tmp_path: Path) -> None:
    path, canary = tmp_path / "model.safetensors", tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (canary,)

    path.write_bytes(pickle.dumps(Payload(), protocol))
    with pytest.raises(CorruptArtifact):
        load_weights(model(), path)
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(CorruptArtifact, match="pickle"):
        load_weights(model(), path)
    assert not canary.exists()


def test_truncation_anywhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(model(), path)
    whole = path.read_bytes()
    for cut in sorted(random.Random(0).sample(range(len(whole)), 20)):
        path.write_bytes(whole[:cut])
        with pytest.raises(CorruptArtifact):
            read_tensors(path)


def test_flipped_header_bytes_raise_one_line_or_change_only_names(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(model(), path)
    whole, dice = path.read_bytes(), random.Random(1)
    length = struct.unpack("<Q", whole[:8])[0]
    lines = {1}
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[dice.randrange(8 + length)] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        made = model()
        try:
            load_weights(made, path)
        except CorruptArtifact as error:
            lines.add(len(str(error).splitlines()))
        else:  # white space or metadata: the weights are the same
            assert all(
                torch.equal(a, b)
                for a, b in zip(made.parameters(), model().parameters(), strict=True)
            )
    assert lines == {1}


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype", "nan"])
def test_weights_of_another_model_are_refused_and_change_nothing(
    change: str, tmp_path: Path
) -> None:
    tensors = {name: tensor.clone() for name, tensor in named_weights(model()).items()}
    name = "model.layers.1.mlp.up_proj.weight"
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        name = "lm_head.weight"
        tensors[name] = torch.ones(2)
    elif change == "shape":
        tensors[name] = tensors[name].t().contiguous()
    elif change == "dtype":
        tensors[name] = tensors[name].double()
    else:
        tensors[name][3, 4] = torch.nan
    write_tensors(tmp_path / "bad", tensors)
    made = model(seed=9)
    with pytest.raises(CorruptArtifact, match=name):
        load_weights(made, tmp_path / "bad")
    assert torch.equal(made.embedding, model(seed=9).embedding)


def test_a_missing_file_and_a_full_disk_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="No such file"):
        load_weights(model(), tmp_path / "absent")
    if Path("/dev/full").exists():
        (tmp_path / "full").symlink_to("/dev/full")
        with pytest.raises(NoSpace, match="No space") as caught:
            save_weights(model(), tmp_path / "full")
        assert caught.value.exit_code == 4
