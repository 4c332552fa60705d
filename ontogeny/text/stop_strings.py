"""The text of one completion as its ids come, ended by the first stop string that is whole in it.

Knows no model. Whatever the tokens are, the text, where it ends and what of it may be shown follow
from its characters alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from ontogeny.text.tokenizer import Tokenizer

REPLACED = "replace"
"""Bytes that are not UTF-8 become U+FFFD, as in `Tokenizer.decode`."""


class StopStrings:
    """Reads ids; a `Guide` of the engine's that allows everything.

    The string that is whole first ends the text; of several that become so with the same character
    the longest. Special tokens are no text. With no strings it only tells what may be shown.

    Attributes:
        matched: the string that ended the text, or None while none has.
    """

    def __init__(self, strings: Sequence[str], tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(REPLACED)
        longest_first = sorted(dict.fromkeys(strings), key=len, reverse=True)
        self._searches = [_Search(string) for string in longest_first]
        self._said: list[str] = []
        self._held = ""
        self.matched: str | None = None

    @property
    def text(self) -> str:
        """What was said, the stop string that ended it left out: all that may ever be shown."""
        cut = "" if self.matched is None else self.matched
        return ("".join(self._said) + self._held).removesuffix(cut)

    def allowed(self) -> None:
        """Every id may come."""

    def accept(self, id_: int) -> bool:
        """One more id of the text; whether a stop string is now whole. None may come after it."""
        self.read(id_)
        return self.matched is not None

    def read(self, id_: int) -> str:
        """The text that may be shown now that this id is known and not before.

        Held back are the bytes of half a character and whatever a stop string may be beginning in.
        """
        return self._take(self._decoder.decode(self._tokenizer.decode_bytes([id_])))

    def rest(self) -> str:
        """What was held back, once no more ids will come: no stop string was beginning in it."""
        if self.matched is not None:
            return ""
        shown = self._take(self._decoder.decode(b"", final=True))
        return shown if self.matched is not None else shown + self._show(0)

    def _take(self, characters: str) -> str:
        assert self.matched is None, "the text has ended"
        for place, character in enumerate(characters):
            whole = [search for search in self._searches if search.goes_on(character)]
            if whole:
                self.matched = whole[0].string
                self._held += characters[: place + 1]
                return self._show(len(self.matched))
        self._held += characters
        return self._show(max((search.begun for search in self._searches), default=0))

    def _show(self, kept: int) -> str:
        """All that is held but its last `kept` characters."""
        cut = len(self._held) - kept
        shown, self._held = self._held[:cut], self._held[cut:]
        self._said.append(shown)
        return shown


class _Search:
    """How much of a string stands at the end of a text that grows by one character at a time.

    Knuth, Morris and Pratt 1977, "Fast pattern matching in strings": no character is read twice.
    """

    def __init__(self, string: str) -> None:
        self.string = string
        self.begun = 0
        self._shorter = [0]
        """For each beginning of the string, the longest shorter one at its end."""
        for character in string[1:]:
            self._shorter.append(self._longer(self._shorter[-1], character))

    def goes_on(self, character: str) -> bool:
        """Whether the string is whole with this character."""
        self.begun = self._longer(self.begun, character)
        return self.begun == len(self.string)

    def _longer(self, begun: int, character: str) -> int:
        while begun and self.string[begun] != character:
            begun = self._shorter[begun - 1]
        return begun + (self.string[begun] == character)
