"""Messages, conversations and preference pairs. Knows nothing of templates, tokens or models.

All checks run when an object is made, so whatever holds a `Conversation` may trust it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, get_args

from ontogeny.base.errors import InputError

Role = Literal["system", "user", "assistant", "tool"]
MOST_CALLS = 128  # in one turn, as the OpenAI schema has it; bounds what a template repeats
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's request to run a tool.

    Args:
        name: the tool's name.
        arguments: a JSON object as text, exactly as it was written: a sampled call is never
            re-serialised, because other bytes would be other tokens.
        id: what a tool's answer refers to; bookkeeping, never rendered.

    Raises:
        InputError: `name` is empty, or `arguments` is not the text of a JSON object.
    """

    name: str
    arguments: str = "{}"
    id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError("a tool call needs the name of a tool")
        if not isinstance(self.id, str):
            raise InputError("a tool call's id must be a string")
        try:
            parsed = json.loads(self.arguments)
        except (TypeError, ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise InputError(f"the arguments of the call to {self.name!r} must be a JSON object")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Args:
        role: one of `ROLES`.
        content: the text; may be empty only beside tool calls or as a tool's result.
        tool_calls: calls made in this turn, by the assistant only.
        tool_call_id: on a tool's turn, the call it answers; empty means "in order".

    Raises:
        InputError: the role is unknown, a field has the wrong type, or an empty turn says nothing.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InputError(f"unknown role {self.role!r}; a role is one of {', '.join(ROLES)}")
        if not isinstance(self.content, str):
            raise InputError(f"the content of a {self.role} message must be a string")
        if not isinstance(self.tool_calls, tuple) or not all(
            isinstance(call, ToolCall) for call in self.tool_calls
        ):
            raise InputError("tool_calls must be a tuple of ToolCall")
        if self.tool_calls and self.role != "assistant":
            raise InputError(f"only the assistant calls tools, not the {self.role}")
        if len(self.tool_calls) > MOST_CALLS:
            raise InputError(f"{len(self.tool_calls)} tool calls in one turn; {MOST_CALLS} at most")
        if not isinstance(self.tool_call_id, str) or (self.tool_call_id and self.role != "tool"):
            raise InputError("tool_call_id is a string and belongs to tool messages")
        if not self.content and not self.tool_calls and self.role in ("user", "assistant"):
            raise InputError(f"a {self.role} message is empty")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, with their origin (the same three names as a `Document`).

    Raises:
        InputError: there is no message, a system message stands after the first turn, or a tool
            answers a call that nobody made.
    """

    messages: tuple[Message, ...]
    id: str = ""
    domain: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.messages, tuple) or not self.messages:
            raise InputError("a conversation needs at least one message, in a tuple")
        open_calls = 0
        known_ids: set[str] = set()
        for position, message in enumerate(self.messages):
            if not isinstance(message, Message):
                raise InputError("a conversation's messages must be Message objects")
            if message.role == "system" and position > 0:
                raise InputError("a system message may only be the first")
            if message.role != "tool":
                open_calls = len(message.tool_calls)
                known_ids = {call.id for call in message.tool_calls}
                continue
            open_calls -= 1
            if open_calls < 0 or (message.tool_call_id and message.tool_call_id not in known_ids):
                raise InputError(f"message {position + 1} is a tool's answer to a call nobody made")


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to one prompt, the first better.

    Args:
        prompt: the turns before the answer; the last one is a user's or a tool's.
        chosen: the better assistant turn.
        rejected: the worse one.

    Raises:
        InputError: the answers are equal, not the assistant's, or follow no question.
    """

    prompt: Conversation
    chosen: Message
    rejected: Message

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, Conversation):
            raise InputError("the prompt of a preference pair must be a Conversation")
        if self.prompt.messages[-1].role not in ("user", "tool"):
            raise InputError("the prompt of a preference pair must end with a user or tool turn")
        for name in ("chosen", "rejected"):
            answer = getattr(self, name)
            if not isinstance(answer, Message) or answer.role != "assistant":
                raise InputError(f"the {name} answer must be an assistant message")
        if (self.chosen.content, self.chosen.tool_calls) == (
            self.rejected.content,
            self.rejected.tool_calls,
        ):
            raise InputError("chosen and rejected are the same answer: nothing to prefer")


def message_to_row(message: Message) -> dict[str, Any]:
    """`message` as plain JSON data in the shape of the OpenAI chat schema.

    Tool-call arguments stay the text they were.
    """
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        row["tool_call_id"] = message.tool_call_id
    return row


def message_from_row(
    row: object, *, file: str | PathLike[str] = "command line", line: int = 1
) -> Message:
    """The inverse of `message_to_row`; also takes arguments given as a JSON object.

    Raises:
        InputError: naming `file` and `line`, when `row` is not such a message.
    """
    try:
        if not isinstance(row, Mapping):
            raise InputError("a message must be a JSON object with role and content")
        unknown = sorted(set(row) - {"role", "content", "tool_calls", "tool_call_id", "name"})
        if unknown:
            raise InputError(f"unknown field {unknown[0]!r} in a message")
        content, calls = row.get("content"), row.get("tool_calls") or []
        if not isinstance(calls, list):
            raise InputError("tool_calls must be a list")
        return Message(
            role=row.get("role"),  # type: ignore[arg-type]  # Message checks it
            content="" if content is None else content,
            tool_calls=tuple(_call_from_row(call) for call in calls),
            tool_call_id=row.get("tool_call_id", ""),
        )
    except InputError as error:
        raise InputError(error.reason, file=file, line=line) from None


def _call_from_row(row: object) -> ToolCall:
    function = row.get("function") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not isinstance(function, Mapping):
        raise InputError("a tool call must be an object with function.name and function.arguments")
    arguments = function.get("arguments", "{}")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(name=function.get("name", ""), arguments=arguments, id=row.get("id", ""))


def conversation_from_row(
    row: object, *, file: str | PathLike[str] = "command line", line: int = 1
) -> Conversation:
    """A conversation from `{"messages": [...], "id"?, "domain"?, "source"?}`.

    Raises:
        InputError: naming `file` and `line`, when `row` is not a conversation.
    """
    if not isinstance(row, Mapping) or not isinstance(row.get("messages"), list):
        raise InputError("expected an object with a list of messages", file=file, line=line)
    messages = tuple(message_from_row(item, file=file, line=line) for item in row["messages"])
    origin = {name: row.get(name, "") for name in ("id", "domain", "source")}
    if not all(isinstance(value, str) for value in origin.values()):
        raise InputError("id, domain and source must be strings", file=file, line=line)
    try:
        return Conversation(messages, **origin)
    except InputError as error:
        raise InputError(error.reason, file=file, line=line) from None
