"""Marks in rendered text: what keeps a person's words from becoming special tokens.

Knows no template and no tokenizer. Marks are Unicode noncharacters; they are put into contents
before a template sees them, found again in what it rendered, and gone before anything is encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, SupportsIndex

GENERATION_OPEN, GENERATION_CLOSE, BREAK, ESCAPE = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
SPOKEN, HEARD = "\ufdd8", "\ufdd9"
"""Before what the assistant says, and before what anybody else does."""
MARKS = GENERATION_OPEN + GENERATION_CLOSE + BREAK + ESCAPE + SPOKEN + HEARD
_SHIFT = 4  # from a mark to the noncharacter that stands for it after ESCAPE
_MARK = re.compile(f"[{MARKS}]")
_ESCAPED = re.compile(f"{ESCAPE}([{''.join(chr(ord(mark) + _SHIFT) for mark in MARKS)}])")
_REMOVED = re.compile(f"[{BREAK}{SPOKEN}{HEARD}]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of rendered text, or one special token.

    Args:
        text: without marks; of a special token, its spelling.
        special: it is a special token.
        learnt: parts of the text, (start, end) in characters, that the loss falls on.
    """

    text: str
    special: bool
    learnt: tuple[tuple[int, int], ...] = ()

    @property
    def weight(self) -> float | None:
        """The loss weight of all of it, or None where only a part is learnt."""
        if not self.learnt:
            return 0.0
        return 1.0 if self.learnt == ((0, len(self.text)),) else None


def segment(text: str, special: bool, weight: float) -> Segment:
    """A segment that is learnt as a whole or not at all."""
    return Segment(text, special, ((0, len(text)),) if weight else ())


def guard(text: str) -> str:
    """`text` with marks, so that no part of it, alone or with its neighbours, reads as special.

    A mark stands inside each `<|` and at both ends, within the surrounding whitespace, so that
    `trim` in a template still works. Marks that were in the text before are escaped.
    """
    return _marked(text, lambda core: core.replace("<|", f"<{BREAK}|"), BREAK)


def _marked(text: str, broken: Callable[[str], str], first: str) -> str:
    if _MARK.search(text):
        text = _MARK.sub(lambda mark: ESCAPE + chr(ord(mark[0]) + _SHIFT), text)
    core = text.strip()
    if not core:
        return text
    start = text.index(core)
    return f"{text[:start]}{first}{broken(core)}{BREAK}{text[start + len(core) :]}"


def unguard(text: str) -> str:
    """The inverse of `guard`, also on a part of its result."""
    return _ESCAPED.sub(lambda mark: chr(ord(mark[1]) - _SHIFT), _REMOVED.sub("", text))


class Said(str):
    """Somebody's words inside a template: they read as they are and print with marks.

    A template that comes with open weights takes words apart (`split`, `strip`, `in`). Those see
    the words without marks, and what they return is marked anew; whatever is not listed here sees
    the marked words, so nothing can come out unmarked.

    Args:
        text: the words, without marks.
        firsts: the characters that special tokens begin with; a mark stands behind each.
        opening: `SPOKEN` or `HEARD`.
    """

    __slots__ = ("_firsts", "_opening", "_words")
    _words: str
    _firsts: str
    _opening: str

    def __new__(cls, text: str, firsts: str, opening: str) -> Said:
        """The words, marked; whitespace around them stays outside the marks."""

        def broken(core: str) -> str:
            for character in firsts:
                core = core.replace(character, character + BREAK)
            return core

        marked = _marked(text, broken, opening + BREAK)
        made = super().__new__(cls, opening + text if text and marked == text else marked)
        made._words, made._firsts, made._opening = text, firsts, opening
        return made

    def _again(self, value: Any) -> Any:
        if isinstance(value, str):
            return Said(value, self._firsts, self._opening)
        if isinstance(value, list | tuple):
            return type(value)(self._again(each) for each in value)
        return value

    def __len__(self) -> int:
        return len(self._words)

    def __bool__(self) -> bool:
        return bool(self._words)

    def __eq__(self, other: object) -> bool:
        return bool(self._words == _words(other))

    def __ne__(self, other: object) -> bool:
        return bool(self._words != _words(other))

    def __hash__(self) -> int:
        return hash(self._words)

    def __contains__(self, other: object) -> bool:
        return bool(_words(other) in self._words)

    def __getitem__(self, key: SupportsIndex | slice) -> Said:
        made: Said = self._again(self._words[key])
        return made

    def __iter__(self) -> Any:
        return (self._again(character) for character in self._words)


def _words(value: Any) -> Any:
    """`value` without marks, where it is text."""
    if isinstance(value, Said):
        return value._words
    if isinstance(value, tuple):
        return tuple(_words(each) for each in value)
    return unguard(value) if isinstance(value, str) else value


def _on_words(name: str) -> Callable[..., Any]:
    method = getattr(str, name)

    def on_words(self: Said, *args: Any) -> Any:
        return self._again(method(self._words, *map(_words, args)))

    on_words.__name__ = name
    on_words.__doc__ = f"As `str.{name}`, on the words without marks."
    return on_words


for _name in (
    *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "replace"),
    *("split", "rsplit", "splitlines", "partition", "rpartition"),
    *("startswith", "endswith", "find", "rfind", "index", "count"),
    *("upper", "lower", "title", "capitalize", "isdigit", "isspace", "isalpha", "isupper"),
):
    setattr(Said, _name, _on_words(_name))
