"""The vocabulary that the fields of a GGUF file hold, checked one by one. Knows no tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from ontogeny.base.errors import InputError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of tokens, as the GGUF specification numbers them."""
MOST_TOKENS = 2**21
MOST_MERGES = 2**22
_LONGEST_PIECE = 256


class Table:
    """The fields of a vocabulary, checked one by one."""

    def __init__(self, fields: Mapping[str, Any], file: str | PathLike[str]) -> None:
        self._fields, self.file = fields, file
        self.model: str = self._of("model", str)
        self.tokens: list[str] = self._list("tokens", str, MOST_TOKENS)
        types = self._list("token_type", int, MOST_TOKENS) if self.has("token_type") else None
        self.types: list[int] = types or [NORMAL] * len(self.tokens)
        if len(self.types) != len(self.tokens) or not set(self.types) <= set(range(7)):
            raise InputError("tokenizer.ggml.token_type does not fit the tokens", file=file)
        known = [self.tokens[i] for i in self.ids() if self.tokens[i]]
        if not known or len(set(known)) != len(known):
            raise InputError("a token of the vocabulary stands twice, or there is none", file=file)

    def has(self, name: str) -> bool:
        """Whether the field stands in the file."""
        return f"tokenizer.ggml.{name}" in self._fields

    def ids(self, *types: int) -> list[int]:
        """Ids of these types; without types, all that are used."""
        wanted = set(types) or set(range(7)) - {UNUSED}
        return [i for i, kind in enumerate(self.types) if kind in wanted]

    def scores(self) -> list[float]:
        """One number a token, higher is merged earlier."""
        if max(map(len, self.tokens)) > _LONGEST_PIECE:
            raise InputError(
                f"a piece has more than {_LONGEST_PIECE} characters; make the file anew",
                file=self.file,
            )
        scores = self._list("scores", float, MOST_TOKENS)
        if len(scores) != len(self.tokens):
            raise InputError("tokenizer.ggml.scores does not fit the tokens", file=self.file)
        return scores

    def merges(self) -> list[list[str]]:
        """Pairs of spellings, the first joined first; each makes a token."""
        known, pairs = set(self.tokens), []
        for rank, line in enumerate(self._list("merges", str, MOST_MERGES)):
            left, _, right = line[1:].partition(" ")
            pair = [line[:1] + left, right]
            if not right or not {*pair, "".join(pair)} <= known:
                raise InputError(f"merge {rank} does not join two tokens to one", file=self.file)
            pairs.append(pair)
        return pairs

    def flag(self, name: str, default: bool) -> bool:
        """A field that is true or false."""
        return bool(self._of(name, bool)) if self.has(name) else default

    def text(self, name: str) -> str | None:
        """A field that is text, or None where it is missing."""
        value: str | None = self._of(name, str) if self.has(name) else None
        return value

    def named(self, name: str) -> str | None:
        """The token that `NAME_token_id` names, or None."""
        if not self.has(f"{name}_token_id"):
            return None
        number: int = self._of(f"{name}_token_id", int)
        if not 0 <= number < len(self.tokens) or self.types[number] == UNUSED:
            return None  # llama.cpp's converters write -1 or an id past the end for "none"
        return self.tokens[number]

    def _of(self, name: str, kind: type) -> Any:
        value = self._fields.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(
                f"tokenizer.ggml.{name} is missing or no {kind.__name__}", file=self.file
            )
        return value

    def _list(self, name: str, kind: type, most: int) -> list[Any]:
        value = self._fields.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > most:
            reason = f"tokenizer.ggml.{name} is missing, no list, or longer than {most}"
            raise InputError(reason, file=self.file)
        if not all(isinstance(each, kind) for each in value):
            raise InputError(f"tokenizer.ggml.{name} is no list of {kind.__name__}", file=self.file)
        return list(value)
