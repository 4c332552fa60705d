"""Open weights become a model of ours: same numbers, same words, one id for equal content."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edge.small_directory import SHAPE, change_json, directory, save
from edge.small_gguf import SHAPES, model_of, write
from support.bench import Bench, small_tokenizer

from ontogeny import bridge
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json
from ontogeny.model.adapted import attach, merge
from ontogeny.model.adapter_file import write_adapter
from ontogeny.model.weights import named_weights
from ontogeny.objectives.batch import Batch
from ontogeny.plan.adapter import LoRA
from ontogeny.run.request import request
from ontogeny.stages.import_weights import ImportAdapter, ImportWeights


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def logits(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    return model.logits(Batch(tokens, tokens, torch.ones(tokens.shape)))


TOKENS = torch.randint(600, (2, 24), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_directory_becomes_a_model_with_its_own_numbers(bench: Bench, dtype: torch.dtype) -> None:
    tensors = directory(bench.root / "m", dtype=dtype, shards=2)
    model, made = bench.play(ImportWeights(str(bench.root / "m")))
    loaded, tokenizer = bridge.load_model(model)
    assert loaded.shape == SHAPE
    for name, view in named_weights(loaded).items():
        assert torch.equal(view, tensors[name].float()), name
    assert tokenizer.specials == small_tokenizer().specials
    assert made.metrics == {
        "family": "llama",
        "parameters": SHAPE.parameters(),
        "context": 40,
        "vocabulary": 600,
        "types": {torch.float32: "F32", torch.bfloat16: "BF16"}[dtype],
        "licence": "not stated",
    }
    how = {torch.float32: "float32 as it came", torch.bfloat16: "float32 from BF16, exactly"}
    assert how[dtype] in made.summary[0] and "a chat template" in made.summary[1]


@pytest.mark.parametrize("name", ["smollm2", "gemma3", "olmo3", "qwen2"])
def test_a_gguf_file_becomes_the_model_that_was_written(bench: Bench, name: str) -> None:
    pytest.importorskip("gguf")
    written = model_of(SHAPES[name])
    write(bench.root / "a.gguf", written)
    model, made = bench.play(ImportWeights(f"gguf:{bench.root / 'a.gguf'}"))
    loaded, tokenizer = bridge.load_model(model)
    assert torch.equal(logits(loaded, TOKENS), logits(written, TOKENS))
    text = "It's 3.14 <|end|> caf\u00e9\n"
    assert tokenizer.encode(text) == small_tokenizer().encode(text)
    assert made.metrics["licence"] == "mit" and made.summary[0].startswith("small: ")


def identity(stage: ImportWeights) -> str:
    return request(stage, (), name="x", seed=0, settings=[]).id


def test_the_id_follows_from_content_alone(bench: Bench) -> None:
    pytest.importorskip("gguf")
    for place in ("a", "b"):
        directory(bench.root / place)
        write(bench.root / place / "own.gguf", model_of(SHAPES["qwen3"]))
    for form in ("{}", "{}/own.gguf", "gguf:{}/own.gguf"):
        one, other = (
            identity(ImportWeights(form.format(bench.root / place))) for place in ("a", "b")
        )
        assert one == other
    before = identity(ImportWeights(str(bench.root / "a")))
    assert before != identity(ImportWeights(str(bench.root / "a" / "own.gguf")))
    change_json(bench.root / "a" / "config.json", rms_norm_eps=2e-5)
    assert identity(ImportWeights(str(bench.root / "a"))) != before


def test_equal_weights_give_equal_payloads_and_summaries(bench: Bench) -> None:
    directory(bench.root / "a")
    directory(bench.root / "elsewhere" / "b")
    one, told = bench.play(ImportWeights(str(bench.root / "a")))
    other, again = bench.play(ImportWeights(str(bench.root / "elsewhere" / "b")))
    assert one.record.files == other.record.files
    assert (told.metrics, told.summary) == (again.metrics, again.summary)


def test_missing_extra_misshaped_and_broken_tensors_are_named(bench: Bench) -> None:
    place = bench.root / "m"
    tensors = directory(place)
    name = "model.layers.1.mlp.up_proj.weight"
    nan, inf = tensors[name].clone(), tensors[name].clone()
    nan[3, 3], inf[0, 0] = float("nan"), float("-inf")
    cases: list[tuple[dict[str, torch.Tensor], str]] = [
        ({k: v for k, v in tensors.items() if k != name}, f"{name}' is missing"),
        (tensors | {"model.extra": nan}, r"'model\.extra' does not belong"),
        (tensors | {name: tensors[name][:-1].clone()}, r"\[47, 32\], the config says \[48, 32\]"),
        (tensors | {name: nan}, f"{name}' holds NaN or infinity"),
        (tensors | {name: inf.bfloat16()}, f"{name}' holds NaN or infinity"),
    ]
    for changed, reason in cases:
        save(place, changed)
        with pytest.raises(CorruptArtifact, match=reason):
            bench.play(ImportWeights(str(place)))


def test_a_config_that_claims_more_than_the_file_holds_costs_no_memory(bench: Bench) -> None:
    place = bench.root / "m"
    directory(place)
    change_json(place / "config.json", hidden_size=1 << 22, intermediate_size=1 << 24)
    with pytest.raises(CorruptArtifact, match="the config says"):
        bench.play(ImportWeights(str(place)))


def test_more_tokens_than_rows_are_refused_and_fewer_are_not(bench: Bench) -> None:
    place = bench.root / "m"
    directory(place, replace(SHAPE, vocab_size=599))
    with pytest.raises(CorruptArtifact, match="600 tokens, the embedding 599 rows"):
        bench.play(ImportWeights(str(place)))
    directory(bench.root / "wide", replace(SHAPE, vocab_size=640))
    model, _ = bench.play(ImportWeights(str(bench.root / "wide")))
    assert bridge.shape_of(model).vocab_size == 640


def test_a_damaged_tokenizer_names_the_strangers_file(bench: Bench) -> None:
    place = bench.root / "m"
    directory(place)
    change_json(place / "tokenizer.json", model={"type": "BPE"})
    with pytest.raises((InputError, CorruptArtifact)) as caught:
        bench.play(ImportWeights(str(place)))
    assert caught.value.file == str(place / "tokenizer.json")


@pytest.mark.parametrize("stage", [ImportWeights, ImportAdapter])
def test_an_import_of_nothing_says_what_to_give(stage: Any) -> None:
    with pytest.raises(InputError, match="source is empty"):
        stage()


def test_disk_is_asked_for_as_float32(bench: Bench) -> None:
    directory(bench.root / "m", dtype=torch.bfloat16)
    assert ImportWeights(str(bench.root / "m")).disk_bytes() == 4 * SHAPE.parameters()


def test_an_adapter_needs_both_its_files_and_their_content_is_identity(bench: Bench) -> None:
    place = bench.root / "adapter"
    place.mkdir()
    (place / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"it has no adapter_model\.safetensors"):
        ImportAdapter(str(place)).identity()
    (place / "adapter_model.safetensors").write_bytes(b"a")
    before = ImportAdapter(str(place)).identity()
    place.rename(bench.root / "moved")
    assert ImportAdapter(str(bench.root / "moved")).identity() == before
    (bench.root / "moved" / "adapter_model.safetensors").write_bytes(b"b")
    assert ImportAdapter(str(bench.root / "moved")).identity() != before


def test_an_adapter_that_a_stage_of_ours_wrote_is_merged_as_ours_was(bench: Bench) -> None:
    directory(bench.root / "m")
    base, _ = bench.play(ImportWeights(str(bench.root / "m")))
    model, _ = bridge.load_model(base)
    attach(model, LoRA(rank=2, alpha=4.0), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adapters" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(len(name)))
    write_adapter(model, bench.root / "adapter")
    merged, made = bench.play(ImportAdapter(str(bench.root / "adapter")), base)
    merge(model)
    got = logits(bridge.load_model(merged)[0], TOKENS)
    assert float((got - logits(model, TOKENS)).abs().max()) < 1e-4
    assert float((got - logits(bridge.load_model(base)[0], TOKENS)).abs().max()) > 1e-2
    assert made.metrics["rank"] == 2 and "adapter/adapter_config.json" in merged.record.files


@pytest.mark.parity
@pytest.mark.parametrize("name", ["Llama", "Qwen3", "Gemma2"])
def test_what_transformers_saved_in_bfloat16_shards_computes_the_same_here(
    bench: Bench, name: str
) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}ForCausalLM")(config).bfloat16()
    place = bench.root / "theirs"
    theirs.save_pretrained(place, max_shard_size="30KB")
    small_tokenizer().save(place)
    assert len(list(place.glob("*.safetensors"))) > 1
    model, made = bench.play(ImportWeights(str(place)))
    wide = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    with torch.no_grad():
        expected = wide(TOKENS).logits
    assert float((logits(bridge.load_model(model)[0], TOKENS) - expected).abs().max()) < 1e-4
    assert made.metrics["types"] == "BF16"
    assert np.isclose(made.metrics["parameters"], sum(p.numel() for p in theirs.parameters()))
    again = transformers.AutoModelForCausalLM.from_pretrained(model.path)
    with torch.no_grad():
        assert torch.equal(again(TOKENS).logits, expected)


def test_the_ends_of_a_model_that_answers_are_a_list(bench: Bench) -> None:
    place = bench.root / "m"
    directory(place)
    tokenizer = small_tokenizer()
    for ends, wanted in (
        (tokenizer.end_of_turn, [tokenizer.end_of_turn]),
        (tokenizer.end_of_text, tokenizer.end_of_text),
        ([7, tokenizer.end_of_text], tokenizer.end_of_text),
        ([tokenizer.end_of_text, tokenizer.end_of_turn], None),
    ):
        change_json(place / "config.json", eos_token_id=ends)
        model, _ = bench.play(ImportWeights(str(place)))
        written = read_json(model.file("config.json"))["eos_token_id"]
        assert written == (ends if wanted is None else wanted)
        assert bridge.chats(model) == isinstance(written, list)
    assert json.loads(model.file("config.json").read_text())["architectures"] == [
        "LlamaForCausalLM"
    ]
