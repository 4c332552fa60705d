"""The form that a completion must have: a regular expression, a JSON schema or a Lark grammar.

Knows no token and no model; `ontogeny.text.constraint` makes masks of ids from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from ontogeny.base.errors import InputError

Kind = Literal["regex", "json_schema", "lark"]
MOST_BYTES = 100_000
_PIECE = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?:[*+?]|\{\d*,?\d*\})(\??)([*+?{]?)|.", re.DOTALL
)
"""Of a regular expression: an escape, a class, a repeat (is it lazy, what follows it), another."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What `text` says in the language of `kind`.

    Raises:
        InputError: no such kind, nothing is said, or more than `MOST_BYTES`; or a regular
            expression repeats a repeat (`a**`, `a*+`), which its languages read differently.
    """

    kind: Kind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"no grammar of kind {self.kind!r}; give {', '.join(get_args(Kind))}")
        if not self.text:
            raise InputError("the grammar is empty; leave it out to allow any text")
        try:
            length = len(self.text.encode())
        except UnicodeEncodeError:
            raise InputError("the grammar holds half a character; give valid Unicode") from None
        if length > MOST_BYTES:
            raise InputError(f"the grammar has {length} bytes; give at most {MOST_BYTES}")
        if self.kind == "regex" and any(each[2] for each in _PIECE.finditer(self.text)):
            raise InputError("the regex repeats a repeat; put the inner one in parentheses")
