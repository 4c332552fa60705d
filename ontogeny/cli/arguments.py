"""Where a word stood on the command line: the LINE of an error that is about the command line."""

from __future__ import annotations

import sys

from ontogeny.base.errors import COMMAND_LINE, InputError


def position(*spellings: str) -> int:
    """The 1-based place of the first argument spelt like one of these; the last place if none."""
    for place, word in enumerate(sys.argv[1:], start=1):
        if word in spellings:
            return place
    return max(1, len(sys.argv) - 1)


def at(option: str, reason: str, value: str = "") -> InputError:
    """A mistake in an option, told where it stands; of a repeated one where its `value` does."""
    if value:
        return InputError(reason, file=COMMAND_LINE, line=position(value, f"{option}={value}"))
    spelled = [word for word in sys.argv if word.startswith(f"{option}=")]
    return InputError(reason, file=COMMAND_LINE, line=position(option, *spelled))
