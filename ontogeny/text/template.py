"""The one chat-template renderer: a conversation becomes token ids and loss weights.

Knows nothing of models or tensors. Only what stands in the template itself can become a special
token; whatever a person, a model or a tool wrote is encoded as text, also where it spells
`<|end|>` or would spell it together with its neighbours.

The template is rendered once as Jinja would; marks inside the contents keep their spellings of
special tokens apart from the template's own, and are removed again before encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from ontogeny.base.errors import InputError
from ontogeny.text.artifact_files import CHAT_TEMPLATE
from ontogeny.text.marks import Segment
from ontogeny.text.message import Conversation, Message, ToolCall
from ontogeny.text.own_template import OwnTemplate
from ontogeny.text.tokenizer import Tokenizer

Ids = tuple[int, ...]


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
    messages = conversation.messages if isinstance(conversation, Conversation) else conversation
    return _encoded(tokenizer.template.segments(messages, generation_prompt), tokenizer)


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
    return [*ids, *_missing(ids, tokenizer), *after[len(before) :]]


def _missing(ids: Sequence[int], tokenizer: Tokenizer) -> Ids:
    """What closes the turn that `ids` end in, as far as they do not say it themselves."""
    closing = _encoded(tokenizer.template.closing(_HISTORY), tokenizer, inside=True).ids
    end = tokenizer.end_of_turn
    if ids[-1] == end and end in closing:
        return closing[closing.index(end) + 1 :]
    lengths = range(len(closing), -1, -1)
    return closing[next(n for n in lengths if tuple(ids[len(ids) - n :]) == closing[:n]) :]


def check_prefix_stable(tokenizer: Tokenizer) -> None:
    """Refuses a template under which a later turn changes how earlier turns are rendered.

    Conversations that the template refuses (with tools, say) are not looked at.

    Raises:
        InputError: naming the template.
    """
    if tokenizer not in _STABLE:
        _check_prefix_stable(tokenizer)
        _STABLE.add(tokenizer)


_STABLE: WeakSet[Tokenizer] = WeakSet()
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


def _check_prefix_stable(tokenizer: Tokenizer) -> None:
    # A template of open weights may tell the instructions in the user's turn: the two are one step.
    own = isinstance(tokenizer.template, OwnTemplate)
    for number, probe in enumerate(_PROBES):
        first = 1 if own or probe[0].role != "system" else 2
        try:
            steps = list(_steps(probe, first, tokenizer))
        except InputError:
            if own or number == 0:
                raise
            continue
        for before, prompted, after, plain, added in steps:
            if any(part != after[: len(part)] for part in (before, prompted)):
                raise InputError(
                    "this chat template renders earlier turns differently once a later one "
                    "follows: it cannot be used for several turns",
                    file=CHAT_TEMPLATE,
                )
            if after[len(before) :] != added[len(plain) :]:
                raise InputError(
                    "this chat template renders a turn by what stood before it: it cannot be "
                    "used for several turns",
                    file=CHAT_TEMPLATE,
                )


def _steps(
    probe: Sequence[Message], first: int, tokenizer: Tokenizer
) -> Iterator[tuple[Ids, Ids, Ids, Ids, Ids]]:
    """Ids before and after each turn of `probe`, and before and after it in a plain conversation.

    Second stands the beginning that an assistant's turn is sampled from.
    """
    for length in range(first, len(probe)):
        turn = probe[length]
        answers = turn.role == "assistant"
        plain = _HISTORY[: 1 if answers else 2]
        if turn.role == "tool":
            plain = (*_HISTORY[:1], Message("assistant", "z", (_CALL,)))
        yield (
            render(probe[:length], tokenizer).ids,
            render(probe[:length], tokenizer, generation_prompt=answers).ids,
            render(probe[: length + 1], tokenizer).ids,
            render(plain, tokenizer).ids,
            render((*plain, turn), tokenizer).ids,
        )


def _encoded(
    segments: Sequence[Segment], tokenizer: Tokenizer, *, inside: bool = False
) -> Rendered:
    """Ids and weights; `inside` something else stands before the first segment."""
    texts = [segment.text for segment in segments if not segment.special]
    alone = bool(segments) and not segments[0].special and not inside
    encoded = iter(
        [
            *tokenizer.encode_batch(texts[: int(alone)]),
            *tokenizer.encode_batch(texts[int(alone) :], behind_special=True),
        ]
    )
    ids: list[int] = []
    weights: list[float] = []
    for segment in segments:
        if segment.special:
            new = [tokenizer.vocabulary.specials[segment.text]]
        else:
            new = next(encoded).tolist()
        weight = segment.weight
        behind = bool(ids) or inside
        ids += new
        if weight is None:
            weights += _partly(segment, new, tokenizer, behind)
        else:
            weights += [weight] * len(new)
    return Rendered(tuple(ids), tuple(weights))


def _partly(
    segment: Segment, ids: Sequence[int], tokenizer: Tokenizer, behind: bool
) -> list[float]:
    """Weights of a text learnt in part: of whatever a prompt that ends there would not hold."""

    def known(end: int) -> int:
        if end == len(segment.text):
            return len(ids)
        (prompt,) = tokenizer.encode_batch([segment.text[:end]], behind_special=behind)
        return _common(prompt, ids)

    weights = [0.0] * len(ids)
    for start, end in segment.learnt:
        first, stop = known(start), known(end)
        weights[first:stop] = [1.0] * (stop - first)
    return weights


def _common(one: npt.NDArray[np.uint32], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = enumerate(zip(one.tolist(), other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
