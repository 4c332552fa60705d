"""`ontogeny export` of imported models: hf, gguf and lora, each whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from edge.llama_cpp import LlamaCpp, greedy
from edge.small_directory import SHAPE, directory
from edge.small_gguf import SHAPES
from support.bench import small_tokenizer

from ontogeny import bridge
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.cli.app import run_app
from ontogeny.edge.gguf_file import read_gguf
from ontogeny.edge.gguf_header import read_header
from ontogeny.model.adapted import attach
from ontogeny.model.adapter_file import write_adapter
from ontogeny.model.weights import named_weights
from ontogeny.objectives.batch import Batch
from ontogeny.plan.adapter import LoRA
from ontogeny.release.check import check_bundle
from ontogeny.text.message import Conversation, Message
from ontogeny.text.template import render

pytest.importorskip("gguf")
ALL = {name: shape for name, shape in SHAPES.items() if "," not in name}


def run(root: Path, *arguments: str) -> None:
    run_app([*arguments, "--store", str(root / "life")])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a small model of every family, and one with an adapter."""
    root = tmp_path_factory.mktemp("formats")
    for name, shape in ALL.items():
        directory(root / name, shape)
        (root / name / "README.md").write_text("---\nlicense: mit\n---\n")
        run(root, "import", str(root / name))
    model, _ = bridge.load_model(Store.open(root / "life").resolve("qwen3"))
    attach(model, LoRA(rank=2), seed=1)
    write_adapter(model, root / "adapter")
    run(root, "import", str(root / "adapter"), "--base", "qwen3", "--name", "tuned")
    return root


