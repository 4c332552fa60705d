"""The one chat-template renderer: a conversation becomes token ids and loss weights.

Knows nothing of models or tensors. Only what stands in the template itself can become a special
token; whatever a person, a model or a tool wrote is encoded as text, also where it spells
`<|end|>` or would spell it together with its neighbours.

The template is rendered once as Jinja would; marks inside the contents keep their spellings of
special tokens apart from the template's own, and are removed again before encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import CHAT_TEMPLATE
from ontogeny.text.message import Conversation, Message, ToolCall, message_to_row
from ontogeny.text.template_language import (
    BREAK,
    ESCAPE,
    GENERATION_CLOSE,
    GENERATION_OPEN,
    MARKS,
    compile_template,
)
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.vocabulary import END_OF_TEXT, PAD, special_tokens

_MARK = re.compile(f"[{MARKS}]")
_ESCAPED = re.compile(f"{ESCAPE}([\ufdd4-\ufdd7])")
_CUT = re.compile(rf"(<\|[^<>|]+\|>|[{GENERATION_OPEN}{GENERATION_CLOSE}])")
_SHIFT = 4  # from a mark to the noncharacter that stands for it after ESCAPE


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as the model sees it.

    Args:
        ids: token ids.
        weights: as many: 1.0 on what an assistant says (its end of turn and tool calls included),
            0.0 on the rest.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch of text, or one special token, with its loss weight."""

    text: str
    special: bool
    weight: float


def render(
    conversation: Conversation | Sequence[Message],
    tokenizer: Tokenizer,
    *,
    generation_prompt: bool = False,
) -> Rendered:
    """`conversation` as ids and loss weights.

    Args:
        generation_prompt: append what opens an assistant's turn, to sample from.

    Raises:
        InputError: the tokenizer's template is refused, or refuses the conversation.
    """
    return _encoded(_segments(_messages(conversation), tokenizer, generation_prompt), tokenizer)


def extend(
    ids: Sequence[int],
    messages: Sequence[Message],
    tokenizer: Tokenizer,
    *,
    generation_prompt: bool = True,
) -> list[int]:
    """`ids` followed by further turns; what stands stays as it is, id for id.

    `ids` may end inside an assistant's turn that was sampled and cut off: what closes the turn is
    added first. Sampled tokens are never decoded and encoded again, so a policy is always trained
    on the tokens it chose.

    Raises:
        InputError: the template is not prefix-stable, so that a turn added later would have
            changed earlier ones.
    """
    check_prefix_stable(tokenizer)
    if not ids:
        return list(render(messages, tokenizer, generation_prompt=generation_prompt).ids)
    before = render(_HISTORY, tokenizer).ids
    after = render([*_HISTORY, *messages], tokenizer, generation_prompt=generation_prompt).ids
    closing = _closing(tokenizer)
    standing = next(
        n for n in range(len(closing), -1, -1) if tuple(ids[len(ids) - n :]) == closing[:n]
    )
    return [*ids, *closing[standing:], *after[len(before) :]]


def check_prefix_stable(tokenizer: Tokenizer) -> None:
    """Refuses a template under which a later turn changes how earlier turns are rendered.

    Raises:
        InputError: naming the template.
    """
    _check_prefix_stable(tokenizer.chat_template, tokenizer.vocabulary.special_count)


_CALL = ToolCall("f", '{"x": 1}', "c0")
_HISTORY = (Message("user", "a"), Message("assistant", "b"))
_PROBES = (
    (*_HISTORY, Message("user", "c"), Message("assistant", "d"), Message("user", "e")),
    (Message("system", "s"), *_HISTORY, Message("user", "c"), Message("assistant", "d")),
    (
        Message("user", "a"),
        Message("assistant", "", (_CALL,)),
        Message("tool", "1", tool_call_id="c0"),
        Message("assistant", "b"),
        Message("user", "c"),
    ),
)


@lru_cache(maxsize=16)
def _check_prefix_stable(source: str, special_count: int) -> None:
    def tokens(messages: Sequence[Message], prompt: bool = False) -> list[tuple[str, bool]]:
        segments = _split(_rendered_text(source, messages, prompt), special_count)
        return [(segment.text, segment.special) for segment in segments]

    for probe in _PROBES:
        for length in range(1, len(probe)):
            before, after = tokens(probe[:length]), tokens(probe[: length + 1])
            parts = [before]
            if probe[length].role == "assistant":
                parts.append(tokens(probe[:length], prompt=True))
            if any(part != after[: len(part)] for part in parts):
                raise InputError(
                    "this chat template renders earlier turns differently once a later one "
                    "follows: it cannot be used for several turns",
                    file=CHAT_TEMPLATE,
                )
            plain = _HISTORY[: 1 if probe[length].role == "assistant" else 2]
            if probe[length].role == "tool":
                plain = (*_HISTORY[:1], Message("assistant", "z", (_CALL,)))
            added = tokens((*plain, probe[length]))[len(tokens(plain)) :]
            if after[len(before) :] != added:
                raise InputError(
                    "this chat template renders a turn by what stood before it: it cannot be "
                    "used for several turns",
                    file=CHAT_TEMPLATE,
                )


