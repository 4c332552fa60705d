"""Rows of the data sets that people have, as conversations, preference pairs, prompts with answers.

Knows no files. A row is what one line of JSON or one row of a table holds; its form is told by its
columns:

    conversation   messages (or conversations, conversation, chat) as a list of turns, each with
                   role and content (OpenAI, Hugging Face) or from and value (ShareGPT);
                   or instruction, input, output (Alpaca); or a prompt column and an answer column
    pair           chosen and rejected, each a text, a list of turns or a transcript with
                   "Human:" and "Assistant:", with or without a prompt column
    task           a prompt column, an answer column, perhaps choices

Other names are given by `columns`, from what a column means (the keys of `KNOWN`) to what it is
called. A column that is named for one meaning is not taken for another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.text.choices import lettered
from ontogeny.text.message import (
    Conversation,
    Message,
    PreferencePair,
    message_from_row,
)

Row = Mapping[str, Any]

KNOWN: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "chat"),
    "prompt": ("prompt", "question", "instruction", "query", "problem", "input"),
    "answer": (
        "completion",
        "response",
        "answer",
        "output",
        "solution",
        "target",
        "gold",
        "answerKey",
    ),
    "context": ("input", "context"),
    "system": ("system", "system_prompt"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "choices": ("choices",),
}
"""What a column means -> the names it is known by, the likelier first.

`context` is text below the prompt; its names are looked for beside an `instruction` only.
"""
MAY_BE_NULL = ("context", "system")
SHOWN_COLUMNS = 12

ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
_TRANSCRIPT = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


class Misfit(Exception):
    """A row that is not used: `reason` is counted, `detail` is for a reader."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def conversation(row: Row, columns: Mapping[str, str]) -> Conversation:
    """The conversation in `row`: turns alternate and the assistant has the last word.

    A prompt with choices is asked as `task` asks it.

    Raises:
        Misfit: `no_column`, `bad_turn`, `empty_turn`, `not_alternating`, `no_answer`,
            `bad_choice`.
    """
    told = "messages" not in columns and ("prompt" in columns or "answer" in columns)
    listed = None if told else _found(row, columns, "messages")
    if listed is not None:
        turns = _turns(row[listed], listed)
    elif _found(row, columns, "choices") is not None:
        asked, right = task(row, columns)
        turns = [Message("user", asked), Message("assistant", right)]
    else:
        before, said = _prompt(row, columns), _needed(row, columns, "answer")
        turns = [*before, *_said(row[said], said)]
    return _checked(_with_system(row, columns, turns))


def preference(row: Row, columns: Mapping[str, str]) -> PreferencePair:
    """The pair in `row`.

    Raises:
        Misfit: `no_column`, `bad_turn`, `empty_turn`, `not_alternating`, `same_answer`,
            `other_prompt` (the two answers follow different turns).
    """
    names = [_needed(row, columns, side) for side in ("chosen", "rejected")]
    sides = [_said(row[name], name) for name in names]
    prompts = [side[:-1] for side in sides]
    if prompts[0] != prompts[1]:
        raise Misfit("other_prompt", "chosen and rejected follow different turns")
    before = prompts[0] or _prompt(row, columns)
    prompt = _alternating(_with_system(row, columns, before))
    if prompt[-1].role not in ("user", "tool"):
        raise Misfit("not_alternating", f"the answers follow a turn of the {prompt[-1].role}")
    chosen, rejected = (side[-1] for side in sides)
    if chosen == rejected:
        raise Misfit("same_answer", "chosen and rejected are equal: nothing to prefer")
    try:
        return PreferencePair(Conversation(prompt), chosen, rejected)
    except InputError as error:
        raise Misfit("bad_turn", error.reason) from None


