"""A conversation in the chat template of open weights: text cut at special tokens. Knows no ids.

Such a template rarely says what is to be learnt. Here it follows from where the assistant's words
were found in what it rendered: a turn begins where the generation prompt ends (or with the words
themselves), and ends with the token that ends a turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import Any

from jinja2 import Template, TemplateError

from ontogeny.base.errors import InputError
from ontogeny.text.allowance import granted
from ontogeny.text.artifact_files import CHAT_TEMPLATE
from ontogeny.text.marks import (
    GENERATION_CLOSE,
    GENERATION_OPEN,
    HEARD,
    SPOKEN,
    Said,
    Segment,
    unguard,
)
from ontogeny.text.message import Message, message_to_row
from ontogeny.text.open_language import compile_open_template

_TURN = (Message("user", "a"), Message("assistant", "b"))
_SMALL = 256  # characters that a template may take for a message of none
_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


class OpenTemplate:
    """A template in the language of open weights (`open_language`).

    Args:
        source: Jinja; empty where the model has none.
        specials: spellings of the special tokens.
        named: `bos_token`, `eos_token`, ... as templates know them.
        ends: special tokens that end a text or a turn.
    """

    def __init__(
        self,
        source: str,
        specials: frozenset[str],
        named: Mapping[str, str],
        ends: frozenset[str],
    ) -> None:
        self.source, self._specials, self._named, self._ends = source, specials, named, ends
        self._firsts = "".join(sorted({special[0] for special in specials}))
        longest = sorted(specials, key=lambda special: (-len(special), special))
        names = "|".join(map(re.escape, longest)) or "(?!)"
        opened = f"[{GENERATION_OPEN}{GENERATION_CLOSE}{SPOKEN}{HEARD}]"
        self._cut = re.compile(f"({names}|{opened})")

    def check(self, file: str | PathLike[str]) -> None:
        """Compiles it.

        Raises:
            InputError: naming `file`; it is not in the language.
        """
        if self.source:
            compile_open_template(self.source, file=file)

    @cached_property
    def _template(self) -> Template:
        if not self.source:
            raise InputError(
                "this model has no chat template, so it continues text and does not chat; write "
                "one and import the model anew",
                file=CHAT_TEMPLATE,
            )
        return compile_open_template(self.source, file=CHAT_TEMPLATE)

    @cached_property
    def end_of_turn(self) -> str | None:
        """The special token that the template puts after an assistant's words; None without one."""
        if not self.source:
            return None
        try:
            text = self._rendered(_TURN, generation_prompt=False)
        except InputError:
            return None
        after = self._cut.split(text.rpartition(SPOKEN)[2])
        return next((part for part in after if part in self._specials), None)

    def segments(self, messages: Sequence[Message], generation_prompt: bool) -> list[Segment]:
        """The rendered conversation, cut at special tokens.

        Raises:
            InputError: the template is refused, refuses the conversation, or does not let one tell
                what the assistant says.
        """
        text = self._rendered(messages, generation_prompt)
        turns = sum(message.role == "assistant" for message in messages)
        return _Cutter(self).segments(text, turns)

    def closing(self, messages: Sequence[Message]) -> list[Segment]:
        """What stands after the last word of the last message, an assistant's of one word."""
        text = self._rendered(messages, generation_prompt=False)
        after = text.rpartition(SPOKEN)[2]
        word = messages[-1].content
        behind = after[after.index(word) + len(word) :]
        for mark in (GENERATION_OPEN, GENERATION_CLOSE):
            behind = behind.replace(mark, "")
        parts = [(unguard(part), part in self._specials) for part in self._cut.split(behind)]
        return [Segment(part, special) for part, special in parts if part]

    @cached_property
    def tail(self) -> str:
        """The text that stands at the end of a generation prompt, behind its last special token.

        Empty where the prompt says nothing of its own.
        """
        without, prompt = (self._rendered(_TURN[:1], generation_prompt=g) for g in (False, True))
        if not prompt.startswith(without):
            return ""
        return unguard(self._cut.split(prompt[len(without) :])[-1])

    def _rendered(self, messages: Sequence[Message], generation_prompt: bool) -> str:
        rows = [self._row(message) for message in messages]
        given = sum(_SMALL + len(each) for message in messages for each in _texts(message))
        try:
            with granted(given):
                return self._template.render(
                    messages=rows,
                    add_generation_prompt=generation_prompt,
                    tools=None,
                    documents=None,
                    **self._named,
                )
        except RecursionError:
            reason = "nested too deeply"
        except _FAULTS as error:
            reason = str(error)
        raise InputError(
            f"the chat template cannot render the conversation: {reason}", file=CHAT_TEMPLATE
        )

    def _row(self, message: Message) -> dict[str, Any]:
        """The message as the template sees it, every text in it marked.

        What a call is given is data, as the templates of open weights expect it.
        """
        opening = SPOKEN if message.role == "assistant" else HEARD

        def said(value: Any) -> Any:
            if isinstance(value, str):
                return Said(value, self._firsts, opening)
            if isinstance(value, list):
                return [said(each) for each in value]
            if isinstance(value, dict):
                return {said(key): said(each) for key, each in value.items()}
            return value

        row = message_to_row(message)
        row["content"] = said(message.content)
        for call in row.get("tool_calls", ()):
            function = call["function"]
            arguments = said(json.loads(function["arguments"]))
            call["function"] = {"name": said(function["name"]), "arguments": arguments}
            call["id"] = said(call["id"])
        if message.tool_call_id:
            row["tool_call_id"] = said(message.tool_call_id)
        return row


