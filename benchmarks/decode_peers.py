"""What others need for the same greedy tokens: transformers' generate, and llama.cpp.

Knows no engine of ours. Both hold our weights and answer token ids with token ids. A peer that is
not installed is None, and has no column then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ontogeny.edge.gguf_write import write_gguf
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import named_weights
from ontogeny.plan.hf_config import config_json

try:
    import transformers
except ImportError:
    transformers = None
try:
    import xllamacpp
except ImportError:
    xllamacpp = None

Ids = list[list[int]]
Generate = Callable[[Ids, int], Ids]


def hugging_face(model: Transformer) -> Generate | None:
    """transformers' generate at its best settings here: sdpa, its growing cache."""
    if transformers is None:
        return None
    fields = config_json(model.shape, {})
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    theirs = theirs.to(model.embedding).eval()
    theirs.load_state_dict(named_weights(model), strict=False)
    theirs.tie_weights()
    theirs.generation_config.eos_token_id = None
    theirs.generation_config.pad_token_id = 0

    def generate(prompts: Ids, new: int) -> Ids:
        ids = torch.tensor(prompts, device=model.device)
        with torch.inference_mode():
            out = theirs.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False
            )
        return out[:, ids.shape[1] :].tolist()

    return generate


def gguf(model: Transformer, path: Path, dtype: str) -> Path:
    """`model` as a file whose every token is spelled by its number, so that texts tell ids."""
    views = named_weights(model)
    count = model.shape.vocab_size
    fields = {
        "general.name": "benchmark",
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [f"\u2581w{i}" for i in range(count)],
        "tokenizer.ggml.scores": [-float(i) for i in range(count)],
        "tokenizer.ggml.token_type": [1] * count,
        "tokenizer.ggml.add_bos_token": False,
    }
    shapes = {name: tuple(view.shape) for name, view in views.items()}
    write_gguf(path, model.shape, shapes, lambda name: views[name].numpy(), fields, dtype)
    return path


class LlamaCpp:
    """A GGUF file in llama.cpp's server, in this process, a slot for each of `rows` requests.

    Args:
        tokens: places of a slot.
        half_cache: keys and values in float16, for which its flash attention is the faster, as is
            its plain one for float32 (measured).
    """

    def __init__(
        self, path: Path, rows: int, tokens: int, threads: int, *, half_cache: bool
    ) -> None:
        options = xllamacpp.CommonParams()
        options.model.path = str(path)
        options.n_ctx, options.n_parallel = tokens * rows, rows
        options.n_batch, options.kv_unified, options.verbosity = 2048, False, -1
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
        kind, flash = xllamacpp.ggml_type, xllamacpp.llama_flash_attn_type
        cached = kind.GGML_TYPE_F16 if half_cache else kind.GGML_TYPE_F32
        options.cache_type_k = options.cache_type_v = cached
        options.flash_attn_type = (
            flash.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if half_cache
            else flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        options.cache_ram_mib, options.cache_prompt, options.warmup = 0, False, True
        self.server: Any = xllamacpp.Server(options)

    def generate(self, prompts: Ids, new: int) -> Ids:
        """Greedy continuations, one request for all prompts."""
        answer = self.server.handle_completions(
            {
                "prompt": prompts if len(prompts) > 1 else prompts[0],
                "n_predict": new,
                "temperature": 0,
                "samplers": ["temperature"],
                "ignore_eos": True,
                "cache_prompt": False,
            }
        )
        texts = {choice["index"]: choice["text"] for choice in answer["choices"]}
        return [[int(id_) for id_ in re.findall(r"w(\d+)", texts[i])] for i in sorted(texts)]

    def next_log_probs(self, prefix: list[int], most: int) -> dict[int, float]:
        """Natural log-probs of the `most` likeliest ids after `prefix`."""
        answer = self.server.handle_completions(
            {
                "prompt": prefix,
                "n_predict": 1,
                "temperature": 0,
                "n_probs": most,
                "cache_prompt": True,
                "verbose": True,
            }
        )
        (told,) = answer["__verbose"]["completion_probabilities"]
        return {each["id"]: each["logprob"] for each in told["top_logprobs"]}
