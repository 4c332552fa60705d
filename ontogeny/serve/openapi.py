"""The OpenAPI document of what is served: every field that is taken, none that is not."""

from __future__ import annotations

from typing import Any

from ontogeny import __version__
from ontogeny.feedback.exchange import MOST_COMMENT
from ontogeny.rollout.policy import MOST_TOP
from ontogeny.serve.asked import MOST_PROMPTS
from ontogeny.serve.embedding import FORMS, MOST_DIMENSIONS
from ontogeny.serve.recording import MOST_CORRECTION, MOST_KEY
from ontogeny.serve.turns import MOST_TOOLS
from ontogeny.serve.wanted import (
    ASKERS,
    MOST_BIASES,
    MOST_CHOICES,
    MOST_NAME,
    MOST_STOP_CHARACTERS,
    MOST_STOPS,
    PERSON,
    Bounds,
)
from ontogeny.text.message import ROLES

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}


def document(served: Bounds, *, keyed: bool, rated: bool = False) -> Schema:
    """Of OpenAPI 3.1. `keyed`: a bearer key is needed everywhere but at /health.

    Args:
        rated: there is a ledger.
    """
    paths = {
        "/health": {"get": _operation("Whether the model answers.", None, {503})},
        "/metrics": {"get": _operation("Counters for Prometheus.", None, set())},
        "/openapi.json": {"get": _operation("This document.", None, set())},
        "/v1/models": {"get": _operation("The model that is served.", None, set())},
        "/v1/models/{model}": {
            "get": _operation("One model.", None, {404}),
            "parameters": [{"name": "model", "in": "path", "required": True, "schema": TEXT}],
        },
        "/v1/chat/completions": {"post": _operation("An answer to messages.", _chat(served))},
        "/v1/completions": {"post": _operation("A text continued.", _completion(served))},
    }
    paths["/v1/embeddings"] = {"post": _operation("Texts as vectors.", _embedding(served))}
    if rated:
        about = "What a user says of an answer: one of score, preferred and correction."
        paths["/v1/feedback"] = {"post": _feedback(about)}
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": f"ontogeny serve {served.name}", "version": __version__},
        "paths": paths,
    }
    if keyed:
        found["components"] = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
        found["security"] = [{"key": []}]
    return found


def _operation(summary: str, body: Schema | None, statuses: set[int] | None = None) -> Schema:
    if statuses is None:
        statuses = {400, 404, 408, 413, 429, 503}
    answers = {str(status): {"description": "Refused."} for status in sorted({401} | statuses)}
    found: Schema = {"summary": summary, "responses": {"200": {"description": "Done."}, **answers}}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _number(low: float, high: float) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high}


def _whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _listed(items: Schema, most: int, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _common(served: Bounds) -> dict[str, Schema]:
    stop = TEXT | {"minLength": 1, "maxLength": MOST_STOP_CHARACTERS}
    bias = {"type": "object", "additionalProperties": _number(-100, 100)}
    form = _object(
        ["type"],
        type={"enum": ["text", "json_object", "json_schema"]},
        json_schema=_object(
            ["schema"], name=TEXT, description=TEXT, strict=FLAG, schema={"type": "object"}
        ),
    )
    return {
        "model": {"enum": list(served.names)},
        "stream": FLAG,
        "stream_options": _object([], include_usage=FLAG),
        "n": _whole(1, MOST_CHOICES),
        "max_tokens": _whole(1, served.context),
        "max_completion_tokens": _whole(1, served.context),
        "temperature": _number(0, 2),
        "top_p": _number(1e-6, 1),
        "top_k": _whole(0, 2**31),
        "min_p": _number(0, 0.999999),
        "repetition_penalty": _number(1e-3, 1e3),
        "frequency_penalty": _number(-2, 2),
        "presence_penalty": _number(-2, 2),
        "logit_bias": bias | {"maxProperties": MOST_BIASES},
        "seed": _whole(-(2**63), 2**63 - 1),
        "stop": {"anyOf": [stop, _listed(stop, MOST_STOPS, 0)]},
        **{name: TEXT | {"maxLength": MOST_NAME} for name in ASKERS},
        "response_format": form,
        "store": FLAG,
    }


def _chat(served: Bounds) -> Schema:
    part = _object(["type", "text"], type={"const": "text"}, text=TEXT)
    call = _object(["name", "arguments"], name=TEXT, arguments=TEXT)
    calls = _object(["id", "function"], id=TEXT, type={"const": "function"}, function=call)
    message = _object(
        ["role"],
        role={"enum": [*ROLES, "developer"]},
        content={"anyOf": [TEXT, _listed(part, 256, 0), {"type": "null"}]},
        tool_calls=_listed(calls, 128),
        tool_call_id=TEXT,
    )
    function = _object(
        ["name"], name=TEXT, description=TEXT, strict=FLAG, parameters={"type": "object"}
    )
    tool = _object(["type", "function"], type={"const": "function"}, function=function)
    named = _object(
        ["type", "function"], type={"const": "function"}, function=_object(["name"], name=TEXT)
    )
    return _object(
        ["model", "messages"],
        **_common(served),
        messages=_listed(message, served.context),
        logprobs=FLAG,
        top_logprobs=_whole(0, MOST_TOP),
        tools=_listed(tool, MOST_TOOLS),
        tool_choice={"anyOf": [{"enum": ["none", "auto", "required"]}, named]},
        parallel_tool_calls=FLAG,
    )


def _feedback(about: str) -> Schema:
    name = TEXT | {"maxLength": MOST_NAME}
    body = _object(
        ["id"],
        id=name,
        score=_number(-1, 1),
        preferred=_whole(0, MOST_CHOICES - 1),
        correction=TEXT | {"maxLength": MOST_CORRECTION},
        choice=_whole(0, MOST_CHOICES - 1),
        comment=TEXT | {"maxLength": MOST_COMMENT},
        **dict.fromkeys(PERSON, name),
    )
    found = _operation(about, body, {400, 404, 408, 413, 422, 429, 503, 507})
    key: Schema = {"name": "Idempotency-Key", "in": "header", "required": False}
    key["schema"] = TEXT | {"minLength": 1, "maxLength": MOST_KEY}
    return found | {"parameters": [key]}


def _texts(served: Bounds) -> Schema:
    ids = _listed(_whole(0, served.vocab_size - 1), served.context)
    return {"anyOf": [TEXT, ids, _listed({"anyOf": [TEXT, ids]}, MOST_PROMPTS)]}


def _embedding(served: Bounds) -> Schema:
    return _object(
        ["model", "input"],
        model={"enum": list(served.names)},
        input=_texts(served),
        encoding_format={"enum": list(FORMS)},
        dimensions=_whole(1, MOST_DIMENSIONS),
        **{name: TEXT | {"maxLength": MOST_NAME} for name in ASKERS},
    )


def _completion(served: Bounds) -> Schema:
    most = dict.fromkeys(("max_tokens", "max_completion_tokens"), _whole(0, served.context))
    return _object(
        ["model", "prompt"],
        **(_common(served) | most),
        prompt=_texts(served),
        logprobs=_whole(0, MOST_TOP),
        echo=FLAG,
    )
