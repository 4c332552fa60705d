"""llama.cpp loads what we write and computes what we compute, in every family that it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from edge.llama_cpp import LlamaCpp, greedy
from edge.small_gguf import SHAPES, model_of, write

from ontogeny.edge.gguf_file import read_gguf
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.parity

PROMPT = range(5, 25)
NEW = 12
"""Prompt and answer reach beyond every window and original context of the shapes."""
CLOSE = 1e-4


@pytest.mark.parametrize("name", SHAPES)
def test_greedy_tokens_and_their_log_probs_are_ours(tmp_path: Path, name: str) -> None:
    model, path = model_of(SHAPES[name]), tmp_path / "a.gguf"
    write(path, model)
    ours = greedy(model, PROMPT, NEW)
    said = LlamaCpp(path).greedy(PROMPT, NEW, past_ends=True)
    for place, (own, its) in enumerate(zip(ours.ids, said.ids, strict=True)):
        if own != its:  # what follows is another text
            assert ours.leads[place] < CLOSE, (place, ours.leads[place])
            return
    assert said.logprobs
    for place, logprob in said.logprobs.items():
        assert abs(float(ours.logprobs[place][ours.ids[place]]) - logprob) < CLOSE


def reread(path: Path, model: Transformer) -> Transformer:
    """The model that `path` holds."""
    found, made = read_gguf(path), model_of(model.shape)
    for name, view in named_weights(made).items():
        view.copy_(view.new_tensor(found.load(name)))
    return made


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
@pytest.mark.parametrize("name", ["smollm2", "qwen3", "gemma2", "olmo3"])
def test_what_is_stored_in_fewer_bits_is_computed_nearly_so(
    tmp_path: Path, name: str, dtype: str
) -> None:
    """llama.cpp rounds activations to the type of the weights, too, which ours does not."""
    model, path = model_of(SHAPES[name]), tmp_path / "a.gguf"
    write(path, model, dtype)
    ours = greedy(reread(path, model), PROMPT, 1)
    said = LlamaCpp(path).greedy(PROMPT, 1, past_ends=True)
    near = {"f16": 0.005, "q8_0": 0.2}[dtype]
    if said.ids != ours.ids:
        assert ours.leads[0] < near
    for logprob in said.logprobs.values():
        assert abs(float(ours.logprobs[0][said.ids[0]]) - logprob) < near
