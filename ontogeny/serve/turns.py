"""Messages and tools of OpenAI's chat schema as ours, and the ids that an answer begins behind.

Knows no HTTP and no model. Contents are text; what they spell becomes no special token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.serve.fields import Fields
from ontogeny.serve.refusal import Refused
from ontogeny.text.message import MOST_CALLS, ROLES, Conversation, Message, ToolCall
from ontogeny.text.template import render
from ontogeny.text.tool_calls import Speech, opened

MOST_TOOLS = 128
MOST_PARTS = 256
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")


@dataclass(frozen=True)
class Tool:
    """A function that the client runs.

    Args:
        parameters: a JSON schema of an object.
        strict: calls must keep to it.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False

    def told(self, *, brief: bool) -> dict[str, Any]:
        """What a model is told; `brief` keeps of the parameters what one line can say."""
        parameters = self.parameters
        if brief:
            known = parameters.get("properties", {})
            parameters = {
                "properties": {name: _briefly(each) for name, each in known.items()},
                "required": [name for name in parameters.get("required", []) if name in known],
            }
        return {"name": self.name, "description": self.description, "parameters": parameters}


def messages_of(fields: Fields, most: int) -> tuple[Message, ...]:
    """The field `messages`, checked as a conversation.

    Raises:
        Refused: 400, naming the message; where there are more than `most`, too.
    """
    rows = fields.rows("messages", most)
    messages = tuple(_message(Fields(row, f"messages[{n}]")) for n, row in enumerate(rows))
    try:
        Conversation(messages)
    except InputError as error:
        raise Refused(error.reason, param="messages") from None
    return messages


def tools_of(fields: Fields) -> tuple[Tool, ...]:
    """The field `tools`, each name once.

    Raises:
        Refused: 400, naming the tool.
    """
    if not fields.has("tools"):
        return ()
    tools = []
    for number, row in enumerate(fields.rows("tools", MOST_TOOLS)):
        outer = Fields(row, f"tools[{number}]")
        outer.one_of("type", ["function"], "")
        inner = outer.inner("function")
        outer.end()
        name = inner.text("name")
        if not _NAME.fullmatch(name):
            raise inner.wrong("name", "must be 1 to 64 letters, digits, dots, dashes, underscores")
        description = inner.text("description", "", most=10_000)
        strict = inner.flag("strict")
        parameters = _parameters(inner)
        inner.end()
        tools.append(Tool(name, description, parameters, strict))
    if len({tool.name for tool in tools}) < len(tools):
        raise Refused("two tools have one name; rename one", param="tools")
    return tuple(tools)


def prompt_ids(
    messages: Sequence[Message], tools: Sequence[Tool], spoken: Speech
) -> tuple[int, ...]:
    """What the answer begins behind.

    Tools are told in the system's turn; calls and results in history as this model says them.

    Raises:
        Refused: 400; the model's template refuses such a conversation.
    """
    turns = _as_spoken(with_tools(messages, tools, spoken), spoken)
    try:
        if [turn.role for turn in turns[:2]] == ["system", "user"]:
            return opened(turns, spoken.tokenizer)
        return render(turns, spoken.tokenizer, generation_prompt=True).ids
    except InputError as error:
        raise Refused(error.reason, param="messages") from None


def with_tools(messages: Sequence[Message], tools: Sequence[Tool], spoken: Speech) -> list[Message]:
    """The turns with the tools told in the system's."""
    turns = list(messages)
    if tools:
        told = spoken.told([tool.told(brief=not spoken.tags) for tool in tools])
        if turns[0].role == "system":
            turns[0] = Message("system", f"{turns[0].content}\n\n{told}".strip())
        else:
            turns.insert(0, Message("system", told))
    return turns


def characters(messages: Sequence[Message], tools: Sequence[Tool]) -> int:
    """How much there is to encode, at least."""
    said = sum(len(m.content) + sum(len(c.arguments) for c in m.tool_calls) for m in messages)
    return said + sum(len(tool.description) for tool in tools)


def _message(row: Fields) -> Message:
    role = row.text("role")
    role = "system" if role == "developer" else role
    if role not in ROLES:
        raise row.wrong("role", f"is unknown; give one of {', '.join(ROLES)}")
    content = _content(row)
    if row.has("name"):
        row.only("name")  # no template of ours tells it
    row.only("refusal")
    calls = tuple(_calls(row)) if row.has("tool_calls") else ()
    answered = row.text("tool_call_id", "", most=200) if role == "tool" else ""
    if role == "tool" and not answered:
        raise row.wrong("tool_call_id", "is missing; give the id of the call that it answers")
    row.end()
    try:
        return Message(role, content, calls, answered)  # type: ignore[arg-type]
    except InputError as error:
        raise row.wrong("", f"cannot be: {error.reason}") from None


def _content(row: Fields) -> str:
    value = row.take("content")
    if isinstance(value, list):
        parts = [Fields(each, f"{row.where}.content[{n}]") for n, each in enumerate(value)]
        if len(parts) > MOST_PARTS:
            raise row.wrong("content", f"has more than {MOST_PARTS} parts")
        texts = []
        for part in parts:
            part.one_of("type", ["text"], "")
            texts.append(part.text("text"))
            part.end()
        return "".join(texts)
    return Fields({"content": "" if value is None else value}, row.where).text("content")


def _calls(row: Fields) -> list[ToolCall]:
    found = []
    for number, each in enumerate(row.rows("tool_calls", MOST_CALLS)):
        outer = Fields(each, f"{row.where}.tool_calls[{number}]")
        outer.one_of("type", ["function"], "function")
        id_ = outer.text("id", most=200)
        if not id_:
            raise outer.wrong("id", "is empty; give the id that the call came with")
        inner = outer.inner("function")
        outer.end()
        name, arguments = inner.text("name", most=64), inner.text("arguments")
        inner.end()
        try:
            found.append(ToolCall(name, arguments or "{}", id_))
        except InputError as error:
            raise outer.wrong("function", f"cannot be: {error.reason}") from None
    return found


def _parameters(inner: Fields) -> dict[str, Any]:
    schema = inner.take("parameters")
    if schema is None:
        return {"type": "object", "properties": {}}
    sound = isinstance(schema, dict) and schema.get("type", "object") == "object"
    properties = schema.get("properties", {}) if sound else None
    required = schema.get("required", []) if sound else None
    if not isinstance(properties, dict) or not all(
        isinstance(p, dict) for p in properties.values()
    ):
        raise inner.wrong("parameters", "must be the JSON schema of an object")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise inner.wrong("parameters", "has a 'required' that is no list of names")
    if not isinstance(schema.get("$defs") or {}, dict):
        raise inner.wrong("parameters", "has '$defs' that are no object")
    whole: dict[str, Any] = {"type": "object", "properties": {}} | schema
    return whole


def _briefly(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("enum"), list):
        return {"enum": schema["enum"][:20]}
    kind = schema.get("type")
    return {"type": kind if kind in _TYPES else "any"}


def _as_spoken(messages: Sequence[Message], spoken: Speech) -> list[Message]:
    turns: list[Message] = []
    results: list[str] = []
    for message in messages:
        if message.role == "tool":
            results.append(message.content)
            continue
        if results:
            turns += spoken.results(results)
            results = []
        calls = message.tool_calls
        turns.append(spoken.said(message.content, calls) if calls else message)
    return turns + (spoken.results(results) if results else [])
