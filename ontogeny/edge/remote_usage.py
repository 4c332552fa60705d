"""What a server says a request has cost. Knows no policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ontogeny.edge.remote_spending import Usage

_MOST = 2**53  # a float holds each smaller count, and dollars are floats


def usage_of(event: Mapping[str, Any]) -> Usage | None:
    """The `usage` of OpenAI's API, None where there is none that can be read."""
    found = event.get("usage")
    if not isinstance(found, dict):
        return None
    details = found.get("prompt_tokens_details")
    cached = count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    prompt, completion = count(found.get("prompt_tokens")), count(found.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    return Usage(prompt, completion, min(cached or 0, prompt))


def native_usage(event: Mapping[str, Any]) -> Usage | None:
    """What llama.cpp's own /completion says."""
    prompt, completion = (
        count(event.get("tokens_evaluated")),
        count(event.get("tokens_predicted")),
    )
    if prompt is None or completion is None:
        return None
    timings = event.get("timings")
    cached = count(timings.get("cache_n")) if isinstance(timings, dict) else 0
    return Usage(prompt, completion, min(cached or 0, prompt))


def count(value: Any) -> int | None:
    """A number of tokens, None where `value` is none that can be believed."""
    return value if type(value) is int and 0 <= value < _MOST else None
