"""Text between a person's terminal and a model: what is read as it comes, what is shown safely."""

from __future__ import annotations

import io
import sys

from ontogeny.base.errors import printable


def visible(text: str) -> str:
    """`text` without what could steer a terminal; line breaks and tabs stay."""
    return "".join(character if character in "\n\t" else printable(character) for character in text)


def forgiving() -> None:
    """From here on bytes of standard input that are no text become U+FFFD, instead of an error."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
