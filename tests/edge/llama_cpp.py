"""llama.cpp in this process, through xllamacpp: a file in, greedy tokens and log-probs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ontogeny.model.transformer import Transformer

CONTEXT = 256


@dataclass(frozen=True)
class Said:
    """What llama.cpp sampled: ids, and log-probs where its text was whole characters."""

    ids: list[int]
    logprobs: dict[int, float]


class LlamaCpp:
    """A GGUF file, loaded. Keys, values and sums are float32: what differs is the weights."""

    def __init__(self, path: Path, context: int = CONTEXT) -> None:
        library = pytest.importorskip("xllamacpp")
        options = library.CommonParams()
        options.model.path = str(path)
        options.n_ctx, options.n_parallel = context, 1
        options.warmup, options.verbosity = False, -1
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
        options.cache_type_k = options.cache_type_v = library.ggml_type.GGML_TYPE_F32
        options.flash_attn_type = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server: Any = library.Server(options)

    def greedy(self, prompt: Sequence[int], count: int, *, past_ends: bool = False) -> Said:
        """The likeliest tokens after `prompt`; an end of text ends them, or is never taken."""
        answer = self.server.handle_completions(
            {
                "prompt": list(map(int, prompt)),
                "n_predict": count,
                "temperature": 0,
                "n_probs": 1,
                "return_tokens": True,
                "verbose": True,
                "cache_prompt": False,
                "ignore_eos": past_ends,
            }
        )
        ids = list(map(int, answer["__verbose"]["tokens"]))
        listed = answer["__verbose"].get("completion_probabilities", [])
        logprobs, place = {}, 0
        for each in listed:  # bytes that are no whole character are left out of this list
            while ids[place] != each["id"]:
                place += 1
            logprobs[place] = float(each["logprob"])
            place += 1
        return Said(ids, logprobs)

    def chat(self, prompt: str, count: int) -> str:
        """The answer through the file's own chat template."""
        answer = self.server.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": count,
            }
        )
        return str(answer["choices"][0]["message"]["content"])


@dataclass(frozen=True)
class Ours:
    """What our model makes likeliest, the lead over the next likeliest, and log-probs of all."""

    ids: list[int]
    leads: list[float]
    logprobs: list[torch.Tensor]


def greedy(model: Transformer, prompt: Sequence[int], count: int, ends: Sequence[int] = ()) -> Ours:
    """Our model's likeliest tokens after `prompt`, up to and with one of `ends`."""
    state = model.new_state(1, len(prompt) + count)
    part, found = torch.tensor([list(map(int, prompt))]), Ours([], [], [])
    while len(found.ids) < count and not set(found.ids[-1:]) & set(ends):
        with torch.no_grad():
            logits = model.extend(part, [part.shape[1]], [0], state)[0]
        two = logits.topk(2)
        found.ids.append(int(two.indices[0]))
        found.leads.append(float(two.values[0] - two.values[1]))
        found.logprobs.append(logits.log_softmax(-1))
        part = torch.tensor([[found.ids[-1]]])
    return found
