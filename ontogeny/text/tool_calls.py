"""How a model says a call, and how a result is said to it: one speech for each kind of template.

Knows no tools: it finds calls in what was sampled and writes calls and results as messages. Only
what was sampled is searched, so nothing that a tool gave back can be a call.

| template | a call | a result |
|---|---|---|
| ours | `{"name": ..., "arguments": {...}}` between special tokens | a tool's turn |
| of open weights that knows tools | the same JSON in `<tool_call>` tags, as text | a tool's turn |
| any other; `tagged()` for chat servers | in tags | a user's turn in `<tool_response>` tags |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.text.message import MOST_CALLS, Message, ToolCall
from ontogeny.text.own_template import OwnTemplate
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

_TOKENS = ("<|tool_call|>", "<|/tool_call|>")
_TAGS = ("<tool_call>", "</tool_call>")
_TAGGED = re.compile(r"<tool_call>(.*?)(</tool_call>|\Z)", re.DOTALL)
_RESULT = ("<tool_response>", "</tool_response>")
_PROBE = (Message("user", "a"), Message("assistant", "b"), Message("tool", "c"))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A call that cannot be read, and why, for the model."""

    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What an assistant said in a turn.

    Attributes:
        content: the text outside calls, without white space at its ends.
        calls: in order.
    """

    content: str
    calls: tuple[ToolCall | Unreadable, ...]


@dataclass(frozen=True)
class Speech:
    """A tokenizer's way to say calls and results.

    Attributes:
        tags: a call stands in tags, not between special tokens.
        as_user: a result is a user's turn.
    """

    tokenizer: Tokenizer
    tags: bool
    as_user: bool

    def told(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """What a model is told of its tools (name, description, parameters of each)."""
        if not self.tags:
            return "Tools:\n" + "\n".join(map(_signature, tools))
        form = f'{_TAGS[0]}{{"name": "...", "arguments": {{...}}}}{_TAGS[1]}'
        lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        return (
            f"You have these tools:\n{lines}\n"
            f"To use one, write exactly: {form}\n"
            "Its result is given to you. When all is done, answer in plain words without a call."
        )

    def found(self, ids: Sequence[int]) -> Heard:
        """What was said in a sampled turn, with or without the id that ended it."""
        ended = ids and ids[-1] in self.tokenizer.stops(chats=True)
        ids = ids[:-1] if ended else ids
        return self._tagged(ids) if self.tags else self._between(ids)

    def said(self, content: str, calls: Sequence[ToolCall] = ()) -> Message:
        """An assistant's turn in this speech."""
        if not self.tags:
            return Message("assistant", content, tuple(calls))
        texts = [f"{_TAGS[0]}{call_text(call)}{_TAGS[1]}" for call in calls]
        return Message("assistant", "\n".join([*([content] if content else []), *texts]))

    def results(self, texts: Sequence[str]) -> list[Message]:
        """The tools' answers to the calls of a turn. They stay data, whatever they spell."""
        if not self.as_user:
            return [Message("tool", text) for text in texts]
        # a text cannot end its own tag
        inside = [text.replace("</tool_", "<\\/tool_") for text in texts]
        return [Message("user", "\n".join(f"{_RESULT[0]}{i}{_RESULT[1]}" for i in inside))]

    def opening(self) -> tuple[int, ...]:
        """Ids that open a call, for a turn that must be one."""
        return self._marks(0)

    def closing(self) -> tuple[int, ...]:
        """Ids that close such a call."""
        return self._marks(1)

    def _marks(self, which: int) -> tuple[int, ...]:
        if not self.tags:
            return (self.tokenizer.specials[_TOKENS[which]],)
        (ids,) = self.tokenizer.encode_batch([_TAGS[which]], behind_special=True)
        return tuple(ids.tolist())

    def _tagged(self, ids: Sequence[int]) -> Heard:
        text = self.tokenizer.decode(ids, keep_special=True)
        calls: list[ToolCall | Unreadable] = []
        for found in list(_TAGGED.finditer(text))[:MOST_CALLS]:
            calls += read_calls(found[1]) if found[2] else [_unclosed()]
        return Heard(_TAGGED.sub("", text).strip(), tuple(calls[:MOST_CALLS]))

    def _between(self, ids: Sequence[int]) -> Heard:
        opened, closed = (self.tokenizer.specials[each] for each in _TOKENS)
        outside: list[int] = []
        inside: list[int] | None = None
        calls: list[ToolCall | Unreadable] = []
        for id_ in ids:
            if id_ == opened:
                calls += [_unclosed()] if inside is not None else []
                inside = []
            elif id_ == closed:
                calls += [_stray()] if inside is None else read_calls(self.tokenizer.decode(inside))
                inside = None
            else:
                (outside if inside is None else inside).append(id_)
        calls += [_unclosed()] if inside is not None else []
        return Heard(self.tokenizer.decode(outside).strip(), tuple(calls[:MOST_CALLS]))