def _closing(tokenizer: Tokenizer) -> tuple[int, ...]:
    """What stands after an assistant's last word: the end of its turn and the template's own."""
    segments = _segments(_HISTORY, tokenizer, False)
    opened = len(_segments(_HISTORY[:-1], tokenizer, True))
    return _encoded(segments[opened + 1 :], tokenizer).ids  # the one between says "b"


def _messages(conversation: Conversation | Sequence[Message]) -> Sequence[Message]:
    return conversation.messages if isinstance(conversation, Conversation) else conversation


def _segments(messages: Sequence[Message], tokenizer: Tokenizer, prompt: bool) -> list[_Segment]:
    text = _rendered_text(tokenizer.chat_template, messages, prompt)
    return _split(text, tokenizer.vocabulary.special_count)


_compiled = lru_cache(maxsize=16)(compile_template)


def _rendered_text(source: str, messages: Sequence[Message], generation_prompt: bool) -> str:
    rows = [_guarded(message) for message in messages]
    try:
        return _compiled(source, file=CHAT_TEMPLATE).render(
            messages=rows,
            add_generation_prompt=generation_prompt,
            eos_token=END_OF_TEXT,
            pad_token=PAD,
        )
    except (TemplateError, TypeError) as error:  # TypeError: 'length' of a number, 'a' < 1
        reason = f"the chat template cannot render the conversation: {error}"
        raise InputError(reason, file=CHAT_TEMPLATE) from None


def _guarded(message: Message) -> dict[str, Any]:
    """The message as the template sees it, every text in it guarded."""
    row = {"tool_calls": [], "tool_call_id": "", **message_to_row(message)}
    row["content"] = guard(message.content)
    for call in row["tool_calls"]:
        call["function"] = {key: guard(value) for key, value in call["function"].items()}
        call["id"] = guard(call["id"])
    row["tool_call_id"] = guard(message.tool_call_id)
    return row


def guard(text: str) -> str:
    """`text` with marks, so that no part of it, alone or with its neighbours, reads as special.

    A mark stands inside each `<|` and at both ends, within the surrounding whitespace, so that
    `trim` in a template still works. Marks that were in the text before are escaped.
    """
    if _MARK.search(text):
        text = _MARK.sub(lambda mark: ESCAPE + chr(ord(mark[0]) + _SHIFT), text)
    core = text.strip()
    if not core:
        return text
    start = text.index(core)
    marked = core.replace("<|", f"<{BREAK}|")
    return f"{text[:start]}{BREAK}{marked}{BREAK}{text[start + len(core) :]}"


def unguard(text: str) -> str:
    """The inverse of `guard`, also on a part of its result."""
    return _ESCAPED.sub(lambda mark: chr(ord(mark[1]) - _SHIFT), text.replace(BREAK, ""))


def _split(text: str, special_count: int) -> list[_Segment]:
    """Rendered text cut at special tokens and at the ends of what the assistant says."""
    known = _known_specials(special_count)
    segments: list[_Segment] = []
    weight, joins = 0.0, False  # text joins the text before it unless something stood between
    for part in _CUT.split(text):
        if part in (GENERATION_OPEN, GENERATION_CLOSE):
            weight, joins = float(part == GENERATION_OPEN), False
        elif part in known:
            segments.append(_Segment(part, True, weight))
            joins = False
        elif part:
            plain = unguard(part)
            if joins:
                plain = segments.pop().text + plain
            if plain:
                segments.append(_Segment(plain, False, weight))
                joins = True
    return segments


@lru_cache(maxsize=16)
def _known_specials(count: int) -> frozenset[str]:
    return frozenset(special_tokens(count))


def _encoded(segments: Sequence[_Segment], tokenizer: Tokenizer) -> Rendered:
    texts = iter(tokenizer.encode_batch(s.text for s in segments if not s.special))
    ids: list[int] = []
    weights: list[float] = []
    for segment in segments:
        if segment.special:
            new = [tokenizer.vocabulary.specials[segment.text]]
        else:
            new = next(texts).tolist()
        ids += new
        weights += [segment.weight] * len(new)
    return Rendered(tuple(ids), tuple(weights))