def task(row: Row, columns: Mapping[str, str]) -> tuple[str, str]:
    """Prompt and gold answer in `row`.

    With a list of choices, they are lettered below the prompt and the gold answer is a letter; the
    answer column then holds a place counted from 0, a letter, or the right choice itself.

    Raises:
        Misfit: `no_column`, `bad_turn`, `empty_turn`, `bad_choice`.
    """
    prompts = _prompt(row, columns)
    if len(prompts) != 1 or prompts[0].role != "user":
        raise Misfit("bad_turn", "the prompt of a task is one turn of the user")
    prompt, name = prompts[0].content, _needed(row, columns, "answer")
    listed = _found(row, columns, "choices")
    if listed is not None:
        try:
            return lettered(prompt, row[listed], row[name])
        except InputError as error:
            raise Misfit("bad_choice", error.reason) from None
    answer = row[name]
    if isinstance(answer, bool):
        answer = str(answer).lower()
    elif isinstance(answer, float):
        answer = f"{Decimal(repr(answer)):f}"  # 1e-05 would be read as -05
    elif isinstance(answer, int):
        answer = str(answer)
    return prompt, _text(answer, name)


def _found(row: Row, columns: Mapping[str, str], meaning: str) -> str | None:
    """The column of this meaning that `row` has; one that is named must be there.

    Raises:
        Misfit: `no_column`.
    """
    if meaning in columns:
        name = columns[meaning]
        if row.get(name) is not None:
            return name
        if name in row and meaning in MAY_BE_NULL:
            return None
        what = "is null" if name in row else "is not there"
        raise Misfit("no_column", f"column {name!r} {what}; {_has(row)}")
    known = (name for name in KNOWN[meaning] if name not in columns.values())
    return next((name for name in known if row.get(name) is not None), None)


def _needed(row: Row, columns: Mapping[str, str], meaning: str) -> str:
    name = _found(row, columns, meaning)
    if name is None:
        raise Misfit(
            "no_column",
            f"no column for the {meaning} ({', '.join(KNOWN[meaning])}); {_has(row)}; "
            f"name one by columns.{meaning}",
        )
    return name


def _has(row: Row) -> str:
    names = [str(name)[:40] for name in row]
    more = ["..."] if len(names) > SHOWN_COLUMNS else []
    return f"the row has {', '.join(names[:SHOWN_COLUMNS] + more) or 'none'}"


def _prompt(row: Row, columns: Mapping[str, str]) -> list[Message]:
    """The turns before an answer: a prompt column, or a list of turns."""
    listed = _found(row, columns, "messages")
    if listed is not None and "prompt" not in columns:
        return _turns(row[listed], listed)
    return _asked(row, columns, _needed(row, columns, "prompt"))


def _asked(row: Row, columns: Mapping[str, str], name: str) -> list[Message]:
    """A prompt as turns, what it is about (`context`) below it."""
    value = row[name]
    if isinstance(value, list):
        return _turns(value, name)
    text = _text(value, name)
    if _TRANSCRIPT.match(text):
        return _transcript(text.rstrip().removesuffix("\n\nAssistant:"))
    sought = "context" in columns or name == "instruction"
    beside = _found(row, columns, "context") if sought else None
    below = row[beside] if beside is not None else ""
    if not isinstance(below, str):
        raise Misfit("bad_turn", f"column {beside!r} holds no text ({type(below).__name__})")
    return [_message("user", f"{text}\n\n{below}" if below.strip() else text)]


