"""A backend's answer as our clients are told it, and as the ledger keeps it. Knows no HTTP.

The id and the model's name become ours; what else it says goes on as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.serve.asked import Asked
from ontogeny.serve.backend import BackendFailed
from ontogeny.serve.hearing import CUT
from ontogeny.serve.relay_asked import Relayed
from ontogeny.serve.teller import Piece
from ontogeny.text.message import MOST_CALLS, ToolCall
from ontogeny.text.tokenizer import encodable

MOST_COUNTED = 1 << 32
"""Tokens of one request; more would drown whatever else is counted."""
FINISHES = ("stop", "length", "tool_calls", "function_call", "content_filter")
"""Of OpenAI's API. Another would be text of the backend's: it is told, but never logged or kept."""


class Retelling:
    """The answers to one request.

    Attributes:
        id: what our clients are told.
        prompt_tokens, sampled_tokens: as the backend counts; 0 until it says.
    """

    def __init__(self, asked: Asked, model: Relayed) -> None:
        self._asked, self._model = asked, model
        self.id = f"{'chatcmpl' if asked.chat else 'cmpl'}-{secrets.token_hex(12)}"
        self.prompt_tokens = self.sampled_tokens = 0
        self._heard = [_Heard() for _ in range(asked.units)]

    def told(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A whole answer, or an event of a stream.

        Raises:
            BackendFailed: it is none.
        """
        if "error" in value:
            error = value["error"]
            said = error.get("message") if isinstance(error, Mapping) else error
            raise BackendFailed(f"it failed on the way: {said}")
        choices = value.get("choices")
        if not isinstance(choices, list):
            raise BackendFailed("its answer has no choices")
        self._count(value.get("usage"))
        return {**value, "id": self.id, "model": self._model.name}

    def passes(self, event: dict[str, Any]) -> bool:
        """Whether our client is told this event: usage nobody asked for is ours alone."""
        if not self._asked.wanted.usage:
            event.pop("usage", None)
            return bool(event["choices"])
        return True

    def pieces(self, choices: Sequence[Any], part: str) -> Iterator[tuple[int, Piece]]:
        """What is said in choices, whole ("message") or in parts ("delta").

        Raises:
            BackendFailed: a choice is not what a choice must be.
        """
        for choice in choices:
            index = choice.get("index") if isinstance(choice, Mapping) else None
            if type(index) is not int or not 0 <= index < len(self._heard):
                raise BackendFailed("its answer has a choice that nobody asked for")
            said = choice.get(part) if self._asked.chat else {"content": choice.get("text")}
            text = self._heard[index].hear(said, choice.get("finish_reason"))
            if not self._asked.chat and self._asked.echo:
                text = self._unechoed(index, text)
            if text:
                yield index, Piece(text)

    def ends(self) -> Iterator[tuple[int, Piece]]:
        """The last piece of each answer."""
        tokens = self.sampled_tokens if len(self._heard) == 1 else 0  # it tells no more than a sum
        for index, heard in enumerate(self._heard):
            yield index, Piece(calls=heard.calls(), finish=heard.finish, tokens=tokens)

    def _unechoed(self, index: int, text: str) -> str:
        heard = self._heard[index]
        echo = self._asked.echo[index // self._asked.wanted.choices]
        taken = min(len(echo) - heard.echoed, len(text))
        heard.echoed += taken
        return text[taken:]

    def _count(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            read, sampled = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
            if type(read) is int and type(sampled) is int and _counted(read, sampled):
                self.prompt_tokens, self.sampled_tokens = read, sampled


def _counted(*tokens: int) -> bool:
    return all(0 <= each <= MOST_COUNTED for each in tokens)


class _Heard:
    def __init__(self) -> None:
        self.finish, self.echoed = CUT, 0
        self._calls: dict[int, dict[str, str]] = {}

    def hear(self, said: object, finish: object) -> str:
        """One more part; the text in it."""
        if isinstance(finish, str):  # whatever it is, it goes to the log
            self.finish = finish if finish in FINISHES else "other"
        if not isinstance(said, Mapping):
            return ""
        calls = said.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, Mapping):
                self._call(call.get("index", place), call)
        text = said.get("content")
        return encodable(text) if isinstance(text, str) else ""

    def _call(self, place: object, call: Mapping[str, Any]) -> None:
        if type(place) is not int or not 0 <= place < MOST_CALLS:
            raise BackendFailed("its answer has a call out of its place")
        known = self._calls.setdefault(place, {"id": "", "name": "", "arguments": ""})
        function = call.get("function")
        parts = {"id": call.get("id")} | (dict(function) if isinstance(function, Mapping) else {})
        for name in known:
            if isinstance(part := parts.get(name), str):
                known[name] += encodable(part)

    def calls(self) -> tuple[ToolCall, ...]:
        """Those that are calls; a model may have said what is none."""
        found = []
        for _, call in sorted(self._calls.items()):
            try:
                found.append(ToolCall(call["name"], call["arguments"] or "{}", call["id"]))
            except InputError:  # the client was told it as it came
                continue
        return tuple(found)
