"""A stranger's directory: its numbers exactly, its dead weight left out, its lies named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edge.small_directory import INDEX, SHAPE, change_json, directory, save

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.edge.hf_directory import read_directory
from ontogeny.edge.open_weights import OpenWeights
from ontogeny.edge.source import directory as at
from ontogeny.plan.shape import Rope

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def read(path: Path) -> OpenWeights:
    return read_directory(at(path))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_number_is_the_one_that_was_saved(
    tmp_path: Path, dtype: torch.dtype, shards: int
) -> None:
    saved = directory(tmp_path, dtype=dtype, shards=shards)
    found = read(tmp_path)
    assert found.shape == SHAPE
    assert found.shapes == {name: tuple(tensor.shape) for name, tensor in saved.items()}
    for name, tensor in saved.items():
        assert np.array_equal(found.load(name), tensor.float().numpy()), name
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    assert found.dtypes == (names[dtype],) and found.notes == ()


def test_every_bfloat16_becomes_its_own_float32(tmp_path: Path) -> None:
    directory(tmp_path)
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    every = bits.view(torch.bfloat16).reshape(256, 256)
    save(tmp_path, {"x": every})
    got = read(tmp_path).load("x")
    assert np.array_equal(got.view(np.uint32), every.float().numpy().view(np.uint32))


def test_a_head_equal_to_the_embedding_is_left_out_and_another_refused(tmp_path: Path) -> None:
    tensors = directory(tmp_path)
    save(tmp_path, tensors | {HEAD: tensors[EMBEDDING].clone()})
    found = read(tmp_path)
    assert HEAD not in found.shapes and found.notes == ("a head equal to the embedding",)
    other = tensors[EMBEDDING].clone()
    other[5, 3] += 1
    for head in (other, tensors[EMBEDDING].half(), tensors[EMBEDDING][:-1].clone()):
        save(tmp_path, tensors | {HEAD: head})
        with pytest.raises(CorruptArtifact, match=r"'lm_head\.weight' is not the embedding"):
            read(tmp_path)


def test_rotary_frequencies_of_old_files_are_compared_and_left_out(tmp_path: Path) -> None:
    tensors = directory(tmp_path)
    wanted = SHAPE.rope_theta ** -(torch.arange(0, 8, 2) / 8)
    name = "model.layers.{}.self_attn.rotary_emb.inv_freq"
    for dtype in (torch.float32, torch.bfloat16):
        save(tmp_path, tensors | {name.format(i): wanted.to(dtype) for i in range(2)})
        found = read(tmp_path)
        assert found.shapes.keys() == tensors.keys()
        assert found.notes == ("rotary frequencies as computed",)
    for other in (wanted * 2, wanted[:-1].clone(), wanted.int()):
        save(tmp_path, tensors | {name.format(1): other})
        with pytest.raises(CorruptArtifact, match=r"layers\.1.*other rotary frequencies"):
            read(tmp_path)
    save(tmp_path, tensors | {name.format(1): wanted})
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    change_json(tmp_path / "config.json", rope_parameters=scaled, rope_scaling=None)
    with pytest.raises(InputError, match="not for linear; remove these tensors"):
        read(tmp_path)


def test_tensors_in_other_shards_than_listed_are_named(tmp_path: Path) -> None:
    directory(tmp_path, shards=2)
    one, two = (tmp_path / f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes)
    two.write_bytes(one_bytes)
    with pytest.raises(CorruptArtifact, match=r"is in this shard.*says model-00002") as caught:
        read(tmp_path)
    assert caught.value.file == str(one)
    one.write_bytes(one_bytes)
    two.write_bytes(two_bytes)
    table = json.loads((tmp_path / INDEX).read_text())
    table["weight_map"]["absent"] = two.name
    (tmp_path / INDEX).write_text(json.dumps(table))
    with pytest.raises(CorruptArtifact, match="'absent' is missing") as caught:
        read(tmp_path)
    assert caught.value.file == str(two)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, torch.int64])
def test_a_type_that_is_no_float_of_32_bits_or_fewer_is_named(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    tensors = directory(tmp_path)
    save(tmp_path, tensors | {"model.norm.weight": torch.ones(32).to(dtype)})
    with pytest.raises(InputError, match=r"'model\.norm\.weight' is .*; read are F32"):
        read(tmp_path)


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "quantised": ({"quantization_config": {"bits": 4}}, "quantization_config is set"),
    "another family": (
        {"architectures": ["MambaForCausalLM"], "model_type": "mamba"},
        "read are LlamaForCausalLM, MistralForCausalLM",
    ),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers"),
    "layers without end": ({"num_hidden_layers": 10**12}, "num_hidden_layers"),
    "layers in words": ({"num_hidden_layers": "two"}, "no number"),
    "biases": ({"attention_bias": True}, "attention_bias is True"),
    "positions of another kind": (
        {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
        "longrope",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_is_not_computed_here_is_named(tmp_path: Path, name: str) -> None:
    changes, reason = CONFIGS[name]
    directory(tmp_path)
    change_json(tmp_path / "config.json", **changes)
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}:1: ")


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 10**5])
def test_a_config_that_is_no_json_is_one_line(tmp_path: Path, text: str) -> None:
    directory(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CorruptArtifact) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}:")


def test_a_pickle_called_safetensors_is_refused_and_never_loaded(tmp_path: Path) -> None:
    directory(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04\x95" + bytes(100))
    with pytest.raises(CorruptArtifact, match="pickles are never loaded"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("config", "generation", "wanted"),
    [
        (2, None, 2),
        (2, 2, 2),
        (2, [2, 3], [2, 3]),
        ([2, 3], [3, 4], [2, 3, 4]),
        ([2], None, [2]),
        (None, 5, 5),
        (None, None, None),
        ("2", -1, None),
        (True, 2.0, None),
    ],
)
def test_ends_are_those_of_both_configurations(
    tmp_path: Path, config: Any, generation: Any, wanted: Any
) -> None:
    directory(tmp_path)
    change_json(tmp_path / "config.json", eos_token_id=config, bos_token_id=None)
    (tmp_path / "generation_config.json").write_text(
        json.dumps({"eos_token_id": generation, "bos_token_id": 7})
    )
    assert read(tmp_path).specials == {
        "bos_token_id": None,
        "pad_token_id": 1,
        "eos_token_id": wanted,
    }


def test_what_would_run_code_in_a_loader_is_left_out(tmp_path: Path) -> None:
    directory(tmp_path)
    for name in ("config.json", "tokenizer_config.json"):
        change_json(tmp_path / name, auto_map={"AutoModel": "modeling_own.Own"})
    found = read(tmp_path)
    assert found.config is not None and "auto_map" not in found.config
    assert b"auto_map" not in found.tokenizer["tokenizer_config.json"]
    assert [note for note in found.notes if "auto_map" in note] == [
        "auto_map of config.json, which would run or fetch code",
        "auto_map of tokenizer_config.json, which would run or fetch code",
    ]


@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code", "base_model_name_or_path"])
def test_code_and_other_repositories_are_left_out_however_deep(tmp_path: Path, key: str) -> None:
    directory(tmp_path)
    change_json(tmp_path / "config.json", parts=[{"inner": {key: "someone/else"}}], **{key: True})
    found = read(tmp_path)
    assert found.config is not None and found.config["parts"] == [{"inner": {}}]
    assert "someone" not in json.dumps(dict(found.config)) and key not in found.config
    assert f"{key} of config.json, which would run or fetch code" in found.notes


def test_a_chat_template_is_found_in_its_file_and_in_the_configuration(tmp_path: Path) -> None:
    directory(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ 1 }}")
    assert read(tmp_path).tokenizer["chat_template.jinja"] == b"{{ 1 }}"
    (tmp_path / "chat_template.jinja").unlink()
    assert "chat_template.jinja" not in read(tmp_path).tokenizer
    change_json(tmp_path / "tokenizer_config.json", chat_template="{{ 2 }}")
    assert read(tmp_path).tokenizer["chat_template.jinja"] == b"{{ 2 }}"
    several = [{"name": "rag", "template": "x"}, {"name": "default", "template": "{{ 3 }}"}]
    change_json(tmp_path / "tokenizer_config.json", chat_template=several)
    assert read(tmp_path).tokenizer["chat_template.jinja"] == b"{{ 3 }}"


def test_without_a_fast_tokenizer_the_remedy_is_told(tmp_path: Path) -> None:
    directory(tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / "tokenizer.model")
    with pytest.raises(InputError, match=r"no tokenizer\.json.*save_pretrained"):
        read(tmp_path)


def test_an_untied_model_keeps_its_head(tmp_path: Path) -> None:
    shape = replace(SHAPE, tied=False, rope=Rope("llama3", 8, 12), context=96)
    saved = directory(tmp_path, shape)
    found = read(tmp_path)
    assert found.shape == shape and HEAD in found.shapes
    assert np.array_equal(found.load(HEAD), saved[HEAD].numpy())