def _said(value: Any, name: str) -> list[Message]:
    """An answer, perhaps with the turns before it: the last turn is the assistant's."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str) and _TRANSCRIPT.match(value):
        turns = _transcript(value)
    elif isinstance(value, list):
        turns = _turns(value, name)
    else:
        turns = [_message("assistant", _text(value, name))]
    if not turns or turns[-1].role != "assistant":
        raise Misfit("no_answer", f"column {name!r} does not end with a turn of the assistant")
    return turns


def _transcript(text: str) -> list[Message]:
    """Turns of a text with "Human:" and "Assistant:" at the heads of its paragraphs (HH-RLHF)."""
    parts = _TRANSCRIPT.split(text)[1:]
    return [
        _message("user" if who == "Human" else "assistant", said.strip())
        for who, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def _turns(value: Any, name: str) -> list[Message]:
    if not isinstance(value, list):
        raise Misfit("bad_turn", f"column {name!r} holds no list of turns")
    return [_turn(each, number) for number, each in enumerate(value, start=1)]


def _turn(value: Any, number: int) -> Message:
    if not isinstance(value, Mapping):
        raise Misfit("bad_turn", f"turn {number} is no object with role and content")
    role = value.get("role") or value.get("from")
    known = ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        told = f"role {role[:40]!r}" if isinstance(role, str) else "no role"
        raise Misfit("bad_turn", f"turn {number} is of {told}; roles are {', '.join(ROLES)}")
    if known == "assistant" and value.get("weight") == 0:
        raise Misfit("bad_turn", f"turn {number} has weight 0; all the assistant says is learnt")
    content = value.get("value") if value.get("content") is None else value["content"]
    if isinstance(content, list):
        content = _joined(content, number)
    extra = {key: value[key] for key in ("tool_calls", "tool_call_id") if value.get(key)}
    silent = content is None or (isinstance(content, str) and not content.strip())
    if silent and not extra and known != "system":
        raise Misfit("empty_turn", f"turn {number} says nothing")
    try:
        return message_from_row({"role": known, "content": content, **extra})
    except InputError as error:
        raise Misfit("bad_turn", f"turn {number}: {error.reason}") from None
    except RecursionError:
        raise Misfit("bad_turn", f"turn {number} is nested too deeply") from None


def _joined(parts: Sequence[Any], number: int) -> str:
    """The text of a content given in parts; a picture or a sound is nothing we read."""
    texts = [each.get("text") if isinstance(each, Mapping) else each for each in parts]
    if not all(isinstance(text, str) for text in texts):
        raise Misfit("bad_turn", f"turn {number} holds something other than text")
    return "".join(map(str, texts))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Misfit("bad_turn", f"column {name!r} holds no text ({type(value).__name__})")
    if not value.strip():
        raise Misfit("empty_turn", f"column {name!r} says nothing")
    return value


def _message(role: Any, text: str) -> Message:
    if not text.strip():
        raise Misfit("empty_turn", f"a turn of the {role} says nothing")
    return Message(role, text)


def _with_system(
    row: Row, columns: Mapping[str, str], turns: Sequence[Message]
) -> tuple[Message, ...]:
    """`turns` behind what the system says; a system that says nothing is left out."""
    if turns and turns[0].role == "system" and not turns[0].content.strip():
        turns = turns[1:]
    name = _found(row, columns, "system")
    text = row[name] if name is not None else None
    if not isinstance(text, str) or not text.strip() or (turns and turns[0].role == "system"):
        return tuple(turns)
    return (Message("system", text), *turns)


def _checked(turns: tuple[Message, ...]) -> Conversation:
    if _alternating(turns)[-1].role != "assistant":
        raise Misfit("no_answer", f"the last turn is the {turns[-1].role}'s")
    try:
        return Conversation(turns)
    except InputError as error:
        raise Misfit("bad_turn", error.reason) from None


def _alternating(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """`turns`, where user and assistant take turns and a tool answers the assistant.

    Raises:
        Misfit: `not_alternating`, naming the turn; `empty_turn` without any.
    """
    begun = turns[1:] if turns and turns[0].role == "system" else turns
    if not begun:
        raise Misfit("empty_turn", "there are no turns")
    before = "start"
    for number, each in enumerate(begun, start=1 + len(turns) - len(begun)):
        allowed = {
            "start": ("user",),
            "user": ("assistant",),
            "assistant": ("user", "tool"),
            "tool": ("tool", "assistant"),
        }[before]
        if each.role not in allowed:
            raise Misfit(
                "not_alternating",
                f"turn {number} is the {each.role}'s, expected the {' or '.join(allowed)}'s",
            )
        before = each.role
    return turns
