"""Answers in the shapes of OpenAI's API, whole or in events. Knows no HTTP and no model."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ontogeny.serve.asked import Asked
from ontogeny.serve.teller import Piece, Scored
from ontogeny.serve.wanted import Served
from ontogeny.text.message import ToolCall
from ontogeny.text.tokenizer import Tokenizer

LEAST_LOG_PROB = -9999.0
"""What OpenAI tells where there is no number."""
DONE = b"data: [DONE]\n\n"


def event(value: Mapping[str, Any]) -> bytes:
    """One event of a stream (server-sent events of HTML's standard, section 9.2)."""
    return b"data: " + encoded(value) + b"\n\n"


def encoded(value: Any) -> bytes:
    """JSON in ASCII, so that no text ends a line."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def encoded_apart(value: Mapping[str, Any], rows: str) -> bytes:
    """What `encoded` makes of it, the list under `rows` last and one of its entries at a time.

    For a thread: one call of the library's encoder keeps all other threads waiting to its end.
    """
    rest = encoded({name: each for name, each in value.items() if name != rows})
    told = b",".join(map(encoded, value[rows]))
    return rest[:-1] + (b"," if len(value) > 1 else b"") + encoded(rows) + b":[" + told + b"]}"


class Shapes:
    """The answers to one request.

    Attributes:
        id: of the response, and of the exchange in the ledger.
    """

    def __init__(self, asked: Asked, served: Served) -> None:
        self._asked, self._served = asked, served
        self._kind = "chat.completion" if asked.chat else "text_completion"
        self.id = f"{'chatcmpl' if asked.chat else 'cmpl'}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._begun: set[int] = set()

    def whole(self, answers: Sequence[Sequence[Piece]]) -> dict[str, Any]:
        """All answers, each given as its pieces in order."""
        choices = []
        for index, pieces in enumerate(answers):
            text = self._echo(index) + "".join(piece.text for piece in pieces)
            scored = self._scored(index, pieces)
            calls = [call for piece in pieces for call in piece.calls]
            choice: dict[str, Any] = {"index": index, "finish_reason": pieces[-1].finish}
            choice["logprobs"] = self._log_probs(scored, True)
            if self._asked.chat:
                message: dict[str, Any] = {"role": "assistant", "refusal": None}
                message["content"] = None if calls and not text else text
                if calls:
                    message["tool_calls"] = [_call(call) for call in calls]
                choice["message"] = message
            else:
                choice["text"] = text
            choices.append(choice)
        used = self.usage([pieces[-1].tokens for pieces in answers])
        return self._outer(self._kind, choices) | {"usage": used}

    def encoded(self, answers: Sequence[Sequence[Piece]]) -> bytes:
        """`whole` as JSON."""
        return encoded_apart(self.whole(answers), "choices")

    def chunks(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """Events of one piece of one answer."""
        first = index not in self._begun
        self._begun.add(index)
        if not self._asked.chat:
            text = (self._echo(index) if first else "") + piece.text
            scored = self._scored(index, [piece])
            if not text and not scored and not piece.finish:
                return []
            return [self._chunk(index, {"text": text}, scored, piece.finish)]
        found = []
        if first:
            found.append(self._chunk(index, {"delta": {"role": "assistant", "content": ""}}))
        if piece.text or piece.scored:
            found.append(self._chunk(index, {"delta": {"content": piece.text}}, piece.scored))
        for place, call in enumerate(piece.calls):
            told = {"index": place, **_call(call)}
            found.append(self._chunk(index, {"delta": {"tool_calls": [told]}}))
        if piece.finish:
            found.append(self._chunk(index, {"delta": {}}, (), piece.finish))
        return found

    def last(self, tokens: Sequence[int]) -> dict[str, Any]:
        """The event that tells the usage of a stream."""
        kind = "chat.completion.chunk" if self._asked.chat else self._kind
        return self._outer(kind, []) | {"usage": self.usage(tokens)}

    def usage(self, tokens: Sequence[int]) -> dict[str, int]:
        """Tokens of prompts (each counted once) and of all answers."""
        read, said = sum(map(len, self._asked.prompts)), sum(tokens)
        return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}

    def _outer(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._served.name,
            "system_fingerprint": self._served.fingerprint,
            "choices": choices,
        }

    def _chunk(
        self,
        index: int,
        said: Mapping[str, Any],
        scored: Sequence[Scored] = (),
        finish: str | None = None,
    ) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._asked.chat else self._kind
        told = self._log_probs(scored, bool(scored))
        choice = {"index": index, **said, "logprobs": told, "finish_reason": finish}
        found = self._outer(kind, [choice])
        return found | ({"usage": None} if self._asked.wanted.usage else {})

    def _echo(self, index: int) -> str:
        return self._asked.echo[index // self._asked.wanted.choices] if self._asked.echo else ""

    def _scored(self, index: int, pieces: Iterable[Piece]) -> list[Scored]:
        """Tokens of the prompt, if they are told, and of the answer that stands behind it."""
        before, found = len(self._echo(index)), list[Scored]()
        for piece in pieces:
            found += piece.prompt
            found += [replace(each, offset=before + each.offset) for each in piece.scored]
        return found

    def _log_probs(self, scored: Sequence[Scored], any_: bool) -> dict[str, Any] | None:
        if self._asked.wanted.top is None or not any_:
            return None
        tokenizer = self._served.tokenizer
        if self._asked.chat:
            entries = [
                _entry(each.id, each.log_prob, tokenizer)
                | {"top_logprobs": [_entry(id_, number, tokenizer) for id_, number in each.top]}
                for each in scored
            ]
            return {"content": entries, "refusal": None}
        # an object holds each spelling once: the likelier of two tokens that are spelled alike
        tops = [
            {_spelled(id_, tokenizer): _number(number) for id_, number in reversed(each.top)}
            or None
            for each in scored
        ]
        return {
            "tokens": [_spelled(each.id, tokenizer) for each in scored],
            "token_logprobs": [_number(each.log_prob) for each in scored],
            "top_logprobs": tops if self._asked.wanted.top else None,
            "text_offset": [each.offset for each in scored],
        }


def _entry(id_: int, log_prob: float | None, tokenizer: Tokenizer) -> dict[str, Any]:
    data = tokenizer.token_bytes(id_)
    token = data.decode("utf-8", "replace")
    return {"token": token, "logprob": _number(log_prob), "bytes": list(data)}


def _spelled(id_: int, tokenizer: Tokenizer) -> str:
    data = tokenizer.token_bytes(id_)
    try:
        return data.decode()
    except UnicodeDecodeError:  # half a character, as OpenAI spells it
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _number(log_prob: float | None) -> float | None:
    return None if log_prob is None else max(log_prob, LEAST_LOG_PROB)


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
