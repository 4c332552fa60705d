"""A tokenizer of bytes for servers that take messages and give text: any flow runs unchanged.

Knows no server. It is an ordinary tokenizer of ours without a single merge (id n is byte n), so
flows render conversations with it as with any other; `rows_of` reads the messages back out of the
ids, exactly, because no text can spell a special token.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import DEFAULT_CHAT_TEMPLATE
from ontogeny.text.message import ToolCall
from ontogeny.text.tokenizer import Tokenizer, encodable
from ontogeny.text.vocabulary import BYTE_TO_CHARACTER, NAMED_SPECIALS, Vocabulary

_OPENERS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
_CALL_HEAD, _CALL_MIDDLE = '{"name": ', ', "arguments": '
_Turn = tuple[str, bytes, list[bytes]]


@functools.cache
def byte_tokenizer() -> Tokenizer:
    """256 bytes and our special tokens, with our own chat template."""
    vocabulary = Vocabulary(BYTE_TO_CHARACTER, (), special_count=len(NAMED_SPECIALS))
    return Tokenizer(vocabulary, DEFAULT_CHAT_TEMPLATE, encoder="tokenizers")


def rows_of(ids: Sequence[int]) -> list[dict[str, Any]]:
    """The messages of a rendered conversation that asks for an answer, as OpenAI's schema has them.

    The ids of tool calls, which no template renders, are given out in order: a tool's turn
    answers the first call that none answered before it.

    Raises:
        InputError: `ids` are no whole turns followed by what opens the assistant's, or hold bytes
            that are not UTF-8.
    """
    *turns, last = _turns(ids)
    if last != ("<|assistant|>", b"", []):
        raise _not_a_conversation("it does not end where the assistant is to answer")
    rows: list[dict[str, Any]] = []
    unanswered: list[str] = []
    calls = 0
    for opener, said, called in turns:
        role = opener[2:-2]
        row: dict[str, Any] = {"role": role, "content": _text(said)}
        if role == "tool":
            row["tool_call_id"] = unanswered.pop(0) if unanswered else ""
        elif called:
            unanswered = [f"call_{calls + n}" for n in range(len(called))]
            calls += len(called)
            row["tool_calls"] = [
                {"id": id_, "type": "function", "function": _function(data)}
                for id_, data in zip(unanswered, called, strict=True)
            ]
        rows.append(row)
    return rows


def answer_ids(text: str, calls: Sequence[ToolCall] = ()) -> tuple[int, ...]:
    """An assistant's turn as the ids that a policy would have sampled, its end not included."""
    tokenizer = byte_tokenizer()
    ids = list(encodable(text).encode())
    for call in calls:
        name = json.dumps(call.name, ensure_ascii=False)
        data = f"{_CALL_HEAD}{name}{_CALL_MIDDLE}{call.arguments}}}"
        opened, closed = (tokenizer.specials[name] for name in ("<|tool_call|>", "<|/tool_call|>"))
        ids += [opened, *encodable(data).encode(), closed]
    return tuple(ids)


def _turns(ids: Sequence[int]) -> Iterator[_Turn]:
    """(what opens it, what is said, calls) of each turn; only the last may be without its end."""
    tokenizer = byte_tokenizer()
    names = {id_: name for name, id_ in tokenizer.specials.items()}
    place = 0
    while place < len(ids):
        opener = names.get(ids[place], "")
        if opener not in _OPENERS:
            raise _not_a_conversation("a turn begins without a role")
        parts, place = [bytearray()], place + 1
        inside = False  # a call
        while place < len(ids) and names.get(ids[place]) != "<|end|>":
            name = names.get(ids[place], "")
            if name == ("<|/tool_call|>" if inside else "<|tool_call|>"):
                inside = not inside
                if inside:
                    parts.append(bytearray())
            elif name or not 0 <= ids[place] < 256 or (len(parts) > 1 and not inside):
                raise _not_a_conversation(f"{name or ids[place]} stands inside a turn")
            else:
                parts[-1].append(ids[place])
            place += 1
        if inside or (place == len(ids) and opener != "<|assistant|>"):
            raise _not_a_conversation("a turn has no end")
        yield opener, bytes(parts[0]), [bytes(part) for part in parts[1:]]
        if place == len(ids):
            return
        place += 1
    yield "", b"", []


def _function(data: bytes) -> dict[str, str]:
    text = _text(data)
    try:
        name, end = json.JSONDecoder().raw_decode(text, len(_CALL_HEAD))
    except ValueError:
        name, end = None, 0
    head, rest = text[: len(_CALL_HEAD)], text[end:]
    if not isinstance(name, str) or head != _CALL_HEAD or not rest.startswith(_CALL_MIDDLE):
        raise _not_a_conversation("a tool call is not of the form of our template")
    return {"name": name, "arguments": rest[len(_CALL_MIDDLE) : -1]}


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _not_a_conversation("a turn is not UTF-8") from None


def _not_a_conversation(reason: str) -> InputError:
    return InputError(
        f"the prompt is no conversation that a server's chat can be asked ({reason}); render "
        "messages with a generation prompt by the policy's own tokenizer"
    )
