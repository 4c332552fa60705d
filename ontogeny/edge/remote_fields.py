"""How a request is spelled for each kind of server, as data. Knows no HTTP.

Every rule of sampling is always sent where the server has a name for it, since servers have
defaults of their own (llama.cpp: top_k 40, min_p 0.05; vLLM: the model's generation_config). What a
server has no name for is refused, never left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_config import Kind
from ontogeny.plan.sampling import Sampling
from ontogeny.rollout.policy import Request
from ontogeny.text.grammar import Grammar

_OPENAI = {
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}
_NAMES: Mapping[Kind, Mapping[str, str]] = {
    "openai": _OPENAI,
    "other": _OPENAI,
    "ollama": _OPENAI,
    "vllm": {
        **_OPENAI,
        "top_k": "top_k",
        "min_p": "min_p",
        "repetition_penalty": "repetition_penalty",
    },
    # Its frequency and presence penalties count the prompt's tokens, too: other numbers than ours.
    "llama.cpp": {
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "min_p": "min_p",
        "repetition_penalty": "repeat_penalty",
        "seed": "seed",
    },
}
LLAMA_CPP_SEEDS = 2**32 - 1
"""llama.cpp's seeds have 32 bits, and the last of them means "any"."""
_ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
_FAR_BACK = 131_072  # it keeps so many ids; a longer context than most have
MOST_BIAS = 100.0
_OFF = Sampling()


def sampling_fields(sampling: Sampling, kind: Kind, context: int | None) -> dict[str, Any]:
    """The rules by which each token is chosen, without biases.

    Raises:
        InputError: the server has no name for one that is set.
    """
    fields: dict[str, Any] = {}
    for ours in Sampling.__slots__:
        if ours == "bias":
            continue
        value = getattr(sampling, ours)
        theirs = _NAMES[kind].get(ours)
        if theirs is not None:
            fields[theirs] = value
        elif value != getattr(_OFF, ours):
            raise cannot(kind, f"sample by {ours} as we define it", "leave it out")
    if kind == "llama.cpp":
        fields.update(samplers=_ORDER, seed=sampling.seed % LLAMA_CPP_SEEDS)
        if sampling.repetition_penalty != _OFF.repetition_penalty:
            fields["repeat_last_n"] = context or _FAR_BACK  # it looks back 64 tokens of itself
    return fields


def bias_fields(sampling: Sampling, kind: Kind) -> dict[str, Any]:
    """Biases of token ids, for a server that shares our ids.

    Raises:
        InputError: vLLM takes none beyond 100.
    """
    if not sampling.bias:
        return {}
    if kind == "llama.cpp":
        bounded = [[id_, value if value > -1e30 else False] for id_, value in sampling.bias]
        return {"logit_bias": bounded}
    if any(abs(value) > MOST_BIAS for _, value in sampling.bias):
        raise cannot(kind, "take a bias beyond 100", "give -100 to forbid a token in effect")
    return {"logit_bias": {str(id_): value for id_, value in sampling.bias}}


def grammar_fields(grammar: Grammar | None, kind: Kind, *, chat: bool) -> dict[str, Any]:
    """The form that the answer must have.

    Raises:
        InputError: the server does not know that kind of grammar, or the schema is no JSON.
    """
    if grammar is None:
        return {}
    if grammar.kind != "json_schema":
        if kind != "vllm":
            raise cannot(kind, f"keep to a grammar of kind {grammar.kind}", "give a JSON schema")
        name = "regex" if grammar.kind == "regex" else "grammar"
        return {"structured_outputs": {name: grammar.text}}
    schema = _schema(grammar.text)
    if chat:
        named = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if kind == "vllm":
        return {"structured_outputs": {"json": schema}}
    return {"json_schema": schema}


def refuse_top(request: Request) -> None:
    """Raises InputError where a server's tokens, which are not ours, are asked for."""
    if request.top_log_probs or request.sampling.bias:
        what = "top_log_probs" if request.top_log_probs else "a bias"
        raise InputError(
            f"{what} is about tokens, and a chat gives text; leave it out, or ask by ids "
            "(speaks=tokens)"
        )


def cannot(kind: Kind, what: str, remedy: str) -> InputError:
    """The line for what a kind of server does not do."""
    name = (
        "this server" if kind == "other" else {"openai": "OpenAI", "vllm": "vLLM"}.get(kind, kind)
    )
    return InputError(f"{name} cannot {what}; {remedy}")


def _schema(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError('the grammar is no JSON schema; give an object such as {"type": ...}')
    return found
