"""What a GGUF file holds comes back: form, numbers, tokenizer; what it cannot say is refused."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge.small_gguf import SHAPES, model_of, smollm2, tokenizer_fields, weights_of, write
from support.bench import small_tokenizer
from support.families import FAMILIES

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.edge.gguf_arch import channel_factors
from ontogeny.edge.gguf_fields import fields_from_shape
from ontogeny.edge.gguf_file import read_gguf
from ontogeny.edge.gguf_header import read_header
from ontogeny.edge.gguf_shape import shape_from_fields, shortest
from ontogeny.edge.gguf_write import write_gguf
from ontogeny.plan.shape import Rope, Shape

pytest.importorskip("gguf")


def read_back(shape: Shape) -> Shape:
    """The shape as which llama.cpp's words for `shape` are read."""
    if shape.family == "mistral":
        return replace(shape, family="llama", pattern="", window=0)
    if shape.rope.method == "ntk":
        return replace(shape, rope_theta=shortest(float(np.float32(shape.rope_base))), rope=Rope())
    return shape


@pytest.mark.parametrize("name", SHAPES)
def test_every_family_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    model, path = model_of(SHAPES[name]), tmp_path / "a.gguf"
    size = write(path, model)
    assert path.stat().st_size == size
    found, weights = read_gguf(path), weights_of(model)
    assert found.shape == read_back(model.shape)
    assert found.shapes == {key: value.shape for key, value in weights.items()}
    for key, value in weights.items():
        assert np.array_equal(found.load(key), value), key
    assert (found.title, found.licence, found.dtypes) == ("small", "mit", ("F32",))
    tokenizer = small_tokenizer()
    assert found.specials == {
        "bos_token_id": tokenizer.end_of_text,
        "eos_token_id": tokenizer.end_of_text,
        "pad_token_id": tokenizer.pad,
    }
    assert "tokenizer.json" in found.tokenizer


@pytest.mark.parametrize("name", ["llama2", "qwen2", "gemma3", "olmo2"])
def test_f16_and_q8_0_are_as_near_as_their_bits_allow(tmp_path: Path, name: str) -> None:
    model = model_of(SHAPES[name])
    weights = weights_of(model)
    for dtype in ("f16", "q8_0"):
        path = tmp_path / f"{dtype}.gguf"
        write(path, model, dtype)
        found = read_gguf(path)
        assert found.dtypes == (dtype.upper(),)
        for key, value in weights.items():
            got = found.load(key)
            if value.ndim == 1:
                assert np.array_equal(got, value), key
            elif dtype == "f16":
                assert np.array_equal(got, value.astype(np.float16).astype(np.float32)), key
            else:  # half a step of each block's 127, and the rounding of its scale to float16
                blocks = value.reshape(-1, 32)
                step = np.abs(blocks).max(axis=1) / 127
                error = np.abs(got.reshape(-1, 32) - blocks).max(axis=1)
                assert (error <= step * (0.5 + 127 * 2**-11) + 1e-9).all(), key


def test_rows_that_are_no_blocks_stay_half_precision(tmp_path: Path) -> None:
    model, path = model_of(replace(SHAPES["llama2"], ff=40)), tmp_path / "a.gguf"
    write(path, model, "q8_0")
    kinds = {name: each.kind.name for name, each in read_header(path).entries.items()}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"