@pytest.mark.parametrize("name", ALL)
def test_every_family_goes_out_as_gguf_and_comes_back(
    root: Path, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.gguf"
    run(root, "export", name, "--to", "gguf", "--dtype", "f32", "--out", str(path))
    found = read_gguf(path)
    assert (found.title, found.licence, found.dtypes) == (name, "mit", ("F32",))
    weights = named_weights(bridge.load_model(Store.open(root / "life").resolve(name))[0])
    assert found.shapes.keys() == weights.keys()
    for key, value in weights.items():
        near = 1e-6 if ALL[name].form.centred and key.endswith("norm.weight") else 0.0
        assert float((torch.from_numpy(found.load(key).copy()) - value).abs().max()) <= near, key


@pytest.mark.parametrize("name", ALL)
def test_every_family_goes_out_as_a_bundle_that_verifies(
    root: Path, name: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(root, "export", name, "--to", "hf", "--out", str(out))
    assert [check.name for check in check_bundle(out, Store.open(root / "life"))] == [
        *("files", "load", "evidence", "materials", "card", "store")
    ]
    card = (out / "README.md").read_text()
    assert "trained elsewhere" in card and "these records do not say" in card
    assert "| mit |" in (out / "LICENSES.md").read_text()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["smollm2", "gemma3", "olmo3"])
def test_transformers_loads_the_bundle_and_computes_the_same(
    root: Path, name: str, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "out"
    run(root, "export", name, "--to", "hf", "--out", str(out))
    tokens = torch.randint(600, (2, 24), generator=torch.Generator().manual_seed(0))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out)
    ours, _ = bridge.load_model(Store.open(root / "life").resolve(name))
    with torch.no_grad():
        expected = theirs(tokens).logits
    got = ours.logits(Batch(tokens, tokens, torch.ones(tokens.shape)))
    assert float((got - expected).abs().max()) < 1e-4
    text = "the state of the union"
    ids = transformers.AutoTokenizer.from_pretrained(out)(text)["input_ids"]
    assert ids == small_tokenizer().encode(text)


def test_an_imported_model_without_a_chat_template_is_a_bundle_too(tmp_path: Path) -> None:
    directory(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    (tmp_path / "base" / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    run(tmp_path, "import", str(tmp_path / "base"))
    run(tmp_path, "export", "base", "--to", "hf", "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out" / "chat_template.jinja").exists()
    assert (
        "nothing in its files says that it learnt to answer"
        in (tmp_path / "out" / "README.md").read_text()
    )
    assert len(list(check_bundle(tmp_path / "out"))) == 5
    run(tmp_path, "export", "base", "--to", "gguf", "--out", str(tmp_path / "base.gguf"))
    assert "tokenizer.chat_template" not in read_header(tmp_path / "base.gguf").fields


def test_dtypes_are_what_was_asked_for(root: Path, tmp_path: Path) -> None:
    sizes = {}
    for dtype in ("f32", "f16", "q8_0"):
        path = tmp_path / f"{dtype}.gguf"
        run(root, "export", "llama2", "--to", "gguf", "--dtype", dtype, "--out", str(path))
        kinds = {e.kind.name for e in read_header(path).entries.values() if len(e.shape) > 1}
        assert kinds == {dtype.upper()}
        sizes[dtype] = path.stat().st_size
    assert sizes["f32"] > sizes["f16"] > sizes["q8_0"]
    run(root, "export", "llama2", "--to", "gguf", "--out", str(tmp_path / "without.gguf"))
    assert (tmp_path / "without.gguf").read_bytes() == (tmp_path / "f16.gguf").read_bytes()


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_an_adapter_goes_out_as_peft_loads_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    run(root, "export", "qwen3", "--to", "hf")
    run(root, "export", "tuned", "--to", "lora")
    config = json.loads(Path("tuned-lora/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "qwen3-hf"
    assert (
        'AutoModelForCausalLM.from_pretrained("qwen3-hf")'
        in Path("tuned-lora/README.md").read_text()
    )
    base = transformers.AutoModelForCausalLM.from_pretrained("qwen3-hf")
    theirs: Any = peft.PeftModel.from_pretrained(base, "tuned-lora").merge_and_unload()
    ours = named_weights(bridge.load_model(Store.open(root / "life").resolve("tuned"))[0])
    for name, value in theirs.state_dict().items():
        if name in ours:
            assert float((ours[name] - value).abs().max()) < 1e-5, name


def test_what_a_format_does_not_read_or_cannot_say_is_one_line(root: Path, tmp_path: Path) -> None:
    used = tmp_path / "used.gguf"
    used.write_bytes(b"mine")
    for arguments, reason in (
        (("qwen3", "--to", "onnx"), "'onnx' is not known; give hf, gguf, lora"),
        (("qwen3", "--to", "hf", "--dtype", "f16"), "--dtype is for gguf"),
        (("qwen3", "--to", "gguf", "--dtype", "q4_k"), "give f32, f16, q8_0"),
        (("qwen3", "--to", "lora", "--license", "mit"), "an adapter has none"),
        (("qwen3", "--to", "gguf", "--about", "x.md"), "--about is for the bundle of hf"),
        (("qwen3", "--to", "lora"), "'qwen3' was not trained with an adapter"),
        (("qwen3", "--to", "gguf", "--out", str(used)), "is already there"),
    ):
        with pytest.raises(InputError, match=reason):
            run(root, "export", *arguments)
    assert used.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["used.gguf"]


def test_a_window_that_llama_cpp_has_not_is_refused_and_goes_out_as_hf(tmp_path: Path) -> None:
    directory(tmp_path / "w", replace(SHAPE, family="mistral", pattern="ll", window=9))
    run(tmp_path, "import", str(tmp_path / "w"))
    with pytest.raises(InputError, match=r"a window of 9 tokens.*give --to hf"):
        run(tmp_path, "export", "w", "--to", "gguf", "--out", str(tmp_path / "w.gguf"))
    assert not (tmp_path / "w.gguf").exists()
    run(tmp_path, "export", "w", "--to", "hf", "--out", str(tmp_path / "out"))


def test_the_licence_given_is_the_one_written(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    run(root, "export", "qwen2", "--to", "gguf", "--out", str(path), "--license", "cc-by-4.0")
    assert read_header(path).fields["general.license"] == "cc-by-4.0"


@pytest.mark.parity
def test_llama_cpp_writes_a_conversation_as_our_template_does(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "a.gguf"
    run(root, "export", "smollm2", "--to", "gguf", "--dtype", "f32", "--out", str(path))
    model, tokenizer = bridge.load_model(Store.open(root / "life").resolve("smollm2"))
    asked = Conversation((Message("user", "What is 7 plus 5?"),))
    prompt = list(map(int, render(asked, tokenizer, generation_prompt=True).ids))
    answer = LlamaCpp(path).server.handle_chat_completions(
        {
            "messages": [{"role": "user", "content": "What is 7 plus 5?"}],
            "temperature": 0,
            "max_tokens": 6,
            "return_tokens": True,
            "verbose": True,
            "ignore_eos": True,
        }
    )
    assert answer["usage"]["prompt_tokens"] == len(prompt)
    assert answer["__verbose"]["tokens"] == greedy(model, prompt, 6).ids
