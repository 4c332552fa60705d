"""The form that a completion must have: a regular expression, a JSON schema or a Lark grammar.

Knows no token and no model; `ontogeny.text.constraint` makes masks of ids from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ontogeny.base.errors import InputError

Kind = Literal["regex", "json_schema", "lark"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """What `text` says in the language of `kind`.

    Raises:
        InputError: no such kind, or nothing is said.
    """

    kind: Kind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"no grammar of kind {self.kind!r}; give {', '.join(get_args(Kind))}")
        if not self.text:
            raise InputError("the grammar is empty; leave it out to allow any text")
