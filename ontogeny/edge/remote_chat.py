"""Messages out, text back: any OpenAI-compatible server, seen through the tokenizer of bytes.

Knows no HTTP. The prompt's ids are read back into messages; the answer's text becomes bytes and the
end of a turn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_asking import Asker
from ontogeny.edge.remote_fields import cannot, grammar_fields, refuse_top, sampling_fields
from ontogeny.edge.remote_server import Served
from ontogeny.edge.remote_spending import Usage
from ontogeny.edge.remote_usage import usage_of
from ontogeny.rollout.policy import Completion, Continuation, Finish, Likelihood, Request, Sink
from ontogeny.rollout.trajectory import finite
from ontogeny.text.byte_codec import answer_ids, byte_tokenizer, rows_of
from ontogeny.text.message import ToolCall
from ontogeny.text.tokenizer import Tokenizer, encodable

_TURN_TOKENS = 16
"""More than a template spends on a turn: for the most that a prompt can cost."""
_BYTES_A_TOKEN = 4096
"""Of an answer's JSON; a streamed token comes with a frame of its own."""


class Chat:
    """Speaks by messages.

    `max_tokens` counts the server's tokens, which nobody else can count: an answer may be more ids
    (bytes) than that.
    """

    version = 0

    def __init__(self, asker: Asker, server: Served) -> None:
        self.asker, self.server = asker, server
        self.tokenizer: Tokenizer = byte_tokenizer()

    async def sample(self, request: Request, sink: Sink | None) -> Completion:
        """One answer. See `RemotePolicy.sample`."""
        refuse_top(request)
        rows = rows_of(request.prompt)
        if set(request.stop) - set(self.tokenizer.stops(chats=True)):
            raise cannot(self.server.kind, "stop at a byte", "give stop_strings")
        heard = Heard(request, sink)
        most = Usage(len(request.prompt) + _TURN_TOKENS * len(rows), request.max_tokens)
        room = (1 << 20) + _BYTES_A_TOKEN * request.max_tokens
        path = f"{self.asker.client.address.path}/chat/completions"
        # llama.cpp does not notice that a client has left unless it streams to it.
        streams = sink is not None or self.server.kind == "llama.cpp"
        await self.asker.ask(path, self._body(request, rows, streams), heard, most, room)
        return heard.completion()

    async def score(self, _request: Continuation) -> Likelihood:
        """Always refused: a chat cannot be asked how likely a text is."""
        raise cannot(
            self.server.kind,
            "say how likely a given text is in a chat",
            "ask by ids (speaks=tokens)",
        )

    def _body(
        self, request: Request, rows: Sequence[Mapping[str, Any]], streams: bool
    ) -> dict[str, Any]:
        kind = self.server.kind
        longest = "max_completion_tokens" if kind == "openai" else "max_tokens"
        body = {
            "model": self.server.model,
            "messages": rows,
            longest: request.max_tokens,
            **sampling_fields(request.sampling, kind, self.server.context),
            **grammar_fields(request.grammar, kind, chat=True),
        }
        if self.asker.config.log_probs:
            # llama.cpp gives twenty alternatives unless told otherwise, and none for 0.
            body |= {"logprobs": True, "top_logprobs": int(kind == "llama.cpp")}
        if streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if request.stop_strings and kind == "vllm":
            body |= {"stop": list(request.stop_strings), "include_stop_str_in_output": True}
        return body