def _texts(message: Message) -> list[str]:
    return [message.content, *(call.arguments for call in message.tool_calls)]


class _Cutter:
    """Rendered text -> segments, one after the other."""

    def __init__(self, template: OpenTemplate) -> None:
        self._template = template
        self._ends = template._ends | {template.end_of_turn or ""}
        self._done: list[Segment] = []
        self._text = ""
        self._learnt: list[tuple[int, int]] = []
        self._since: int | None = None  # where in the text the assistant began to speak

    def segments(self, text: str, turns: int) -> list[Segment]:
        """The segments; `turns` of them the assistant speaks in."""
        marked = GENERATION_OPEN in text
        spoken = 0
        for part in self._template._cut.split(text):
            if part in (GENERATION_OPEN, GENERATION_CLOSE):
                self._speaks(part == GENERATION_OPEN)
            elif part in (SPOKEN, HEARD):
                if not marked:
                    spoken += self._hears(part)
            elif part in self._template._specials:
                self._special(part, ends=not marked and part in self._ends)
            else:
                self._text += unguard(part)
        if not marked and (spoken != turns or self._since is not None):
            self._cannot_tell()
        self._flush()
        return self._done

    def _speaks(self, begins: bool) -> None:
        if begins and self._since is None:
            self._since = len(self._text)
        elif not begins and self._since is not None:
            self._learnt.append((self._since, len(self._text)))
            self._since = None

    def _hears(self, mark: str) -> bool:
        """Whether a turn of the assistant begins here."""
        if self._since is not None:
            if mark == HEARD:
                self._cannot_tell()
            return False
        if mark == HEARD:
            return False
        tail = self._template.tail
        at = 0 if self._text.startswith(tail) else self._text.rfind(tail)
        self._since = at + len(tail) if tail and at >= 0 else len(self._text)
        return True

    def _special(self, spelling: str, *, ends: bool) -> None:
        speaks = self._since is not None
        if speaks:
            self._speaks(False)
        self._flush()
        self._done.append(Segment(spelling, True, ((0, len(spelling)),) if speaks else ()))
        self._since = 0 if speaks and not ends else None

    def _flush(self) -> None:
        if self._text:
            learnt = tuple((start, end) for start, end in self._learnt if end > start)
            self._done.append(Segment(self._text, False, learnt))
        self._text, self._learnt = "", []

    def _cannot_tell(self) -> None:
        raise InputError(
            "this chat template does not let one tell what the assistant says: no special token "
            "ends its turns, or they are left out; put {% generation %} around them",
            file=CHAT_TEMPLATE,
        )
