"""A conversation in a chat template of ours: text cut at special tokens. Knows no ids.

`{% generation %}` says what is learnt, and text is cut there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from os import PathLike
from typing import Any

from jinja2 import TemplateError

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import CHAT_TEMPLATE
from ontogeny.text.marks import (
    GENERATION_CLOSE,
    GENERATION_OPEN,
    Segment,
    guard,
    segment,
    unguard,
)
from ontogeny.text.message import Message, message_to_row
from ontogeny.text.template_language import compile_template
from ontogeny.text.vocabulary import END_OF_TEXT, END_OF_TURN, PAD

_CUT = re.compile(rf"(<\|[^<>|]+\|>|[{GENERATION_OPEN}{GENERATION_CLOSE}])")
_compiled = lru_cache(maxsize=16)(compile_template)


class OwnTemplate:
    """A template in our own language (`template_language`).

    Args:
        source: Jinja.
        specials: spellings of the special tokens.
    """

    end_of_turn: str | None = END_OF_TURN

    def __init__(self, source: str, specials: frozenset[str]) -> None:
        self.source, self._specials = source, specials

    def check(self, file: str | PathLike[str]) -> None:
        """Compiles it.

        Raises:
            InputError: naming `file`; it is not in our language.
        """
        compile_template(self.source, file=file)

    def segments(self, messages: Sequence[Message], generation_prompt: bool) -> list[Segment]:
        """The rendered conversation, cut at special tokens and at the ends of what is learnt.

        Raises:
            InputError: the template is refused, or refuses the conversation.
        """
        return self._split(self._rendered(messages, generation_prompt))

    def closing(self, messages: Sequence[Message]) -> list[Segment]:
        """What stands after the last word of the last message, an assistant's of one word."""
        opened = len(self.segments(messages[:-1], True))
        return self.segments(messages, False)[opened + 1 :]

    def _rendered(self, messages: Sequence[Message], generation_prompt: bool) -> str:
        rows = [_guarded(message) for message in messages]
        try:
            return _compiled(self.source, file=CHAT_TEMPLATE).render(
                messages=rows,
                add_generation_prompt=generation_prompt,
                eos_token=END_OF_TEXT,
                pad_token=PAD,
            )
        except (TemplateError, TypeError) as error:  # TypeError: 'length' of a number, 'a' < 1
            reason = f"the chat template cannot render the conversation: {error}"
            raise InputError(reason, file=CHAT_TEMPLATE) from None

    def _split(self, text: str) -> list[Segment]:
        segments: list[Segment] = []
        weight, joins = 0.0, False  # text joins the text before it unless something stood between
        for part in _CUT.split(text):
            if part in (GENERATION_OPEN, GENERATION_CLOSE):
                weight, joins = float(part == GENERATION_OPEN), False
            elif part in self._specials:
                segments.append(segment(part, True, weight))
                joins = False
            elif part:
                plain = unguard(part)
                if joins:
                    plain = segments.pop().text + plain
                if plain:
                    segments.append(segment(plain, False, weight))
                    joins = True
        return segments


def _guarded(message: Message) -> dict[str, Any]:
    """The message as the template sees it, every text in it guarded."""
    row = {"tool_calls": [], "tool_call_id": "", **message_to_row(message)}
    row["content"] = guard(message.content)
    for call in row["tool_calls"]:
        call["function"] = {key: guard(value) for key, value in call["function"].items()}
        call["id"] = guard(call["id"])
    row["tool_call_id"] = guard(message.tool_call_id)
    return row
