"""One answer as its ids come: what of its text may be told, its log-probs, its calls.

Knows no HTTP. What is told piece by piece is together what is told at once.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field

from ontogeny.rollout.policy import Completion, Likelihood
from ontogeny.serve.asked import Asked
from ontogeny.serve.wanted import Served
from ontogeny.text.message import ToolCall
from ontogeny.text.stop_strings import REPLACED, StopStrings
from ontogeny.text.tokenizer import Tokenizer
from ontogeny.text.tool_calls import Unreadable, read_calls

Top = tuple[tuple[int, float], ...]
_OPENING = "<tool_call>"


@dataclass(frozen=True)
class Scored:
    """A token that was told, and how likely it was.

    Attributes:
        log_prob: None of a prompt's first: nothing stands before it.
        top: the likeliest (id, log-prob) pairs at its place.
        offset: where it begins in its text, the answer's or the prompt's, in characters.
    """

    id: int
    log_prob: float | None
    top: Top
    offset: int


@dataclass(frozen=True)
class Piece:
    """What may be told now and not before; the last one has the end."""

    text: str = ""
    scored: tuple[Scored, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    finish: str | None = None
    tokens: int = 0
    """Of the whole answer, in the last piece."""
    prompt: tuple[Scored, ...] = ()
    """Of the whole prompt, in the first piece, where that is asked for."""

    def __bool__(self) -> bool:
        return bool(self.text or self.scored or self.calls or self.finish)


def scored_prompt(
    ids: Sequence[int], text: str, found: Likelihood | None, tokenizer: Tokenizer
) -> tuple[Scored, ...]:
    """A prompt's tokens, each where it begins in `text`, the prompt as it is echoed.

    Args:
        found: of all but the first; None where there is no other.
    """
    decoder, places, read = codecs.getincrementaldecoder("utf-8")(REPLACED), [], 0
    for id_ in ids:
        places.append(read)
        read += len(decoder.decode(tokenizer.decode_bytes([id_])))
    left_out = max(read - len(text), 0)  # a space in front that the tokenizer put there
    offsets = [min(max(place - left_out, 0), len(text)) for place in places]
    log_probs = (None, *(found.log_probs if found else ()))
    tops = ((), *((found.top if found else ()) or [()] * (len(ids) - 1)))
    told = zip(ids, log_probs, tops, offsets, strict=True)
    return tuple(Scored(*each) for each in told)


@dataclass
class _Text:
    """Text that waits to be told, each token at the place where it begins."""

    shown: str = ""
    read: int = 0
    waiting: list[Scored] = field(default_factory=list)

    def due(self, *, end: bool, cut: bool) -> tuple[Scored, ...]:
        """Tokens of which something is told; at the end of a text that is not cut all of them."""
        whole = end and not cut
        told = [each for each in self.waiting if whole or each.offset < len(self.shown)]
        self.waiting = self.waiting[len(told) :]
        return tuple(told)


class Teller:
    """Follows one answer to `asked`."""

    def __init__(self, asked: Asked, served: Served) -> None:
        self._asked, self._tokenizer, self._speech = asked, served.tokenizer, served.speech
        self._follower = StopStrings(asked.wanted.stops, served.tokenizer)
        self._decoder = codecs.getincrementaldecoder("utf-8")(REPLACED)
        self._text = _Text()
        self._ids: list[int] = []
        self._calling = asked.forced
        self._held, self._told = "", ""
        self._leads = asked.chat and served.tokenizer.vocabulary.prefixes_space

    def hear(self, id_: int, log_prob: float, top: Top) -> Piece:
        """One more token; what may be told now."""
        self._ids.append(id_)
        if id_ in self._asked.stop:
            return Piece()
        if self._asked.wanted.top is not None:
            self._text.waiting.append(Scored(id_, log_prob, top, self._text.read))
            data = self._tokenizer.decode_bytes([id_])
            self._text.read += len(self._decoder.decode(data))
        released = self._follower.read(id_)
        self._text.shown += released
        if self._asked.tools and not self._speech.tags and id_ == self._speech.opening()[0]:
            self._calling = True
        return Piece(self._tell(released), self._text.due(end=False, cut=False))

    def end(self, completion: Completion) -> Piece:
        """The last piece."""
        rest, cut = self._follower.rest(), self._follower.matched is not None
        self._text.shown += rest
        scored = self._text.due(end=True, cut=cut)
        finish = "stop" if completion.finish == "stop" else "length"
        count = len(completion.ids)
        if not self._asked.tools:
            return Piece(self._tell(rest), scored, finish=finish, tokens=count)
        content, calls = self._found()
        if cut and not calls:
            content = self._follower.text.strip()
        text = content.removeprefix(self._told) if content.startswith(self._told) else ""
        return Piece(text, scored, calls, "tool_calls" if calls else finish, count)

    def _tell(self, text: str) -> str:
        """Text that is told now; where calls may come, what is surely outside them."""
        if self._asked.tools:
            text = self._outside(self._held + text)
        elif self._leads and text:
            self._leads, text = False, text.removeprefix(" ")  # as `ontogeny chat` shows it
        self._told += text
        return text

    def _outside(self, text: str) -> str:
        """Holds back space at the ends and what may be opening a call."""
        if self._calling:
            return ""
        text = text if self._told else text.lstrip()
        place = text.find(_OPENING)
        self._calling = place >= 0 and self._speech.tags
        if self._calling:
            return text[:place].rstrip()
        begun = next(n for n in range(len(_OPENING), -1, -1) if text.endswith(_OPENING[:n]))
        told = text[: len(text) - begun].rstrip()
        self._held = text[len(told) :]
        return told

    def _found(self) -> tuple[str, tuple[ToolCall, ...]]:
        """The content and the calls; where a call cannot be read, all of it is content."""
        ids = self._ids[:-1] if self._ids and self._ids[-1] in self._asked.stop else self._ids
        if self._asked.forced:
            raw = text = self._tokenizer.continuation(ids)
            found: Sequence[ToolCall | Unreadable] = read_calls(text)
        else:
            heard = self._speech.found(ids)
            text, found = heard.content, heard.calls
            raw = self._tokenizer.decode(ids, keep_special=True)
        calls = tuple(call for call in found if isinstance(call, ToolCall))
        if not calls or len(calls) < len(found):
            return (raw.strip() if found else text), ()
        return ("" if self._asked.forced else text), calls if self._asked.many else calls[:1]