def speech(tokenizer: Tokenizer) -> Speech:
    """How a model with this tokenizer says calls and hears results."""
    if isinstance(tokenizer.template, OwnTemplate):
        return Speech(tokenizer, tags=False, as_user=False)
    knows = "tool" in tokenizer.chat_template and _takes(tokenizer, _PROBE)
    return Speech(tokenizer, tags=True, as_user=not knows)


def tagged(tokenizer: Tokenizer) -> Speech:
    """Calls and results as text alone: for a server's chat, which is told of no tools."""
    return Speech(tokenizer, tags=True, as_user=True)


def opened(messages: Sequence[Message], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that a first turn is sampled from.

    Where the template takes no system turn, its text stands before the user's.

    Raises:
        InputError: the template refuses the messages.
    """
    system, user, *rest = messages
    if not _takes(tokenizer, [Message("system", "s"), Message("user", "a")]):
        messages = [Message("user", f"{system.content}\n\n{user.content}"), *rest]
    return render(messages, tokenizer, generation_prompt=True).ids


def call_text(call: ToolCall) -> str:
    """A call as our template writes it, without what surrounds it."""
    name = json.dumps(call.name, ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {call.arguments}}}'


def read_calls(text: str) -> list[ToolCall | Unreadable]:
    """The call that `text` spells, or the calls of a list; JSON with each key once, no NaN.

    The arguments are written anew: they are for whoever runs the tool, the tokens stay as sampled.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        return [Unreadable(f"the call is not valid JSON ({_short(error)})")]
    return [_call(each) for each in value] if isinstance(value, list) and value else [_call(value)]


def _call(value: Any) -> ToolCall | Unreadable:
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        return Unreadable('a call is {"name": "...", "arguments": {...}} and nothing else')
    try:
        return ToolCall(value["name"], json.dumps(value["arguments"], ensure_ascii=False))
    except InputError as error:
        return Unreadable(error.reason)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _no_number(text)


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]


def _unclosed() -> Unreadable:
    return Unreadable("the call was not closed")


def _stray() -> Unreadable:
    return Unreadable("a call was closed that none had opened")


def _takes(tokenizer: Tokenizer, messages: Sequence[Message]) -> bool:
    try:
        render(messages, tokenizer, generation_prompt=True)
    except InputError:
        return False
    return True


def _signature(tool: Mapping[str, Any]) -> str:
    """One line: few tokens for a small model."""
    schema = tool["parameters"]
    needed = schema.get("required", ())
    parts = [
        f"{name}{'' if name in needed else '?'}: {_type(each)}"
        for name, each in schema.get("properties", {}).items()
    ]
    return f"{tool['name']}({', '.join(parts)}) {tool['description']}"


def _type(schema: Mapping[str, Any]) -> str:
    return "|".join(map(str, schema["enum"])) if "enum" in schema else str(schema["type"])