class Heard:
    """An answer as it comes: text becomes bytes, each token's log-prob that of its first byte.

    Stop strings are looked for here, since most servers cut them off and do not say which it was:
    the answer ends behind the first of them, whatever the server wrote after it.
    """

    def __init__(self, request: Request, sink: Sink | None) -> None:
        self._request, self._sink = request, sink
        self._stops = [encodable(each).encode() for each in request.stop_strings]
        self._begin()

    def _begin(self) -> None:
        self._said, self._calls = bytearray(), list[ToolCall]()
        self._ids: list[int] = []
        self._log_probs: list[float] = []
        self._token_bytes, self._token_log_probs = bytearray(), list[float]()
        self._pending = list[float]()  # of tokens without bytes
        self._agree = True
        self._reason = ""
        self._matched: str | None = None
        self._usage: Usage | None = None

    def take(self, event: Mapping[str, Any]) -> bool:
        """See `remote_asking.Answer`."""
        self._usage = usage_of(event) or self._usage
        choices = event.get("choices")
        if not isinstance(choices, list) or (choices and not isinstance(choices[0], dict)):
            raise _wrong("no choices")
        if not choices:
            return False
        choice = choices[0]
        part = choice.get("delta", choice.get("message"))
        if not isinstance(part, dict):
            raise _wrong("no message")
        self._log_probs_of(choice.get("logprobs"))
        text = part.get("content") or part.get("refusal") or ""
        if not isinstance(text, str):
            raise _wrong("a content that is no text")
        self._said += encodable(text).encode()
        if isinstance(calls := part.get("tool_calls"), list) and calls:
            if "delta" in choice:
                raise _wrong("a tool call in pieces; ask without a stream")
            self._calls += [_call(each) for each in calls]
        if reason := choice.get("finish_reason"):
            self._reason = str(reason)
        self._find_stop()
        self._emit(final=False)
        return self._matched is not None and "delta" in choice

    def complete(self) -> bool:
        """See `remote_asking.Answer`."""
        return bool(self._reason)

    def again(self) -> bool:
        """See `remote_asking.Answer`."""
        if self._sink is not None and self._ids:
            return False
        self._begin()
        return True

    def usage(self) -> Usage | None:
        """See `remote_asking.Answer`."""
        return self._usage

    def completion(self) -> Completion:
        """The answer, when all of it is heard."""
        finish = self._finish()
        self._emit(final=True)
        if self._matched is None:
            for id_ in answer_ids("", self._calls):
                self._put(id_, math.nan)
            if finish == "stop":
                self._check_schema()
                # What was sampled behind the text is what ended it; some servers spell it out.
                behind = [*self._token_log_probs[len(self._said) :], *self._pending]
                ended = sum(behind) if behind and self._agree else math.nan
                self._put(byte_tokenizer().end_of_turn, ended)
        ids = tuple(self._ids)
        return Completion(ids, tuple(self._log_probs), (0,) * len(ids), finish, self._matched)

    def _finish(self) -> Finish:
        if self._matched is not None or self._reason in ("stop", "tool_calls"):
            return "stop"
        if self._reason == "length":
            used, asked = self._usage, self._request.max_tokens
            return "context" if used is not None and used.completion < asked else "length"
        if self._reason == "content_filter":
            raise InputError("the server's content filter stopped the answer; ask otherwise")
        raise _wrong(f"finish_reason '{self._reason[:40]}'")

    def _find_stop(self) -> None:
        """Cuts behind the stop string that is complete first; of several the longest."""
        longest = max(map(len, self._stops), default=0)
        begin = max(0, len(self._ids) - longest)
        ends = [
            (place + len(stop), -len(stop), number)
            for number, stop in enumerate(self._stops)
            if (place := self._said.find(stop, begin)) >= 0
        ]
        if ends and self._matched is None:
            end, _, number = min(ends)
            del self._said[end:]
            self._matched = self._request.stop_strings[number]

    def _emit(self, *, final: bool) -> None:
        """Hands on the bytes that no stop string can still claim."""
        held = 0 if final or self._matched else max((len(s) - 1 for s in self._stops), default=0)
        for place in range(len(self._ids), max(len(self._ids), len(self._said) - held)):
            byte = self._said[place]
            self._agree = self._agree and self._token_bytes[place : place + 1] == bytes([byte])
            self._put(byte, self._token_log_probs[place] if self._agree else math.nan)

    def _put(self, id_: int, log_prob: float) -> None:
        self._ids.append(id_)
        self._log_probs.append(log_prob)
        if self._sink is not None:
            self._sink(id_, log_prob)

    def _log_probs_of(self, listed: Any) -> None:
        """A token's log-prob belongs to its first byte; one without bytes to what comes next."""
        content = listed.get("content") if isinstance(listed, dict) else None
        for each in content if isinstance(content, list) else ():
            log_prob = finite(each.get("logprob")) if isinstance(each, dict) else None
            if log_prob is None:
                raise _wrong("a log-prob that is no number")
            spelled = each.get("bytes")
            if not isinstance(spelled, list):
                spelled = list(encodable(str(each.get("token", ""))).encode())
            self._pending.append(log_prob)
            if spelled:
                if not all(type(byte) is int and 0 <= byte < 256 for byte in spelled):
                    raise _wrong("bytes that are none")
                self._token_bytes += bytes(spelled)
                self._token_log_probs += [sum(self._pending), *[0.0] * (len(spelled) - 1)]
                self._pending.clear()

    def _check_schema(self) -> None:
        """A server that knows no schemas may pass over one without a word."""
        grammar = self._request.grammar
        if grammar is None or grammar.kind != "json_schema":
            return
        try:
            json.loads(self._said)
        except (ValueError, RecursionError):
            raise InputError(
                "the server did not keep to the JSON schema; this model or server has no "
                "response_format: leave the grammar out"
            ) from None


def _call(each: Any) -> ToolCall:
    function = each.get("function") if isinstance(each, dict) else None
    if not isinstance(function, dict):
        raise _wrong("a tool call without a function")
    return ToolCall(str(function.get("name", "")), str(function.get("arguments", "")))


def _wrong(what: str) -> InputError:
    return InputError(f"the server's answer is not of the form of OpenAI's API: {what}")