def test_rows_of_q_and_k_stand_as_llama_cpp_turns_them(tmp_path: Path) -> None:
    """Channels 0, 1, 2.. of a head and their partners D, D+1.. become neighbours."""
    model, path = model_of(SHAPES["llama2"]), tmp_path / "a.gguf"
    write(path, model)
    header = read_header(path)
    key = "model.layers.0.self_attn.k_proj.weight"
    entry = header.entries["blk.0.attn_k.weight"]
    raw = np.frombuffer(header.data, np.float32, entry.size // 4, entry.begin)
    rows, head_dim = raw.reshape(entry.shape), model.shape.head_dim
    half = head_dim // 2
    order = [i // 2 + half * (i % 2) for i in range(head_dim)]
    assert np.array_equal(rows[:head_dim], weights_of(model)[key][order])


def test_equal_models_give_equal_bytes_and_leave_nothing_else(tmp_path: Path) -> None:
    model = model_of(SHAPES["gemma2"])
    for name in ("a", "b"):
        write(tmp_path / f"{name}.gguf", model, "q8_0")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gguf", "b.gguf"]


REFUSED: dict[str, tuple[Shape, str]] = {
    "windows of mistral": (FAMILIES["mistral, windows"], "window of 9"),
    "windows of qwen2": (FAMILIES["qwen2, windows"], "window of 5"),
    "gemma's own query scale": (replace(SHAPES["gemma2"], query_scale=20.0), "scales queries"),
    "gemma2 without caps": (replace(SHAPES["gemma2"], logit_cap=None), "without capped"),
    "gemma2 untied": (replace(SHAPES["gemma2"], tied=False), "head of its own"),
    "gemma3 with caps": (replace(SHAPES["gemma3"], attention_cap=9.0), "with capped"),
    "gemma3 without windows": (
        replace(SHAPES["gemma3"], pattern="", window=0, local_theta=None),
        "without windows",
    ),
    "windows of no period": (replace(SHAPES["olmo3"], pattern="gllg"), "no period"),
    "positions of smollm3": (replace(SHAPES["smollm3"], pattern="ngng"), "every fourth"),
    "llama3's positions elsewhere": (
        replace(SHAPES["qwen2"], rope=Rope("llama3", 8, 12)),
        "llama3",
    ),
    "olmo's narrow heads": (replace(SHAPES["olmo2"], head_dim=8), "do not make"),
    "olmo3's local base": (replace(SHAPES["olmo3"], local_theta=7.0), "another base"),
    "too many layers": (replace(SHAPES["llama2"], layers=600), "600 layers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(name: str) -> None:
    shape, reason = REFUSED[name]
    with pytest.raises(InputError, match=reason) as caught:
        fields_from_shape(shape)
    assert "--to hf" in caught.value.reason


def fields_of(name: str, **changes: Any) -> dict[str, Any]:
    shape = SHAPES[name]
    fields = {
        "general.architecture": shape.family.removesuffix("_text"),
        **fields_from_shape(shape),
    }
    for key, value in changes.items():
        fields[f"{fields['general.architecture']}.{key.replace('__', '.')}"] = value
    return {key: value for key, value in fields.items() if value is not None}


def shape_of(fields: dict[str, Any], factors: list[float] | None = None) -> Shape:
    return shape_from_fields(fields, Path("a.gguf"), vocab_size=600, tied=True, factors=factors)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no layers": (fields_of("qwen3", block_count=None), "block_count' is missing"),
    "layers as text": (fields_of("qwen3", block_count="4"), "block_count' is 4, which"),
    "NaN": (fields_of("qwen3", rope__freq_base=float("nan")), "freq_base' is nan"),
    "no heads": (fields_of("qwen3", attention__head_count=0), "0 heads"),
    "a billion layers": (fields_of("qwen3", block_count=10**9), "1000000000 layers"),
    "values of another width": (fields_of("qwen3", attention__value_length=8), "value_length"),
    "part of the channels turned": (fields_of("qwen3", rope__dimension_count=8), "dimension_count"),
    "experts": (fields_of("llama2", expert_count=8), "expert_count' is 8"),
    "an unknown field": (fields_of("llama2", brand_new=1), "brand_new' is 1"),
    "windows": (fields_of("qwen2", attention__sliding_window=8), "sliding_window' is 8"),
    "capped scores": (fields_of("qwen3", attn_logit_softcapping=5.0), "softcapping' is 5"),
    "another query scale": (fields_of("gemma2", attention__scale=0.5), "attention.scale' is 0.5"),
    "longrope": (
        fields_of("llama2", rope__scaling__type="longrope", rope__scaling__factor=4.0),
        "type' is longrope",
    ),
    "yarn with its own attention": (
        fields_of("qwen2.5, yarn", rope__scaling__attn_factor=1.2),
        "attn_factor' is 1.2",
    ),
    "another pattern": (
        fields_of("gemma3", attention__sliding_window_pattern=[True]),
        "1 kinds of layers for 4",
    ),
    "a list of heads": (fields_of("llama2", attention__head_count=[4, 4]), "head_count' is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_that_would_compute_something_else_is_named(name: str) -> None:
    fields, reason = WRONG[name]
    with pytest.raises(InputError, match=reason) as caught:
        shape_of({key: ("llama" if value == "llama2" else value) for key, value in fields.items()})
    assert str(caught.value).startswith("a.gguf:1: ")


def test_an_architecture_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(InputError, match="'mamba'; read are llama, qwen2"):
        shape_of({"general.architecture": "mamba"})


def test_gemma_3_of_62_layers_scales_queries_by_what_its_code_says() -> None:
    fields = fields_of("gemma3", block_count=62, attention__sliding_window_pattern=None)
    shape = shape_of(fields)
    assert shape.query_scale == 64 // 4 and shape.pattern == ("lllllg" * 11)[:62]
    assert fields_from_shape(shape).items() <= fields.items()


def test_llama_3s_factors_are_told_from_others() -> None:
    rope = Rope("llama3", 32.0, 8192)
    fields = fields_of("llama2")
    factors = channel_factors(rope, 5e4, 16)
    assert shape_of(fields, [float(np.float32(each)) for each in factors]).rope == rope
    assert shape_of(fields, [1.0] * 8).rope == Rope()
    for other in ([2.0] * 8, factors[:-1], [*factors[:-1], float("nan")]):
        with pytest.raises(InputError, match="rope_freqs"):
            shape_of(fields, other)


def test_an_olmo_without_a_head_of_its_own_is_told_from_one_with(tmp_path: Path) -> None:
    for name in ("olmo2", "olmo2, tied"):
        write(tmp_path / "a.gguf", model_of(SHAPES[name]))
        assert "output.weight" in read_header(tmp_path / "a.gguf").entries
        assert read_gguf(tmp_path / "a.gguf").shape.tied == (name == "olmo2, tied")


def test_a_part_of_several_and_a_strange_tensor_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write(path, model_of(SHAPES["qwen2"]), **{"split.count": 3})
    with pytest.raises(InputError, match="one part of several"):
        read_gguf(path)
    write(path, model_of(SHAPES["qwen2"]))
    path.write_bytes(path.read_bytes().replace(b"blk.0.attn_q.bias", b"blk.0.attn_q.base"))
    with pytest.raises(CorruptArtifact, match=r"'blk\.0\.attn_q\.base' belongs to no qwen2"):
        read_gguf(path)


def test_a_number_too_large_for_float16_names_its_tensor(tmp_path: Path) -> None:
    model, path = model_of(SHAPES["llama2"]), tmp_path / "a.gguf"
    weights = weights_of(model)
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = 7e4
    with pytest.raises(InputError, match=r"layers\.1\.mlp\.up_proj.*7e\+04.*--dtype f32"):
        write(path, model, "f16")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"old")
    script = f"""
import resource, signal, sys
from pathlib import Path
from edge.small_gguf import SHAPES, model_of, write
from ontogeny.base.errors import NoSpace
model = model_of(SHAPES["llama2"])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    write(Path({str(path)!r}), model)
except NoSpace as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        env={"PYTHONPATH": ".", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "File too large" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["a.gguf"] and path.read_bytes() == b"old"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000


def test_the_real_one_is_read_as_what_it_is() -> None:
    found = read_gguf(smollm2())
    assert (found.shape.family, found.shape.layers, found.shape.context) == ("llama", 30, 8192)
    assert (
        found.shape.parameters()
        == sum(int(np.prod(shape)) for shape in found.shapes.values())
        == 134_515_008
    )
    assert found.licence == "apache-2.0" and found.dtypes == ("Q4_1", "Q8_0")
    assert found.specials == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    assert "<|im_start|>" in found.tokenizer["chat_template.jinja"].decode()
    norm = found.load("model.norm.weight")
    assert norm.dtype == np.float32 and np.isfinite(norm).all()
    assert struct.pack("<f", found.shape.norm_eps) == struct.pack("<f", 1e-5)


def test_writing_needs_every_tensor_to_have_a_place(tmp_path: Path) -> None:
    weights = weights_of(model_of(SHAPES["llama2"]))
    shapes = {name: value.shape for name, value in weights.items()} | {"odd": (3,)}
    with pytest.raises(AssertionError):
        write_gguf(
            tmp_path / "a.gguf", SHAPES["llama2"], shapes, weights.__getitem__, tokenizer_fields()
        )
